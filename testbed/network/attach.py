"""Mininet's command line on a lab that another process runs.

Each host and node is presented by a Mininet Node whose shell was started inside the running one; leaving
the command line ends those shells and nothing else.
"""

from __future__ import annotations

import itertools
import subprocess
from typing import Any

from mininet.cli import CLI
from mininet.net import Mininet
from mininet.node import Host, Switch

from testbed.model import addressing
from testbed.network.hosts.sandboxes import PlainIntf
from testbed.network.lab import Lab
from testbed.network.switching.node import TrunkLink


class _InLab:
    """Starts the Node's shell inside the lab instead of in new namespaces."""

    lab: Lab

    def _popen(self, cmd: list[str], **params: Any) -> subprocess.Popen[Any]:
        # Mininet asks for `mnexec OPTIONS env PS1=… bash …`; what follows the options runs inside.
        return subprocess.Popen(["setsid", *self.lab.command(self.name, cmd[2:])], **params)  # type: ignore[attr-defined]


class AttachedHost(_InLab, Host):
    pass


class AttachedSwitch(_InLab, Switch):
    def start(self, controllers: Any) -> None:
        """The switch runs already."""


def attached_network(lab: Lab) -> Mininet:
    """A Mininet network whose nodes are those of the running lab."""
    _InLab.lab = lab
    net = Mininet(controller=None, build=False)
    numbers = lab.client.status()["nodes"]
    switches = {number: net.addSwitch(f"s{number}", cls=AttachedSwitch) for number in numbers}
    intfs = {"cls": TrunkLink, "cls1": PlainIntf, "cls2": PlainIntf, "fast": True}
    for a, b in itertools.combinations(numbers, 2):
        ends = {"intfName1": addressing.trunk_name(a, b), "intfName2": addressing.trunk_name(b, a)}
        net.addLink(switches[a], switches[b], **ends, **intfs)
    for name, facts in lab.client.hosts().items():
        host = net.addHost(name, cls=AttachedHost, ip=None)
        port = addressing.port_name(facts["eip"])
        link = net.addLink(host, switches[facts["node"]], intfName1="eth0", intfName2=port, **intfs)
        link.intf1.ip, link.intf1.mac = facts["eip"], addressing.mac(facts["eip"])
    return net


def open_shell(lab: Lab) -> None:
    """Run Mininet's command line until the user leaves it."""
    net = attached_network(lab)
    try:
        CLI(net)
    finally:
        for node in [*net.hosts, *net.switches]:
            node.terminate()

"""Nodes as Mininet sees them: a Switch with an OVS of its own. Their hosts are in `testbed.network.hosts.sandboxes`.

Mininet's own OVSSwitch shares the machine's one OVS; a node of this testbed is a machine of its own,
with its own ovsdb-server, ovs-vswitchd, conntrack and CPU account.
"""

from __future__ import annotations

import itertools
import os
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import mininet.net
import mininet.util
from mininet.link import Link
from mininet.node import Switch

from testbed.model import addressing
from testbed.model.errors import LabError
from testbed.network.process.namespaces import bring_up, call_within, configure_interface, open_netns, set_sysctl
from testbed.network.process.supervisor import ProcessSpec
from testbed.network.switching.ovsdb import BridgePorts

# Mininet would raise the limit of open files to a million, and every fork of a program that closes
# all possible descriptors would then take seconds instead of milliseconds.
mininet.net.fixLimits = mininet.util.fixLimits = lambda: None

SCHEMA = "/usr/share/openvswitch/vswitch.ovsschema"
A_DAY_S = "86400"
VSCTL_TIMEOUT_S = "60"
"""A loaded machine's lab kernel takes more than ten seconds until vswitchd has made a bridge."""


class OvsNode(Switch):
    """One cluster machine: a network namespace with its own OVS and one bridge, "s<number>"."""

    def __init__(self, name: str, number: int, datapath: str, state_folder: Path, **params: Any) -> None:
        params["inNamespace"] = True
        super().__init__(name, dpid=f"{number:016x}", **params)
        self.number = number
        self.datapath = datapath
        self.run_folder = state_folder / "ovs" / name
        self.netns = open_netns(self.pid)
        self._ports = BridgePorts(self.run_folder / "db.sock", name)

    def processes(self, logs: Path) -> list[ProcessSpec]:
        """The daemons of this node's OVS, database first."""
        self.run_folder.mkdir(parents=True, exist_ok=True)
        database = self.run_folder / "conf.db"
        if not database.exists():
            _run("ovsdb-tool", "create", str(database), SCHEMA)
        inside = ("nsenter", f"--net=/proc/{self.pid}/ns/net", "env", f"OVS_RUNDIR={self.run_folder}")
        common = ("-vconsole:off", "-vsyslog:off", "-vfile:info", "--pidfile", "--overwrite-pidfile")
        socket = self.run_folder / "db.sock"
        return [
            ProcessSpec(
                f"{self.name}-ovsdb",
                (*inside, "ovsdb-server", str(database), f"--remote=punix:{socket}", *common,
                 f"--log-file={logs / f'{self.name}-ovsdb.log'}"),
                group=f"switching/{self.name}",
            ),
            ProcessSpec(
                self.name,
                (*inside, "ovs-vswitchd", f"unix:{socket}", *common, f"--log-file={logs / f'{self.name}.log'}"),
                group=f"switching/{self.name}",
            ),
        ]  # fmt: skip

    def configure(self, ports: list[str]) -> None:
        """Make the bridge with these ports. The daemons must be running."""
        call_within(self.netns, self._prepare_namespace)
        call_within(self.netns, lambda: bring_up(*ports))
        self.vsctl(
            "--", "init",
            "--", "--may-exist", "add-br", self.name,
            "--", "set", "bridge", self.name,
            f"datapath_type={'netdev' if self.datapath == 'userspace' else 'system'}",
            "fail_mode=secure",
            "protocols=OpenFlow13",
            f"other-config:datapath-id={self.number:016x}",
            "other-config:disable-in-band=true",
            *_port_arguments(self.name, ports),
            *(_leave_queueing_alone(ports) if self.datapath == "kernel" else ()),
        )  # fmt: skip

    def connect(self) -> None:
        """Point the bridge at the controller, which should be listening: OVS waits a second after a refusal."""
        self.vsctl("set-controller", self.name, f"tcp:{addressing.CONTROL_PLANE_IP}:{addressing.OPENFLOW_PORT}")

    def keep_reconnecting_soon(self) -> None:
        """Make OVS look for a controller that went away every second; returns only by LabError.

        OVS would wait up to 8 s between attempts, and takes a new limit only for a connection that is
        up while the limit changes. It reports connections every 5 s: one that came and went between two
        reports may leave the next absence with the long waits.
        """
        controller = ("controller", self.name)
        for limit_ms in itertools.cycle((1000, 1001)):
            self.vsctl("-t", A_DAY_S, "wait-until", *controller, "is_connected=true")
            self.vsctl("set", *controller, f"max_backoff={limit_ms}")
            self.vsctl("-t", A_DAY_S, "wait-until", *controller, "is_connected=false")

    def _prepare_namespace(self) -> None:
        bring_up("lo")
        set_sysctl("net.ipv6.conf.all.disable_ipv6", 1)
        set_sysctl("net.ipv6.conf.default.disable_ipv6", 1)
        configure_interface("mgmt0", addressing.management_ip(self.number), addressing.MANAGEMENT_PREFIX_LENGTH)

    def add_ports(self, *names: str) -> None:
        """Give the bridge these interfaces of the node's namespace, which are up, as ports."""
        self._ports.add(*names)

    def delete_port(self, name: str) -> None:
        """Take a port away; OVS would go on listing the port of a sandbox that is gone."""
        self._ports.delete(name)

    def vsctl(self, *arguments: str) -> str:
        return _run("ovs-vsctl", "-t", VSCTL_TIMEOUT_S, *arguments, environment={"OVS_RUNDIR": str(self.run_folder)})

    def attach(self, intf: Any) -> None:
        self.add_ports(str(intf))

    def start(self, controllers: Any) -> None:
        """Mininet's hook; the daemons are started by the lab, which also restarts them."""

    def defaultIntf(self) -> None:
        return None


class TrunkLink(Link):
    """Tells Mininet of a trunk whose interfaces the trunk itself has made."""

    @classmethod
    def makeIntfPair(cls, *_: Any, **__: Any) -> None:
        return None

    def delete(self) -> None:
        self.intf1 = self.intf2 = None


def _leave_queueing_alone(ports: list[str]) -> list[str]:
    """Tell OVS that others manage these ports' queues: it deletes a netem it finds there, also at a restart."""
    words = ["--", "--id=@queueing", "create", "qos", "type=linux-noop"]
    return words + [word for port in ports for word in ("--", "set", "port", port, "qos=@queueing")]


def _port_arguments(bridge: str, names: Iterable[str]) -> list[str]:
    return [word for name in names for word in ("--", "--may-exist", "add-port", bridge, name)]


def _run(*argv: str, environment: dict[str, str] | None = None) -> str:
    result = subprocess.run(
        argv, capture_output=True, text=True, check=False, env={**os.environ, **(environment or {})}
    )
    if result.returncode != 0:
        raise LabError(f"`{' '.join(argv[:6])} …` failed: {result.stderr.strip()}; see the lab's logs folder")
    return result.stdout

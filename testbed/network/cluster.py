"""The emulated cluster: nodes, trunks, management network and hosts, as one Mininet network.

It runs inside the lab's own namespaces and makes nothing outside them. It starts no platform process
and knows no function; hosts come and go by name.
"""

from __future__ import annotations

import itertools
import os
import subprocess
import threading
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mininet.net import Mininet

from testbed.model import addressing
from testbed.model.errors import LabError, UsageError
from testbed.network.hosts.sandboxes import PlainIntf, Sandbox, SandboxLink, SandboxPool
from testbed.network.process.cgroups import Cgroups
from testbed.network.process.namespaces import bring_up, configure_interface, set_sysctl, within
from testbed.network.process.supervisor import Supervisor
from testbed.network.switching.datapath import USERSPACE
from testbed.network.switching.node import OvsNode, TrunkLink
from testbed.network.switching.trunk import ElementTrunk, End, LinkSettings, NetemTrunk, Trunk

MANAGEMENT_BRIDGE = "mgmt"
DAEMON_START_S = 60.0  # a slow machine, or a kernel so young that OVS has to wait


class Cluster:
    """Nodes 1..n with a full mesh of trunks. Methods may be called from several threads."""

    def __init__(self, datapath: str, state_folder: Path, supervisor: Supervisor, cgroups: Cgroups) -> None:
        """Make the management network; `build` makes the rest."""
        self.datapath = datapath
        self.state_folder = state_folder
        self.net = Mininet(controller=None, build=False, ipBase="10.0.0.0/8")
        self.trunks: dict[tuple[int, int], Trunk] = {}
        self._lock = threading.RLock()
        self._supervisor = supervisor
        self._cgroups = cgroups
        self._sandboxes: dict[str, tuple[Sandbox, int, str]] = {}
        self._coming: set[str] = set()
        self._spares = itertools.count(1)
        self.pool = SandboxPool(self._make_sandbox)
        self.nodes: dict[int, OvsNode] = {}
        self._make_management_network()

    def build(self, nodes: Iterable[int]) -> None:
        """Make the nodes and the trunks between them."""
        self.nodes = {number: self._add_node(number) for number in nodes}
        self._await_daemons()
        for a, b in itertools.combinations(sorted(self.nodes), 2):
            self._add_trunk(a, b)
        with ThreadPoolExecutor() as pool:
            list(pool.map(self._configure_node, self.nodes.values()))

    # nodes and trunks

    def _make_management_network(self) -> None:
        bring_up("lo")
        set_sysctl("net.ipv6.conf.all.disable_ipv6", 1)
        set_sysctl("net.ipv6.conf.default.disable_ipv6", 1)
        _ip("link", "add", MANAGEMENT_BRIDGE, "type", "bridge")
        configure_interface(MANAGEMENT_BRIDGE, addressing.CONTROL_PLANE_IP, addressing.MANAGEMENT_PREFIX_LENGTH)

    def join_management(self, pid: int, port: str) -> None:
        """Give the namespace of process `pid` an interface "mgmt0" on the management network."""
        _ip("link", "add", port, "type", "veth", "peer", "mgmt0", "netns", str(pid))
        _ip("link", "set", port, "master", MANAGEMENT_BRIDGE, "up")

    def _add_node(self, number: int) -> OvsNode:
        node = self.net.addSwitch(
            f"s{number}", cls=OvsNode, number=number, datapath=self.datapath, state_folder=self.state_folder
        )
        self.join_management(node.pid, f"m{number}")
        for spec in node.processes(self.state_folder / "logs"):
            self._supervisor.start(spec)
        return node

    def _await_daemons(self) -> None:
        deadline = time.monotonic() + DAEMON_START_S
        for node in self.nodes.values():
            for name in ("db.sock", "ovs-vswitchd.pid"):
                while not (node.run_folder / name).exists():
                    if time.monotonic() > deadline:
                        raise LabError(
                            f"OVS of {node.name} did not start within {DAEMON_START_S:.0f} s; see logs/{node.name}.log"
                        )
                    time.sleep(0.005)

    def _add_trunk(self, a: int, b: int) -> None:
        node_a, node_b = self.nodes[a], self.nodes[b]
        ends = End(addressing.trunk_name(a, b), node_a.pid), End(addressing.trunk_name(b, a), node_b.pid)
        self.trunks[a, b] = ElementTrunk(*ends, self._cgroups) if self.datapath == USERSPACE else NetemTrunk(*ends)
        self.net.addLink(
            node_a, node_b, cls=TrunkLink, intfName1=ends[0].name, intfName2=ends[1].name,
            cls1=PlainIntf, cls2=PlainIntf, fast=True,
        )  # fmt: skip

    def _configure_node(self, node: OvsNode) -> None:
        peers = [peer for peer in self.nodes if peer != node.number]
        node.configure([addressing.trunk_name(node.number, peer) for peer in peers])

    def connect_controller(self) -> None:
        """Point every bridge at the controller."""
        with ThreadPoolExecutor() as pool:
            list(pool.map(OvsNode.connect, self.nodes.values()))
        for node in self.nodes.values():
            threading.Thread(target=self._keep_hasty, args=(node,), name=f"hasten-{node.name}", daemon=True).start()

    def _keep_hasty(self, node: OvsNode) -> None:
        while True:
            try:
                node.keep_reconnecting_soon()
            except LabError as error:  # its database restarts
                print(f"{node.name}: {error}", flush=True)
                time.sleep(1)

    def node(self, number: int) -> OvsNode:
        if number not in self.nodes:
            raise UsageError(f"there is no node{number}; the lab has nodes {', '.join(map(str, self.nodes))}")
        return self.nodes[number]

    def links(self) -> list[dict[str, Any]]:
        """Every trunk: its nodes, the settings asked for, those read back from each direction, and its counters."""
        return [
            {"a": a, "b": b, **asdict(trunk.asked), "readback": [asdict(each) for each in trunk.read()],
             "counters": trunk.counters()}
            for (a, b), trunk in self.trunks.items()
        ]  # fmt: skip

    def set_link(self, a: int, b: int, changes: dict[str, float]) -> None:
        """Change the given settings of the trunk between two nodes, both directions alike."""
        key = (min(a, b), max(a, b))
        if key not in self.trunks:
            raise UsageError(f"there is no trunk between node{a} and node{b}; see `testbed link show`")
        trunk = self.trunks[key]
        settings = LinkSettings(**{**asdict(trunk.asked), **changes}).checked()
        trunk.set(settings)

    # hosts

    def add_host(self, name: str, node: int, eip: str) -> Sandbox:
        """A host on a node's bridge. LabError when the name is taken.

        Only Mininet's own lists are changed under the lock: hosts that are added at once become ready at once.
        """
        switch, port = self.node(node), addressing.port_name(eip)
        with self._lock:
            if name in self._sandboxes or name in self._coming or name in self.net.nameToNode:
                raise LabError(f"the lab has a host {name!r} already; delete it first")
            self._coming.add(name)
        try:
            sandbox = self.pool.take(node)
            try:
                sandbox.become(name, eip)
                switch.add_ports(port)
            except (LabError, OSError) as error:
                sandbox.terminate()
                with suppress(LabError):
                    switch.delete_port(port)
                raise LabError(f"host {name!r} could not be made on node{node}: {error}") from error
            with self._lock:
                self._register(sandbox, switch, eip)
        finally:
            with self._lock:
                self._coming.discard(name)
        return sandbox

    def _make_sandbox(self, node: int) -> Sandbox:
        try:
            return Sandbox(f"spare{next(self._spares)}", self.node(node).netns, self.datapath, self._cgroups)
        except OSError as error:
            raise LabError(f"no sandbox could be made on node{node}: {error}") from error

    def _register(self, sandbox: Sandbox, switch: OvsNode, eip: str) -> None:
        """Tell Mininet of a host and its link."""
        self.net.hosts.append(sandbox)
        self.net.nameToNode[sandbox.name] = sandbox
        self._sandboxes[sandbox.name] = (sandbox, switch.number, eip)
        link = self.net.addLink(
            sandbox, switch, cls=SandboxLink, intfName1="eth0", intfName2=addressing.port_name(eip),
            cls1=PlainIntf, cls2=PlainIntf, fast=True,
        )  # fmt: skip
        link.intf1.ip, link.intf1.prefixLen = eip, "32"
        link.intf1.mac = addressing.mac(eip)

    def delete_host(self, name: str) -> None:
        """Take a host, its port and its link away; what runs in it must have ended.

        LabError when its switch does not answer: the host is still there then, to be deleted again.
        """
        with self._lock:
            host, node, eip = entry = self._sandbox(name)
            del self._sandboxes[name]
            self._coming.add(name)
        try:
            self.nodes[node].delete_port(addressing.port_name(eip))
            for link in self._unregister(host):
                link.delete()
            host.terminate()
        except LabError:
            with self._lock:
                self._sandboxes[name] = entry
            raise
        finally:
            with self._lock:
                self._coming.discard(name)

    def _unregister(self, host: Sandbox) -> list[Any]:
        """Have Mininet forget a host; returns its links."""
        with self._lock:
            links = [link for link in self.net.links if host in (link.intf1.node, link.intf2.node)]
            for link in links:
                self.net.links.remove(link)
            self.net.hosts.remove(host)
            del self.net.nameToNode[host.name]
        return links

    def hosts(self) -> dict[str, dict[str, Any]]:
        with self._lock:
            return {
                name: {"node": node, "eip": eip, "pid": host.pid} for name, (host, node, eip) in self._sandboxes.items()
            }

    def has_host(self, name: str) -> bool:
        with self._lock:
            return name in self._sandboxes

    def netns(self, name: str) -> int:
        """The network namespace of a host, of "node<n>", or of the lab itself ("root"), as an open descriptor."""
        if name == "root":
            return os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        return os.dup(
            self.nodes_by_name()[name].netns if name in self.nodes_by_name() else self._sandbox(name)[0].netns
        )

    def pid(self, name: str) -> int:
        """The process that holds the namespaces of a host or a node, as seen inside the lab."""
        nodes = self.nodes_by_name()
        return int(nodes[name].pid if name in nodes else self._sandbox(name)[0].pid)

    def nodes_by_name(self) -> dict[str, OvsNode]:
        return {name: node for number, node in self.nodes.items() for name in (f"node{number}", f"s{number}")}

    def join_host_to_management(self, name: str, address: str) -> None:
        """Give a host a second interface, on the management network."""
        host = self._sandbox(name)[0]
        self.join_management(host.pid, f"m-{name}"[:15])
        with within(host.netns):
            configure_interface("mgmt0", address, addressing.MANAGEMENT_PREFIX_LENGTH)

    def _sandbox(self, name: str) -> tuple[Sandbox, int, str]:
        if name not in self._sandboxes:
            raise UsageError(f"the lab has no host {name!r}; `testbed status` lists them")
        return self._sandboxes[name]


def _ip(*arguments: str) -> None:
    result = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise LabError(f"`ip {' '.join(arguments)}` failed: {result.stderr.strip()}")

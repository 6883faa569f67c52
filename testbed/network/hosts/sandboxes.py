"""Sandboxes: Mininet hosts that stand within milliseconds, and a few of them prepared in advance.

A sandbox is a network namespace held by a process that sleeps. It is given its link when its name and address are
known; Mininet's shell for a host is started when somebody first uses it.
"""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

from mininet.link import Intf, Link
from mininet.node import Host

from testbed.model import addressing
from testbed.model.errors import LabError
from testbed.network.hosts.netlink import add_address, add_neighbour, add_route, delete_link, make_veth
from testbed.network.process.cgroups import Cgroups
from testbed.network.process.namespaces import (
    bring_up,
    call_within,
    in_new_netns,
    open_netns,
    set_sysctl,
    transmit_checksums_off,
)
from testbed.network.switching.datapath import USERSPACE

GROUP = "sandboxes"
"""The cgroup of the sleeping processes: apart from the functions', whose memory is reported."""
PREPARED_PER_NODE = 4
QUIET_S = 1.0
"""Prepared sandboxes are replaced when none has been taken for this long, and at the lowest priority."""
LOWEST_PRIORITY = 19

HOST_SYSCTLS: dict[str, str | int] = {
    "net.ipv6.conf.all.disable_ipv6": 1,
    "net.ipv6.conf.default.disable_ipv6": 1,
    # Without random timestamp offsets and with room for reuse, tens of thousands of consecutive
    # connections to one vIP go through; otherwise SYNs meet stale TIME_WAIT state and hang for seconds.
    "net.ipv4.tcp_timestamps": 2,
    "net.ipv4.tcp_tw_reuse": 1,
    "net.ipv4.ip_local_port_range": "10000 65535",
    "net.core.somaxconn": 4096,
    # Nobody in a host has a right to any port; the mail server's is below 1024.
    "net.ipv4.ip_unprivileged_port_start": 0,
}
USERSPACE_SYSCTLS: dict[str, str | int] = {
    # Larger windows overrun the packet sockets of the userspace datapath.
    "net.ipv4.tcp_rmem": "4096 65536 131072",
    "net.ipv4.tcp_wmem": "4096 16384 131072",
}


class Sandbox(Host):
    """A Mininet host: the network namespace that an instance, the gateway, the client or a probe runs in.

    `spare` is its name until `become` gives it another.
    """

    def __init__(self, spare: str, node_netns: int, datapath: str, cgroups: Cgroups) -> None:
        self.netns = -1
        self._node_netns = node_netns
        self._datapath = datapath
        self._cgroups = cgroups
        super().__init__(spare, ip=None)

    def startShell(self, mnopts: str | None = None) -> None:
        """Mininet's hook for a node that begins: makes the namespace, and no shell yet."""
        self._cgroups.make(GROUP)
        self._holder: subprocess.Popen[bytes] = in_new_netns(self._prepare)
        self.pid = self._holder.pid
        self.netns = open_netns(self.pid)

    def _prepare(self) -> subprocess.Popen[bytes]:
        """In the new namespace: the process that holds it, its parameters and its link."""
        late = self._cgroups.enter(GROUP)
        holder = subprocess.Popen(["sleep", "infinity"], start_new_session=True)
        try:
            for file in late:
                file.write_text(str(holder.pid))
            self._configure()
        except (OSError, LabError):  # nobody else knows this process yet
            holder.kill()
            holder.wait()
            raise
        return holder

    def _configure(self) -> None:
        sysctls = HOST_SYSCTLS | (USERSPACE_SYSCTLS if self._datapath == USERSPACE else {})
        for name, value in sysctls.items():
            set_sysctl(name, value)
        bring_up("lo")

    def become(self, name: str, eip: str) -> None:
        """Make it the host of this name and eIP: all that is left to do before its port joins the bridge.

        The node's switch looks at all its interfaces whenever one is made or changed, which takes longer the more there
        are. So the link is made in one step, and not in advance.
        """
        call_within(self.netns, lambda: self._connect(eip))
        self.name = name

    def _connect(self, eip: str) -> None:
        make_veth("eth0", addressing.mac(eip), addressing.port_name(eip), self._node_netns)
        if self._datapath == USERSPACE:
            transmit_checksums_off("eth0")
        bring_up("eth0")
        add_address("eth0", eip)
        for network in addressing.DATA_NETWORKS:
            add_route(network, addressing.NEXT_HOP, "eth0")
        # Linux has one table of neighbours for all namespaces: with one entry for each address that each host calls,
        # its 1024 would be gone at a few dozen functions.
        add_neighbour(addressing.NEXT_HOP, addressing.VIRTUAL_MAC, "eth0")

    # Mininet's shell

    def sendCmd(self, *args: Any, **kwargs: Any) -> None:
        if not self.shell:
            super().startShell()
            self.pid = self._holder.pid
            self.cmd("cd", os.getcwd())  # noqa: PTH109
        super().sendCmd(*args, **kwargs)

    def _popen(self, cmd: list[str], **params: Any) -> subprocess.Popen[Any]:
        if cmd[:2] == ["mnexec", "-cdn"]:  # Mininet would make another namespace
            cmd = ["mnexec", "-cda", str(self.pid), *cmd[2:]]
        return super()._popen(cmd, **params)

    def terminate(self) -> None:
        # Mininet ends a deleted host twice.
        super().terminate()
        if self.netns >= 0:
            self._holder.kill()
            self._holder.wait()
            os.close(self.netns)
            self.netns = -1


class PlainIntf(Intf):
    """An interface that is configured by system calls, not by Mininet's shell commands."""

    def config(self, **_: Any) -> dict[str, Any]:
        return {}

    def ifconfig(self, *_: Any) -> str:
        return ""

    def delete(self) -> None:
        node: Any = self.node
        with suppress(OSError):  # the other end took it along
            call_within(node.netns, lambda: delete_link(self.name))
        node.delIntf(self)
        self.link = None


class SandboxLink(Link):
    """Tells Mininet of a host's link that the sandbox itself has made."""

    @classmethod
    def makeIntfPair(cls, *_: Any, **__: Any) -> None:
        return None


class SandboxPool:
    """Sandboxes of the nodes that are ready before they are asked for; `take` makes one where none is left."""

    def __init__(self, make: Callable[[int], Sandbox]) -> None:
        self._make = make
        self._prepared: dict[int, list[Sandbox]] = {}
        self._lock = threading.Lock()
        self._taken = threading.Event()
        self._allowed = threading.Event()
        self._allowed.set()
        self._last_taken_s = 0.0

    def take(self, node: int) -> Sandbox:
        """A sandbox of this node that is nobody's yet."""
        with self._lock:
            prepared = self._prepared.get(node)
            self._last_taken_s = time.monotonic()
            sandbox = prepared.pop() if prepared else None
        self._taken.set()
        return sandbox or self._make(node)

    def counts(self) -> dict[int, int]:
        """How many are prepared on each node that has some in advance."""
        with self._lock:
            return {node: len(prepared) for node, prepared in self._prepared.items()}

    def allow_refill(self, allowed: bool) -> None:
        """Whether sandboxes may be prepared now; a measurement says no, as that takes a few ms of CPU each."""
        if allowed:
            self._allowed.set()
        else:
            self._allowed.clear()

    def keep_filled(self, nodes: Iterable[int]) -> None:
        """Prepare sandboxes for these nodes from now on, in a thread of its own."""
        self._prepared = {node: [] for node in nodes}
        self._taken.set()
        threading.Thread(target=self._refill, name="prepare-sandboxes", daemon=True).start()

    def _refill(self) -> None:
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), LOWEST_PRIORITY)
        while True:
            self._taken.wait()
            self._allowed.wait()
            quiet_for_s = time.monotonic() - self._last_taken_s
            if quiet_for_s < QUIET_S:
                time.sleep(QUIET_S - quiet_for_s)
                continue
            node = min(self._prepared, key=lambda node: len(self._prepared[node]))
            with self._lock:  # or one that is taken right now would not be replaced
                full = len(self._prepared[node]) >= PREPARED_PER_NODE
                if full:
                    self._taken.clear()
            if full:
                continue
            try:
                sandbox = self._make(node)
            except (OSError, LabError) as error:
                print(f"no sandbox could be prepared on node{node}: {error}", flush=True)
                time.sleep(QUIET_S)
                continue
            with self._lock:
                self._prepared[node].append(sandbox)

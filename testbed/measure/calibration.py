"""What a trunk adds to a round trip, measured with small messages over one connection.

The same ping-pong runs within node1 (client to probe1) and across each trunk; the difference of the
medians is what the trunk adds: its delay, both ways, and the switches at its far end. Probes listen
on their virtual IPs, so the messages take the pipeline that calls take. It judges nothing: `fidelity` does.
"""

from __future__ import annotations

import os
import socket
import statistics
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from testbed.model import addressing
from testbed.model.errors import LabError
from testbed.network.process.namespaces import call_within

MESSAGE = b"round-trip-probe"
TIMEOUT_S = 5.0
ROUNDS = 10
DISCARDED = 20
"""Round trips of each path that come first and are thrown away: they fill caches of switches."""

LOCAL = "local"
Trunk = tuple[int, int]


@dataclass(frozen=True)
class ProbePath:
    """One path that is probed. `trunk` is None for the one that stays within node1."""

    source: str
    target_node: int
    trunk: Trunk | None

    @property
    def name(self) -> str:
        return LOCAL if self.trunk is None else f"{self.trunk[0]}-{self.trunk[1]}"


@dataclass(frozen=True)
class TrunkTimes:
    """Round trips in ms, within node1 and across each trunk.

    `local_rtt_ms` and `rtt_ms` are medians: what a message usually takes, noise included. `fast_ms` are
    2nd percentiles: a busy machine moves them little, another delay moves them wholly.
    """

    local_rtt_ms: float
    rtt_ms: Mapping[Trunk, float]
    fast_ms: Mapping[Trunk, float]

    @property
    def added_ms(self) -> dict[Trunk, float]:
        """What each trunk adds to a round trip; never below zero."""
        return {trunk: max(0.0, rtt_ms - self.local_rtt_ms) for trunk, rtt_ms in self.rtt_ms.items()}


class NamespaceSource(Protocol):
    """The part of the lab's client that probes need."""

    def netns(self, name: str) -> int: ...


def paths(nodes: Sequence[int]) -> list[ProbePath]:
    """The local reference and one path a trunk of the full mesh."""
    found = [ProbePath("client", nodes[0], None)]
    for position, node in enumerate(nodes):
        source = "client" if position == 0 else f"probe{node}"
        found += [ProbePath(source, peer, (node, peer)) for peer in nodes[position + 1 :]]
    return found


def summarise(rtts_ns: Mapping[str, Sequence[int]]) -> TrunkTimes:
    """What the round trips of each path come to, by the path's name ("local", "1-2", …)."""
    trunks = {trunk_key(name): sorted(values) for name, values in rtts_ns.items() if name != LOCAL}
    return TrunkTimes(
        local_rtt_ms=statistics.median(rtts_ns[LOCAL]) / 1e6,
        rtt_ms={trunk: statistics.median(values) / 1e6 for trunk, values in trunks.items()},
        fast_ms={trunk: values[len(values) // 50] / 1e6 for trunk, values in trunks.items()},
    )


def trunk_key(name: str) -> Trunk:
    """(1, 2) for "1-2"."""
    a, _, b = name.partition("-")
    return int(a), int(b)


class TrunkProbe:
    """Open connections over every path of a running lab; `close` ends them.

    Raises:
        LabError: a probe cannot be reached.
    """

    def __init__(self, lab: NamespaceSource, nodes: Sequence[int]) -> None:
        self._lab = lab
        self._sockets: list[socket.socket] = []
        self._connections: dict[str, socket.socket] = {}
        for node in nodes:
            self._serve(f"probe{node}")
        for path in paths(nodes):
            self._connections[path.name] = self._connect(path)

    def measure(self, round_trips: int) -> dict[str, list[int]]:
        """At least `round_trips` round-trip times in ns for each path, by its name.

        The paths take turns, so that a change of the machine's mood meets all of them.
        """
        rtts_ns: dict[str, list[int]] = {name: [] for name in self._connections}
        for name, connection in self._connections.items():
            self._ping(name, connection, DISCARDED)
        for _ in range(ROUNDS):
            for name, connection in self._connections.items():
                rtts_ns[name] += self._ping(name, connection, -(-round_trips // ROUNDS))
        return rtts_ns

    def close(self) -> None:
        for opened in self._sockets:
            opened.close()

    def __enter__(self) -> TrunkProbe:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _serve(self, host: str) -> None:
        listener = self._within(host, lambda: socket.create_server(("0.0.0.0", addressing.FUNCTION_PORT)))
        self._sockets.append(listener)
        threading.Thread(target=_echo_all, args=(listener,), daemon=True).start()

    def _connect(self, path: ProbePath) -> socket.socket:
        target = (addressing.vip(addressing.FIRST_PROBE_ID + path.target_node), addressing.FUNCTION_PORT)
        try:
            connection = self._within(path.source, lambda: socket.create_connection(target, TIMEOUT_S))
        except OSError as problem:
            self.close()
            raise LabError(
                f"{path.source} does not reach the probe of node{path.target_node} ({problem}); "
                "see `testbed flows` and `testbed status`"
            ) from problem
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._sockets.append(connection)
        return connection

    def _within(self, host: str, function: Any) -> Any:
        fd = self._lab.netns(host)
        try:
            return call_within(fd, function)
        finally:
            os.close(fd)

    @staticmethod
    def _ping(name: str, connection: socket.socket, times: int) -> list[int]:
        rtts_ns = []
        for _ in range(times):
            before_ns = time.perf_counter_ns()
            connection.sendall(MESSAGE)
            answer = b""
            while len(answer) < len(MESSAGE):
                chunk = connection.recv(len(MESSAGE) - len(answer))
                if not chunk:
                    raise LabError(f"the probe of trunk {name} closed its connection; see `testbed status`")
                answer += chunk
            rtts_ns.append(time.perf_counter_ns() - before_ns)
        return rtts_ns


def _echo_all(listener: socket.socket) -> None:
    """Accept connections until the listener is closed, each answered by a thread of its own."""
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:  # closed
            return
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=_echo, args=(connection,), daemon=True).start()


def _echo(connection: socket.socket) -> None:
    with connection:
        try:
            while data := connection.recv(4096):
                connection.sendall(data)
        except OSError:  # the other side has gone
            return

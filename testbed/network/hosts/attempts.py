"""Who gets through to whom, tried with many packets at once from inside hosts: SYNs, and requests over TCP.

One thread a host opens its sockets, which stay in its namespace; one loop waits for all of them, and no command is
spawned. SYNs are sent as frames, of which no server sees a connection: the host's own kernel resets what is answered.
Requests are the host's own connections.
"""

from __future__ import annotations

import random
import selectors
import socket
import struct
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum

from testbed.model import addressing, segments
from testbed.model.segments import ACK, RST, SYN, syn_frame

Sockets = Sequence[socket.socket]
RunIn = Callable[[str, Callable[[], Sockets]], Sockets]
"""(host, function) -> what `function` returned when its sockets belonged to that host."""

AT_ONCE = 300
"""A burst that a switch's queues take; and a process may usually have 1024 descriptors."""
SENDINGS = 3
"""Of each SYN that is not answered: one packet of many may be lost."""
FIRST_PORT, LAST_PORT = 61_000, 65_000
"""Source ports above those that the kernel gives to connections."""

_NO_LINGER = struct.pack("ii", 1, 0)
_STATUS_LINE_BYTES = 64


class Result(str, Enum):
    """What became of an attempt."""

    ANSWERED = "answered"
    RESET = "reset"
    SILENT = "silent"


@dataclass(frozen=True)
class Attempt:
    """To address:port from a host, whose own address is `source`. With a `request`, over TCP up to the reply."""

    host: str
    source: str
    address: str
    port: int
    request: bytes = b""


@dataclass(frozen=True)
class Outcome:
    """`reply` is the first line of what answered a request."""

    result: Result
    reply: bytes = b""


SILENT = Outcome(Result.SILENT)


def try_syns(run_in: RunIn, attempts: Sequence[Attempt], wait_s: float) -> dict[Attempt, Outcome]:
    """What answered each SYN; what is not answered `wait_s` after the first is SILENT."""
    outcomes: dict[Attempt, Outcome] = {}
    for batch in _batches(attempts):
        outcomes |= _Syns(batch).run(run_in, wait_s)
    return outcomes


def try_requests(
    run_in: RunIn, attempts: Sequence[Attempt], wait_s: float, at_once: int | None = None
) -> dict[Attempt, Outcome]:
    """The first line of what answered each request; what is not answered in `wait_s` is SILENT.

    `at_once`: how many of them (None: AT_ONCE); each needs a descriptor.
    """
    outcomes: dict[Attempt, Outcome] = {}
    for batch in _batches(attempts, at_once):
        outcomes |= _Requests(batch).run(run_in, wait_s)
    return outcomes


def _batches(attempts: Sequence[Attempt], at_once: int | None = None) -> Iterator[Sequence[Attempt]]:
    size = at_once or AT_ONCE
    for first in range(0, len(attempts), size):
        yield attempts[first : first + size]


def _by_host(attempts: Sequence[Attempt]) -> Mapping[str, list[Attempt]]:
    found: dict[str, list[Attempt]] = {}
    for attempt in attempts:
        found.setdefault(attempt.host, []).append(attempt)
    return found


@contextmanager
def _closing(sockets: list[socket.socket]) -> Iterator[selectors.DefaultSelector]:
    with selectors.DefaultSelector() as selector:
        try:
            yield selector
        finally:
            for one in sockets:
                one.close()


class _Syns:
    """SYNs under way at the same time, each known by its source port."""

    def __init__(self, attempts: Sequence[Attempt]) -> None:
        self._attempts = attempts
        begin = random.randint(FIRST_PORT, LAST_PORT - AT_ONCE)  # not the ports of a run a second ago
        self._ports = {begin + index: attempt for index, attempt in enumerate(attempts)}
        self._outcomes: dict[Attempt, Outcome] = {}

    def run(self, run_in: RunIn, wait_s: float) -> dict[Attempt, Outcome]:
        sockets: list[socket.socket] = []
        with _closing(sockets) as selector:
            for host in _by_host(self._attempts):
                (one,) = run_in(host, lambda: [listening_packet_socket()])
                sockets.append(one)
                selector.register(one, selectors.EVENT_READ, host)
            began = time.monotonic()
            for sending in range(SENDINGS):
                self._send({key.data: key.fileobj for key in selector.get_map().values()})
                self._listen(selector, began + wait_s * (sending + 1) / SENDINGS)
        return {attempt: self._outcomes.get(attempt, SILENT) for attempt in self._attempts}

    def _send(self, sockets: Mapping[str, object]) -> None:
        for port, attempt in self._ports.items():
            if attempt not in self._outcomes:
                one = sockets[attempt.host]
                assert isinstance(one, socket.socket)
                mac = addressing.mac(attempt.source)
                one.send(syn_frame(mac, attempt.source, attempt.address, port, attempt.port))

    def _listen(self, selector: selectors.DefaultSelector, until_s: float) -> None:
        while len(self._outcomes) < len(self._attempts) and (left_s := until_s - time.monotonic()) > 0:
            for key, _ in selector.select(left_s):
                assert isinstance(key.fileobj, socket.socket)
                self._take(key.fileobj.recv(128))

    def _take(self, frame: bytes) -> None:
        """Settle the attempt that this frame answers, if it answers one."""
        answer = segments.read(frame)
        if answer is None:
            return
        source, source_port, _, port = answer.connection
        attempt = self._ports.get(port)
        if attempt is None or (segments.address(source), source_port) != (attempt.address, attempt.port):
            return
        if answer.flags & RST:
            self._outcomes[attempt] = Outcome(Result.RESET)
        elif answer.flags & (SYN | ACK) == SYN | ACK:
            self._outcomes[attempt] = Outcome(Result.ANSWERED)


def listening_packet_socket() -> socket.socket:
    """A socket that sends and receives whole frames by the calling thread's eth0."""
    one = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(segments.IPV4))
    one.bind(("eth0", segments.IPV4))
    return one


class _Requests:
    """Connections that carry a request each, at the same time."""

    def __init__(self, attempts: Sequence[Attempt]) -> None:
        self._attempts = attempts
        self._outcomes: dict[Attempt, Outcome] = {}
        self._replies = dict.fromkeys(attempts, b"")

    def run(self, run_in: RunIn, wait_s: float) -> dict[Attempt, Outcome]:
        sockets: list[socket.socket] = []
        with _closing(sockets) as selector:
            for host, mine in _by_host(self._attempts).items():
                opened = run_in(host, lambda wanted=mine: [_connecting(one) for one in wanted])  # type: ignore[misc]
                sockets += opened
                for attempt, one in zip(mine, opened, strict=True):
                    selector.register(one, selectors.EVENT_WRITE, attempt)
            deadline_s = time.monotonic() + wait_s
            while selector.get_map() and (left_s := deadline_s - time.monotonic()) > 0:
                for key, _ in selector.select(left_s):
                    assert isinstance(key.fileobj, socket.socket)
                    self._step(selector, key.fileobj, key.data, key.events == selectors.EVENT_READ)
        return {attempt: self._outcomes.get(attempt, SILENT) for attempt in self._attempts}

    def _step(self, selector: selectors.DefaultSelector, one: socket.socket, attempt: Attempt, connected: bool) -> None:
        """Take an attempt as far as it goes without waiting."""
        received = b""
        try:
            if not connected:
                one.send(attempt.request)
                selector.modify(one, selectors.EVENT_READ, attempt)
                return
            received = one.recv(_STATUS_LINE_BYTES)
        except OSError:
            pass  # reset or refused: as good as closed without a word
        self._replies[attempt] += received
        if received and b"\n" not in self._replies[attempt]:
            return
        selector.unregister(one)
        line = self._replies[attempt].partition(b"\r\n")[0]
        self._outcomes[attempt] = Outcome(Result.ANSWERED if line else Result.RESET, line)


def _connecting(attempt: Attempt) -> socket.socket:
    """A socket that is connecting, in the calling thread's namespace."""
    one = socket.socket()
    one.setblocking(False)
    # Closing sends a reset: no connection of a test lingers in any table.
    one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
    one.connect_ex((attempt.address, attempt.port))  # a failure shows when the request is sent
    return one

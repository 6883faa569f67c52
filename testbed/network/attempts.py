"""Many TCP connections tried at once from inside hosts: which are answered, which reset, which met with silence.

One thread a host opens that host's sockets, which stay in its namespace; one loop waits for all of them. No command is
spawned. What an answer means is for others to say.
"""

from __future__ import annotations

import errno
import selectors
import socket
import struct
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import Enum

Sockets = list[socket.socket]
RunIn = Callable[[str, Callable[[], Sockets]], Sockets]
"""(host, function) -> what `function` returned when its sockets belonged to that host."""

AT_ONCE = 300
"""Sockets open at a time: a process may usually have 1024 descriptors."""
_NO_LINGER = struct.pack("ii", 1, 0)
_STATUS_LINE_BYTES = 64


class Result(str, Enum):
    """What became of an attempt. Only ANSWERED means that a connection was made (and, if asked, spoken on)."""

    ANSWERED = "answered"
    RESET = "reset"
    SILENT = "silent"


@dataclass(frozen=True)
class Attempt:
    """A connection from `host` to address:port; with a `request`, the first line of the reply is waited for too."""

    host: str
    address: str
    port: int
    request: bytes = b""


@dataclass(frozen=True)
class Outcome:
    result: Result
    reply: bytes = b""


def try_all(run_in: RunIn, attempts: Sequence[Attempt], wait_s: float) -> list[Outcome]:
    """The outcome of each attempt, in their order; what is not settled `wait_s` after it began is SILENT."""
    outcomes: list[Outcome] = []
    for first in range(0, len(attempts), AT_ONCE):
        outcomes += _Batch(attempts[first : first + AT_ONCE]).run(run_in, wait_s)
    return outcomes


class _Batch:
    """Attempts that run at the same time."""

    def __init__(self, attempts: Sequence[Attempt]) -> None:
        self._attempts = attempts
        self._outcomes = [Outcome(Result.SILENT) for _ in attempts]
        self._replies = [b"" for _ in attempts]
        self._selector = selectors.DefaultSelector()

    def run(self, run_in: RunIn, wait_s: float) -> list[Outcome]:
        opened: Sockets = []
        try:
            for host in dict.fromkeys(attempt.host for attempt in self._attempts):
                mine = [index for index, attempt in enumerate(self._attempts) if attempt.host == host]
                sockets = run_in(host, lambda chosen=mine: _open(self._attempts[index] for index in chosen))  # type: ignore[misc]
                opened += sockets
                for index, one in zip(mine, sockets, strict=True):
                    self._selector.register(one, selectors.EVENT_WRITE, index)
            self._wait(time.monotonic() + wait_s)
        finally:
            self._selector.close()
            for one in opened:
                one.close()
        return self._outcomes

    def _wait(self, deadline_s: float) -> None:
        while self._selector.get_map() and (left_s := deadline_s - time.monotonic()) > 0:
            for key, _ in self._selector.select(left_s):
                one = key.fileobj
                assert isinstance(one, socket.socket)
                self._step(one, key.data, connected=key.events == selectors.EVENT_READ)

    def _step(self, one: socket.socket, index: int, connected: bool) -> None:
        """Take an attempt as far as it goes without waiting."""
        request = self._attempts[index].request
        try:
            if not connected:
                if failure := one.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                    raise OSError(failure, "")
                if request:
                    one.send(request)
                    self._selector.modify(one, selectors.EVENT_READ, index)
                    return
                self._settle(one, index, Result.ANSWERED)
                return
            received = one.recv(_STATUS_LINE_BYTES)
        except OSError as failed:
            refused = failed.errno in (errno.ECONNREFUSED, errno.ECONNRESET, errno.EPIPE)
            self._settle(one, index, Result.RESET if refused else Result.SILENT)
            return
        self._replies[index] += received
        if not received or b"\n" in self._replies[index]:
            self._settle(one, index, Result.ANSWERED if self._replies[index] else Result.RESET)

    def _settle(self, one: socket.socket, index: int, result: Result) -> None:
        self._selector.unregister(one)
        self._outcomes[index] = Outcome(result, self._replies[index].partition(b"\r\n")[0])


def _open(attempts: Iterable[Attempt]) -> Sockets:
    """Sockets that are connecting, in the calling thread's namespace."""
    sockets = []
    for attempt in attempts:
        one = socket.socket()
        one.setblocking(False)
        # Closing sends a reset: no connection of a test lingers in any table.
        one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
        one.connect_ex((attempt.address, attempt.port))  # its failure is read with SO_ERROR, as one that comes later
        sockets.append(one)
    return sockets

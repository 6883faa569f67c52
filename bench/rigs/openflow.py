"""A bare OpenFlow client of a lab's switches: one atomic bundle and a barrier to each, and how long until all answer.

It is what a change costs without a controller: the yardstick of the controller's own times. What it sends adds a row to
a table that no packet reaches and deletes it in the same bundle, so that nothing is left.
"""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from testbed.model.errors import LabError

VERSION = 4  # OpenFlow 1.3
HELLO, ERROR, ECHO_REQUEST, ECHO_REPLY, EXPERIMENTER, FLOW_MOD, BARRIER_REQUEST, BARRIER_REPLY = (
    0,
    1,
    2,
    3,
    4,
    14,
    20,
    21,
)
ONF, BUNDLE_CONTROL, BUNDLE_ADD, COMMIT_REQUEST, ATOMIC_ORDERED = 0x4F4E4600, 2300, 2301, 4, 3
ADD, DELETE_STRICT, ANY, NO_BUFFER = 0, 4, 0xFFFF_FFFF, 0xFFFF_FFFF
UNUSED_TABLE = 200
TIMEOUT_S = 5.0
HEADER_BYTES = 8


class Switch:
    """One switch's connection."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(TIMEOUT_S)
        self._socket.connect(str(path))
        self._bundle = 0
        self._socket.sendall(_message(HELLO, 0))

    def close(self) -> None:
        self._socket.close()

    def send_bundle(self) -> None:
        """A bundle of two messages, its commit, and a barrier."""
        self._bundle += 1
        xid = 4 * self._bundle
        into = struct.pack("!III2xH", ONF, BUNDLE_ADD, self._bundle, ATOMIC_ORDERED)
        parts = [
            _message(EXPERIMENTER, xid + k, into + _message(FLOW_MOD, xid + k, _flow_mod(command)))
            for k, command in enumerate((ADD, DELETE_STRICT))
        ]
        commit = struct.pack("!IIIHH", ONF, BUNDLE_CONTROL, self._bundle, COMMIT_REQUEST, ATOMIC_ORDERED)
        parts += [_message(EXPERIMENTER, xid + 2, commit), _message(BARRIER_REQUEST, xid + 3)]
        self._socket.sendall(b"".join(parts))

    def await_barrier(self) -> None:
        """LabError where the switch refuses, or does not answer."""
        while True:
            kind, body = self._next()
            if kind == BARRIER_REPLY:
                return
            if kind == ECHO_REQUEST:
                self._socket.sendall(_message(ECHO_REPLY, 0, body))
            if kind == ERROR:
                raise LabError(f"{self._path} refused the bare client's bundle: {body[:8].hex()}")

    def _next(self) -> tuple[int, bytes]:
        _, kind, length, _ = struct.unpack("!BBHI", self._take(HEADER_BYTES))
        return kind, self._take(length - HEADER_BYTES)

    def _take(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            try:
                piece = self._socket.recv(count - len(data))
            except TimeoutError as error:
                raise LabError(f"{self._path} does not answer; see the switch's log") from error
            if not piece:
                raise LabError(f"{self._path} closed the connection; see the switch's log")
            data += piece
        return data


def _message(kind: int, xid: int, body: bytes = b"") -> bytes:
    return struct.pack("!BBHI", VERSION, kind, HEADER_BYTES + len(body), xid) + body


def _flow_mod(command: int) -> bytes:
    """A row that matches everything and drops it, in a table that no row leads to."""
    fixed = (0, 0, UNUSED_TABLE, command, 0, 0, 1, NO_BUFFER, ANY, ANY, 0)
    return struct.pack("!QQBBHHHIIIH2x", *fixed) + struct.pack("!HH4x", 1, 4)


@contextmanager
def switches(paths: Sequence[Path]) -> Iterator[list[Switch]]:
    """Connections to the switches with these management sockets."""
    with ExitStack() as stack:
        made = []
        for path in paths:
            made.append(Switch(path))
            stack.callback(made[-1].close)
        yield made


def bundle_ms(connected: Sequence[Switch]) -> float:
    """From the first bundle's sending to the last barrier."""
    started = time.perf_counter()
    for switch in connected:
        switch.send_bundle()
    for switch in connected:
        switch.await_barrier()
    return 1000 * (time.perf_counter() - started)

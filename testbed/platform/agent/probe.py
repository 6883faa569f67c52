"""Questions to an instance, asked inside its sandbox's network namespace: is it ready, who is connected.

A function is asked by HTTP; a store speaks first, and its greeting tells that it is ready. The probe is a bare
socket rather than an HTTP library: it is made several times a second for each instance, on the machine whose
latencies are being measured.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from pathlib import Path

from testbed.model.addressing import FUNCTION_PORT
from testbed.network.hosts.netlink import tcp_connections
from testbed.network.process.namespaces import within

_REQUEST = b"GET /_/ready HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
_LONGEST_HEAD_BYTES = 4096
"""Where a readiness answer has no line by then, it is none."""
_UNFINISHED = {1, 3, 4, 8, 9, 12}
"""ESTABLISHED, SYN_RECV, those with an answer on its way (FIN_WAIT1, CLOSE_WAIT, LAST_ACK), NEW_SYN_RECV."""


def is_ready(netns: int, timeout_s: float) -> bool:
    """Whether GET /_/ready is answered with 200 within the time."""
    deadline = time.monotonic() + timeout_s
    with within(netns):
        connection = socket.socket(socket.AF_INET, socket.SOCK_STREAM)  # it stays in this namespace
    with connection:
        try:
            connection.settimeout(timeout_s)
            connection.connect(("127.0.0.1", FUNCTION_PORT))
            connection.sendall(_REQUEST)
            return _status(connection, deadline) == b"200"
        except OSError:
            return False


def greets(netns: int, port: int, greeting: Callable[[bytes], bool], timeout_s: float) -> bool:
    """Whether the server on `port` begins with such a greeting within the time."""
    with within(netns):
        connection = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    with connection:
        try:
            connection.settimeout(timeout_s)
            connection.connect(("127.0.0.1", port))
            return greeting(connection.recv(64))
        except OSError:
            return False


def unfinished_connections(netns: int, port: int = FUNCTION_PORT) -> int:
    """How many TCP connections to `port` there are in the namespace whose request or answer may still be on its way."""
    with within(netns):
        try:
            return tcp_connections(port, _UNFINISHED)
        except OSError:  # a kernel without inet_diag
            return in_tables(port)


def in_tables(port: int) -> int:
    """The same of the calling thread's namespace, as /proc/net/tcp and tcp6 show it."""
    tables = [Path(f"/proc/thread-self/net/{name}").read_text() for name in ("tcp", "tcp6") if _exists(name)]
    rows = [line.split() for table in tables for line in table.splitlines()[1:]]
    return sum(int(row[3], 16) in _UNFINISHED and int(row[1].rpartition(":")[2], 16) == port for row in rows)


def _exists(name: str) -> bool:
    return Path(f"/proc/thread-self/net/{name}").exists()


def _status(connection: socket.socket, deadline: float) -> bytes:
    """The status code of an HTTP answer, b"" when there is none before the deadline."""
    answer = b""
    while b"\r\n" not in answer:
        remaining_s = deadline - time.monotonic()
        if remaining_s <= 0:
            return b""
        connection.settimeout(remaining_s)
        part = connection.recv(4096)
        if not part or len(answer) > _LONGEST_HEAD_BYTES:
            return b""
        answer += part
    words = answer.split(None, 2)
    return words[1] if len(words) > 1 else b""

"""How the lab's daemon and its clients speak: one JSON line each way over a UNIX socket.

A request names an operation and its arguments; an answer carries a result or an error. File
descriptors (network namespaces) travel beside the answer.
"""

from __future__ import annotations

import json
import socket
from typing import Any

MAX_LINE_BYTES = 4 << 20


def send(connection: socket.socket, message: dict[str, Any], fds: tuple[int, ...] = ()) -> None:
    data = json.dumps(message).encode() + b"\n"
    if fds:
        sent = socket.send_fds(connection, [data], list(fds))
        data = data[sent:]
    if data:
        connection.sendall(data)


def receive(connection: socket.socket) -> tuple[dict[str, Any], list[int]]:
    """The next message and the descriptors that came with it. ConnectionError when the peer is gone."""
    data, fds = b"", []
    while not data.endswith(b"\n"):
        chunk, more_fds, _, _ = socket.recv_fds(connection, 65536, 4)
        fds += more_fds
        if not chunk or len(data) > MAX_LINE_BYTES:
            raise ConnectionError("the connection ended before a whole message came")
        data += chunk
    return json.loads(data), fds

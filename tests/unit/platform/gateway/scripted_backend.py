"""A function's stand-in that sends what a script says, byte for byte."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable

from tests.unit.platform.gateway.loopback import read_head


def echo(connection: socket.socket) -> None:
    """A backend's script: answers every request with a JSON description of it. /close ends the connection after."""
    while True:
        head = read_head(connection)
        if not head:
            return
        head, _, body = head.partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        headers = [line.split(": ", 1) for line in lines]
        names = {name.lower(): value for name, value in headers}
        length, chunked = int(names.get("content-length", 0)), names.get("transfer-encoding") == "chunked"
        while len(body) < length or (chunked and not body.endswith(b"0\r\n\r\n")):
            piece = connection.recv(65536)
            if not piece:
                return
            body += piece
        method, target, _ = first.split(" ")
        answer = {"method": method, "target": target, "headers": headers, "body": body.decode("latin-1")}
        text = json.dumps(answer).encode()
        reply = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(text)
        connection.sendall(reply if method == "HEAD" else reply + text)  # in one piece: no delayed acknowledgement
        if target == "/close" or names.get("connection") == "close":
            return


def canned(*answers: bytes) -> Callable[[socket.socket], None]:
    """A backend's script: sends these bytes for the first, second, … request of a connection, then closes it."""

    def script(connection: socket.socket) -> None:
        for answer in answers:
            if not read_head(connection):
                return
            connection.sendall(answer)

    return script


class Backend:
    """A scripted upstream: `script(connection, request bytes)` decides what each connection is sent."""

    def __init__(self, address: str, port: int, script: Callable[[socket.socket], None]) -> None:
        self.accepted = 0
        self._script = script
        self._listener = socket.create_server((address, port), backlog=64)
        self._open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.accepted += 1
            self._open.append(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            self._script(connection)
        except OSError:
            pass
        finally:
            connection.close()

    def stop(self) -> None:
        self._listener.close()
        for connection in self._open:
            connection.close()

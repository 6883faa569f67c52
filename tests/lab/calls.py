"""Calls made from the lab's hosts, what a host sees of them, and what the switches and the controller count of them."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import requests

from testbed.model import addressing
from testbed.model.errors import PlatformError
from testbed.network.lab import Lab
from testbed.platform.client import lab_http
from testbed.platform.client.platform import Platform
from tests.lab.traffic import in_host
from tests.waiting import last

NODES = 3
REPORTED_S = 1.2
"""Within this time OVS has brought its counters up to date."""


def of_apiserver(platform: Platform, path: str) -> requests.Response:
    """What the apiserver answers the operator."""
    return lab_http.get(f"{addressing.APISERVER_URL}{path}", 10, lab_http.operator(platform.state_folder))


def of_controller(platform: Platform, path: str) -> requests.Response:
    """What the controller answers the operator."""
    return lab_http.get(f"{addressing.CONTROLLER_URL}{path}", 20, lab_http.operator(platform.state_folder))


def switches_agree(platform: Platform) -> bool:
    """Whether the controller answers and every node's switch holds what it should.

    A controller that has just begun knows of no switch at all.
    """
    try:
        return len(platform.switches()) == NODES and platform.rows_agree()
    except PlatformError:
        return False


def request(address: str, target: str = "/?length=1") -> str:
    """The status of one request on a connection of its own, or what went wrong."""
    text = f"GET {target} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n"
    try:
        with socket.create_connection((address, addressing.FUNCTION_PORT), timeout=30) as connection:
            connection.sendall(text.encode())
            answer = b""
            while chunk := connection.recv(65536):
                answer += chunk
    except OSError as error:
        return type(error).__name__
    return answer.split(maxsplit=2)[1].decode() if answer else "nothing"


def still_answers(connection: socket.socket) -> bool:
    """Whether an established HTTP connection still answers."""
    try:
        connection.sendall(b"GET /_/health HTTP/1.1\r\nHost: f\r\n\r\n")
        return connection.recv(65536).startswith(b"HTTP/1.1 200")
    except OSError:
        return False


def attempts(lab: Lab, name: str, address: str, count: int) -> int:
    """How many of so many connections, begun together, are answered before a SYN would be repeated."""

    def connect() -> int:
        opened = [socket.socket() for _ in range(count)]
        for one in opened:
            one.setblocking(False)
            one.connect_ex((address, addressing.FUNCTION_PORT))
        time.sleep(0.7)
        answered = sum(_is_connected(one) for one in opened)
        for one in opened:
            one.close()
        return answered

    return in_host(lab, name, connect)


def _is_connected(connection: socket.socket) -> bool:
    try:
        connection.getpeername()
    except OSError:
        return False
    return True


def upload_s(address: str, size: int) -> float:
    """How long an upload to a function takes until it is answered, in s."""
    head = f"POST /?length=1 HTTP/1.1\r\nHost: f\r\nContent-Length: {size}\r\nConnection: close\r\n\r\n"
    started = time.monotonic()
    with socket.create_connection((address, addressing.FUNCTION_PORT), timeout=60) as connection:
        connection.sendall(head.encode() + bytes(size))
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
    assert answer.startswith(b"HTTP/1.1 200"), answer[:100]
    return time.monotonic() - started


@contextmanager
def sniffed(lab: Lab, name: str, address: str) -> Iterator[list[tuple[str, str, int]]]:
    """(source, destination, TCP flags) of what comes to a host from or to an address that is not its own."""
    seen: list[tuple[str, str, int]] = []
    ended = threading.Event()

    def listener() -> socket.socket:
        raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0800))
        raw.bind(("eth0", 0))
        raw.settimeout(0.1)
        return raw

    def listen(raw: socket.socket) -> None:
        while not ended.is_set():
            try:
                frame = raw.recv(65536)
            except TimeoutError:
                continue
            source, target = socket.inet_ntoa(frame[26:30]), socket.inet_ntoa(frame[30:34])
            if address in (source, target):
                seen.append((source, target, frame[47]))

    with in_host(lab, name, listener) as raw:
        thread = threading.Thread(target=listen, args=(raw,))
        thread.start()
        try:
            yield seen
        finally:
            ended.set()
            thread.join()


class Books:
    """What the switches and the controller count, since this was made."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self._before = self._read()

    def _read(self) -> dict[tuple[str, ...], int]:
        counters: dict[tuple[str, ...], int] = {}
        found = self._platform.counters()
        rows = [(("call", row["caller"], row["callee"]), row["packets"]) for row in found["calls"]]
        rows += [
            (("hold", row["function"], what), row[what]) for row in found["holds"] for what in row.keys() - {"function"}
        ]
        for key, number in rows:
            counters[key] = counters.get(key, 0) + number
        return counters

    def now(self, *key: str) -> int:
        return self._read().get(key, 0) - self._before.get(key, 0)

    def of(self, function: str) -> dict[str, int]:
        """All that is known of a function's holds."""
        after = self._read()
        keys = [key for key in after if key[:2] == ("hold", function)]
        return {key[2]: after[key] - self._before.get(key, 0) for key in keys}

    def calls(self, caller: str, callee: str, wanted: int) -> int:
        """The call's counter once it had time to reach `wanted` and to exceed it."""
        last(lambda: self.now("call", caller, callee), lambda count: count >= wanted)
        time.sleep(REPORTED_S)
        return self.now("call", caller, callee)

"""Asking Hello, Retail! in a lab, and reading what passed: bodies on the wire, connections, statements, invocations."""

from __future__ import annotations

import json
import re
import socket
import struct
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import requests

from experiments.application_requests import Request
from testbed.model import addressing
from testbed.network.hosts import frames
from testbed.network.lab import Lab
from testbed.platform.datastores import access

ETHERNET = 14
TCP = 6


@dataclass(frozen=True)
class Reply:
    status: int
    body: bytes

    @property
    def value(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Exchange:
    """Sizes in bytes of the bodies of one HTTP exchange, as they were on the wire but for random digits."""

    peer: str
    request: int
    answer: int


def ask(request: Request, namespace: str, previous: Any = None, **changes: Any) -> Reply:
    """Ask by the gateway, over a connection of its own. The calling thread must be where the gateway can be reached."""
    value = {**json.loads(request.content(previous=previous)), **changes}
    url = f"http://{addressing.vip(addressing.GATEWAY_ID)}:8080/function/{request.function}.{namespace}{request.path}"
    with requests.Session() as session:
        session.trust_env = False
        answer = session.post(
            url,
            data=json.dumps(value, separators=(",", ":")),
            headers={"Content-Type": "application/json", "Connection": "close"},
            timeout=30,
        )
    return Reply(answer.status_code, answer.content)


@contextmanager
def wire_of(lab: Lab, host: str) -> Iterator[list[bytes]]:
    """Every frame at a host's interface, in both directions, while the block runs."""
    raw = frames.in_host(lab.client, host, lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.ntohs(3)))
    raw.settimeout(0.2)
    kept: list[bytes] = []
    done = threading.Event()

    def record() -> None:
        while True:
            try:
                kept.append(raw.recv(1 << 17))
            except TimeoutError:
                if done.is_set():
                    return

    thread = threading.Thread(target=record)
    thread.start()
    try:
        yield kept
    finally:
        done.set()
        thread.join()
        raw.close()


def exchanges(kept: list[bytes], own_ip: str) -> list[Exchange]:
    """The HTTP exchanges that the host of `own_ip` began, the smallest request first: as each chain makes them."""
    streams: dict[tuple[bytes, bytes, bytes], dict[int, bytes]] = {}
    for frame in kept:
        ip = frame[ETHERNET:]
        if frame[12:14] != b"\x08\x00" or ip[9] != TCP:
            continue
        header = (ip[0] & 15) * 4
        total = struct.unpack("!H", ip[2:4])[0]
        segment = ip[header:total]
        sequence = struct.unpack("!I", segment[4:8])[0]
        payload = segment[(segment[12] >> 4) * 4 :]
        if payload:
            streams.setdefault((ip[12:16], ip[16:20], segment[:4]), {})[sequence] = payload
    own = socket.inet_aton(own_ip)
    found = []
    for (source, peer, ports), pieces in streams.items():
        back = streams.get((peer, source, ports[2:] + ports[:2]))
        if source == own and ports[2:] == struct.pack("!H", addressing.FUNCTION_PORT) and back:
            found.append(Exchange(socket.inet_ntoa(peer), body_bytes(pieces), body_bytes(back)))
    return sorted(found, key=lambda exchange: exchange.request)


def body_bytes(pieces: dict[int, bytes]) -> int:
    """The size of the one HTTP message's body in a stream; its Content-Length must say the same."""
    stream = b"".join(pieces[sequence] for sequence in sorted(pieces))
    head, _, body = stream.partition(b"\r\n\r\n")
    lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    assert int(lengths[0].partition(b":")[2]) == len(body), head
    body = re.sub(rb'"authorization":\d+', b'"authorization":' + b"9" * 16, body)
    return len(re.sub(rb'Elapse":\d+', b'Elapse":0', body))


@contextmanager
def statements_of(lab: Lab, namespace: str) -> Iterator[Callable[[], Counter[str]]]:
    """How many Connect, Query and Quit a namespace's functions have sent to their database since the block began."""

    def run(statement: str) -> list[tuple[Any, ...]]:
        return access.execute(lab.state_folder, namespace, statement)

    def said() -> Counter[str]:
        rows = run("SELECT command_type FROM mysql.general_log WHERE user_host LIKE 'app[%' OR user_host LIKE '[app]%'")
        return Counter(command for (command,) in rows)

    run("SET GLOBAL log_output = 'TABLE'")
    run("TRUNCATE mysql.general_log")
    run("SET GLOBAL general_log = ON")
    try:
        yield said
    finally:
        run("SET GLOBAL general_log = OFF")


def records(lab: Lab, namespace: str) -> dict[str, list[dict[str, Any]]]:
    """What the function servers of a namespace wrote of their invocations, by function."""
    found: dict[str, list[dict[str, Any]]] = {}
    for file in sorted((lab.state_folder / "functions").glob(f"*.{namespace}.*.log")):
        for line in file.read_text().splitlines():
            _, mark, rest = line.partition('{"invocation":')
            if mark:
                record = json.loads(mark + rest)["invocation"]
                found.setdefault(record["function"], []).append(record)
    return found

"""Bodies pass piece by piece, bounded in memory, in both directions; clients may leave at any time."""

from __future__ import annotations

import hashlib
import re
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.unit.platform.gateway.gateway_rig import Rig, rig
from tests.unit.platform.gateway.loopback import read_head, wait_until

MIB = 1 << 20


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    with rig(tmp_path_factory.mktemp("gateway")) as one:
        one.backend("hash", digest)
        yield one


def digest(connection: socket.socket) -> None:
    """Answers with length and SHA-256 of a Content-Length body."""
    while head := read_head(connection):
        head, _, body = head.partition(b"\r\n\r\n")
        length = int(re.search(rb"Content-Length: (\d+)", head).group(1))  # type: ignore[union-attr]
        received, hashed = len(body), hashlib.sha256(body)
        while received < length:
            piece = connection.recv(1 << 16)
            received += len(piece)
            hashed.update(piece)
        text = f"{received} {hashed.hexdigest()}".encode()
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(text), text))


def resident_kib(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+)", status).group(1))  # type: ignore[union-attr]


@pytest.mark.parametrize("size", [1, 1000, 65_536, 300_000, 5 * MIB])
def test_a_body_arrives_whole(lab: Rig, size: int) -> None:
    body = bytes(number * 7 % 251 for number in range(min(size, 4096))) * (size // min(size, 4096) + 1)
    body = body[:size]
    status, _, answer = lab.gateway.request("POST", "/function/hash", body)
    assert (status, answer.decode()) == (200, f"{size} {hashlib.sha256(body).hexdigest()}")


def test_large_answers_arrive_whole_with_either_framing(lab: Rig) -> None:
    data = bytes(range(256)) * 8192  # 2 MiB

    def large(connection: socket.socket) -> None:
        while head := read_head(connection):
            if b"/chunked" in head:
                connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
                for start in range(0, len(data), 100_000):
                    piece = data[start : start + 100_000]
                    connection.sendall(b"%x\r\n%b\r\n" % (len(piece), piece))
                connection.sendall(b"0\r\n\r\n")
            else:
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(data), data))

    lab.backend("large", large)
    for path in ("/length", "/chunked", "/length"):
        assert lab.gateway.request("GET", "/function/large" + path)[2] == data
    assert lab.opened("large") == 1


def test_both_directions_flow_at_once(lab: Rig) -> None:
    """The function answers each chunk as it comes: neither side waits for the other's end."""

    def mirror(connection: socket.socket) -> None:
        rest = read_head(connection).partition(b"\r\n\r\n")[2]
        connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + rest)
        while b"0\r\n\r\n" not in rest:
            rest = connection.recv(65536)
            connection.sendall(rest)

    lab.backend("mirror", mirror)
    with lab.gateway.connect() as connection:
        connection.sendall(b"POST /function/mirror HTTP/1.1\r\nHost: g\r\nTransfer-Encoding: chunked\r\n\r\n")
        assert read_head(connection).startswith(b"HTTP/1.1 200")
        for number in range(20):
            piece = b"2\r\n%02d\r\n" % number
            connection.sendall(piece)
            assert connection.recv(65536) == piece
        connection.sendall(b"0\r\n\r\n")
        assert connection.recv(65536) == b"0\r\n\r\n"


def test_a_function_that_does_not_read_stops_the_client_instead_of_filling_memory(lab: Rig) -> None:
    go_on = threading.Event()
    total = 200 * MIB

    def stalled(connection: socket.socket) -> None:
        body = read_head(connection).partition(b"\r\n\r\n")[2]
        go_on.wait(30)
        received = len(body)
        while received < total:
            received += len(connection.recv(1 << 20))
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nread")

    lab.backend("stalled", stalled)
    before_kib = resident_kib(lab.gateway.process.pid)
    sent = 0
    with lab.gateway.connect() as connection:
        connection.sendall(b"POST /function/stalled HTTP/1.1\r\nHost: g\r\nContent-Length: %d\r\n\r\n" % total)
        connection.settimeout(0.5)
        piece = b"x" * MIB
        with pytest.raises(TimeoutError):
            while sent < total:
                sent += connection.send(piece)
        assert sent < 100 * MIB
        go_on.set()
        connection.settimeout(30)
        while sent < total:
            sent += connection.send(piece[: total - sent])
        assert read_head(connection).endswith(b"read")
    assert resident_kib(lab.gateway.process.pid) - before_kib < 32 * 1024


def test_a_client_that_does_not_read_stops_the_function(lab: Rig) -> None:
    sent = [0]
    total = 200 * MIB

    def torrent(connection: socket.socket) -> None:
        read_head(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % total)
        piece = b"x" * MIB
        while sent[0] < total:
            sent[0] += connection.send(piece[: total - sent[0]])

    lab.backend("torrent", torrent)
    before_kib = resident_kib(lab.gateway.process.pid)
    with lab.gateway.connect() as connection:
        connection.sendall(b"GET /function/torrent HTTP/1.1\r\nHost: g\r\nConnection: close\r\n\r\n")
        wait_until(lambda: sent[0] > 0)
        last = -1
        while sent[0] != last:
            last = sent[0]
            time.sleep(0.3)
        assert last < 100 * MIB
        received = 0
        while piece := connection.recv(1 << 20):
            received += len(piece)
    assert total < received < total + 1000
    assert resident_kib(lab.gateway.process.pid) - before_kib < 32 * 1024


def test_an_early_answer_to_a_large_request_reaches_the_client(lab: Rig) -> None:
    def early(connection: socket.socket) -> None:
        read_head(connection)
        connection.sendall(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nbig")
        while connection.recv(1 << 20):
            pass

    lab.backend("early", early)
    for name, status in (("early", 413), ("ghost", 404)):
        with lab.gateway.connect() as connection:
            connection.sendall(
                b"POST /function/%b HTTP/1.1\r\nHost: g\r\nContent-Length: 400000\r\n\r\n" % name.encode()
            )
            connection.sendall(b"x" * 100_000)
            time.sleep(0.2)
            connection.sendall(b"x" * 100_000)
            head = read_head(connection)
        assert head.startswith(b"HTTP/1.1 %d " % status)
        assert b"Connection: close" in head


def test_a_client_that_leaves_ends_the_call_of_the_function(lab: Rig) -> None:
    ended = threading.Event()

    def waiting(connection: socket.socket) -> None:
        read_head(connection)
        try:
            connection.recv(1)
        finally:
            ended.set()

    lab.backend("waiting", waiting)
    connection = lab.gateway.connect()
    connection.sendall(b"GET /function/waiting HTTP/1.1\r\nHost: g\r\n\r\n")
    time.sleep(0.1)
    assert not ended.is_set()
    connection.close()
    assert ended.wait(30)
    wait_until(lambda: lab.counted("waiting", 499) == 1)


def test_a_client_that_leaves_amid_its_body_ends_the_call_too(lab: Rig) -> None:
    ended = threading.Event()

    def reading(connection: socket.socket) -> None:
        try:
            while connection.recv(65536):
                pass
        finally:
            ended.set()

    lab.backend("reading", reading)
    connection = lab.gateway.connect()
    connection.sendall(b"POST /function/reading HTTP/1.1\r\nHost: g\r\nContent-Length: 100\r\n\r\nhalf")
    time.sleep(0.1)
    connection.close()
    assert ended.wait(30)


def test_hundreds_of_concurrent_clients_each_get_their_own_answer(lab: Rig) -> None:
    def one(number: int) -> bool:
        body = b"%d " % number * 500
        expected = f"{len(body)} {hashlib.sha256(body).hexdigest()}"
        return all(lab.gateway.request("POST", "/function/hash", body)[2].decode() == expected for _ in range(3))

    with ThreadPoolExecutor(64) as pool:
        assert all(pool.map(one, range(300)))

"""What clients may do to a gateway without harm: thousands of idle connections, drips, garbage, not reading.

TESTBED_IDLE_CONNECTIONS and TESTBED_FUZZ_REQUESTS change how many there are.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import resource
import socket
import struct
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
import uvloop

from tests.unit.platform.gateway.gateway_rig import Rig, rig
from tests.unit.platform.gateway.http_fuzz import mutants
from tests.unit.platform.gateway.loopback import read_head, wait_until

MIB = 1 << 20
FUZZ_REQUESTS = int(os.environ.get("TESTBED_FUZZ_REQUESTS", "10000"))
FUZZ_SEED = 20261123
SPARE_FILES = 500
MAY_STAY_MIB = 50
AT_ONCE = 1000
"""Connections that are opened before the gateway must have taken all so far: its backlog holds some thousand."""
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
STATUSES = {b"100", b"200", b"202", b"307", b"400", b"401", b"404", b"405", b"413", b"431", b"500", b"501", b"502"}
READ_TIMEOUT_S = 2.0
PATIENCE_S = 0.2
"""A mutant that is not answered by then has most likely not ended for the gateway."""


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    with rig(tmp_path_factory.mktemp("gateway"), {"gateway_upstream": "per-call", "upstream_timeout": "5s"}) as one:
        one.backend("f", careless)
        yield one


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    with rig(tmp_path_factory.mktemp("gateway"), {"read_timeout": f"{READ_TIMEOUT_S:g}s"}) as one:
        one.backend("f")
        yield one


def careless(connection: socket.socket) -> None:
    """Answers without looking, and closes."""
    read_head(connection)
    connection.sendall(ANSWER.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))


def resident_mib(lab: Rig) -> float:
    status = Path(f"/proc/{lab.gateway.process.pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", status).group(1)) / 1024  # type: ignore[union-attr]


def open_files(lab: Rig) -> int:
    return len(list(Path(f"/proc/{lab.gateway.process.pid}/fd").iterdir()))


def healthy(lab: Rig) -> bool:
    return lab.gateway.request("GET", "/function/f")[0] == 200


def wanted_idle() -> int:
    """As many connections as asked for, or as this process may open."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return min(int(os.environ.get("TESTBED_IDLE_CONNECTIONS", "10000")), hard - SPARE_FILES)


def test_idle_connections_harm_nobody_and_leave_nothing(lab: Rig) -> None:
    assert healthy(lab)
    files, memory_mib = open_files(lab), resident_mib(lab)
    wanted = wanted_idle()
    idle: list[socket.socket] = []
    try:
        for number in range(wanted):
            idle.append(lab.gateway.connect())
            if number % 2:
                idle[-1].sendall(b"GET /function/f HTTP/1.1\r\nHost: g\r\nX-Half: ")
            if len(idle) % AT_ONCE == 0:  # a full backlog drops connections, which then come up to a minute later
                wait_until(lambda: open_files(lab) >= len(idle), 60)
        wait_until(lambda: open_files(lab) >= wanted, 60)
        assert healthy(lab)
        for connection in idle[: wanted // 2]:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # ends in a reset
    finally:
        for connection in idle:
            connection.close()
    wait_until(lambda: open_files(lab) <= files + 10, 60)
    wait_until(lambda: resident_mib(lab) - memory_mib < MAY_STAY_MIB)
    assert healthy(lab)


def drip(lab: Rig, head: bytes, drop: bytes, count: int) -> float:
    """Seconds until the gateway has closed all of `count` connections that send `head`, then `drop` again and again."""
    connections = [lab.gateway.connect() for _ in range(count)]
    started_s = time.monotonic()
    for connection in connections:
        connection.sendall(head)
        connection.settimeout(0)
    alive = list(connections)
    while alive and time.monotonic() < started_s + 30:
        time.sleep(0.2)
        assert healthy(lab)
        alive = [connection for connection in alive if _stands(connection, drop)]
    for connection in connections:
        connection.close()
    assert not alive
    return time.monotonic() - started_s


def _stands(connection: socket.socket, drop: bytes) -> bool:
    """Whether the connection is still open after sending a little more."""
    try:
        connection.send(drop)
        return connection.recv(65536) != b""
    except BlockingIOError:
        return True
    except OSError:
        return False


@pytest.mark.parametrize(
    ("head", "drop"),
    [
        (b"GET /function/f HTTP/1.1\r\nHost: g\r\n", b"X-Slow: a\r\n"),
        (b"POST /function/f HTTP/1.1\r\nHost: g\r\nContent-Length: 100000\r\n\r\n", b"a"),
        (b"POST /function/f HTTP/1.1\r\nHost: g\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\na\r\n"),
        (b"GET /", b"a"),
        (b"", b"\r\n"),
        (b"", b""),
    ],
    ids=["headers", "body", "chunks", "request line", "blank lines", "nothing"],
)
def test_clients_that_drip_are_let_go_after_read_timeout(strict: Rig, head: bytes, drop: bytes) -> None:
    assert drip(strict, head, drop, 100) >= READ_TIMEOUT_S


def test_a_kept_connection_has_the_whole_read_timeout_for_its_next_body(strict: Rig) -> None:
    head = b"POST /function/f HTTP/1.1\r\nHost: g\r\nContent-Length: 2\r\n\r\n"
    with strict.gateway.connect() as connection:
        connection.sendall(head + b"ab")
        assert connection.recv(65536).startswith(b"HTTP/1.1 200")
        time.sleep(0.7 * READ_TIMEOUT_S)
        connection.sendall(head)
        time.sleep(0.7 * READ_TIMEOUT_S)
        connection.sendall(b"ab")
        assert connection.recv(65536).startswith(b"HTTP/1.1 200")


async def exchange(lab: Rig, data: bytes) -> bytes:
    """What the gateway says to these bytes; it may wait for more of them than there are."""
    reader, writer = await asyncio.open_connection("127.0.0.1", lab.gateway.port)
    answer = b""
    try:
        writer.write(data)
        async with asyncio.timeout(PATIENCE_S):
            while piece := await reader.read(1 << 16):
                answer += piece
    except (TimeoutError, OSError):
        pass
    finally:
        writer.close()
    return answer


async def all_exchanges(lab: Rig, requests: Iterable[bytes], at_once: int) -> list[bytes]:
    """The answers to all requests, `at_once` at a time."""
    answers: list[bytes] = []
    rest = iter(requests)

    async def client() -> None:
        for data in rest:
            answers.append(await exchange(lab, data))

    async def careless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answers without looking, and closes."""
        await reader.read(1 << 16)
        writer.write(ANSWER)
        writer.close()

    server = await asyncio.start_server(careless, lab.address(), lab.function_port)
    lab.apiserver.function("f", server.sockets[0].getsockname()[0])
    lab.gateway.wait_for(lab.apiserver)
    await asyncio.gather(*(client() for _ in range(at_once)))
    server.close()
    return answers


def test_thousands_of_mutants_do_not_crash_it(strict: Rig) -> None:
    files, memory_mib = open_files(strict), resident_mib(strict)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        answers = runner.run(all_exchanges(strict, mutants(FUZZ_REQUESTS, FUZZ_SEED), 100))
    assert len(answers) == FUZZ_REQUESTS
    firsts = Counter(answer.split(b" ", 2)[1] for answer in answers if answer.startswith(b"HTTP/1.1 "))
    assert [answer for answer in answers if answer and not answer.startswith(b"HTTP/1.1 ")] == []
    assert set(firsts) <= STATUSES
    assert firsts[b"400"] > FUZZ_REQUESTS / 10 and firsts[b"200"] > FUZZ_REQUESTS / 100  # mutants of both sorts
    assert strict.gateway.process.poll() is None
    assert "Traceback" not in strict.gateway.log.read_text()
    wait_until(lambda: open_files(strict) <= files + 10)
    wait_until(lambda: resident_mib(strict) - memory_mib < MAY_STAY_MIB)
    assert strict.gateway.request("GET", "/function/ghost")[0] == 404


def test_the_corpus_is_the_same_for_the_same_seed() -> None:
    digests = {hashlib.sha256(b"\0".join(mutants(500, FUZZ_SEED))).hexdigest() for _ in range(2)}
    assert len(digests) == 1
    assert len(set(mutants(500, FUZZ_SEED))) > 490


def test_a_flood_of_pipelined_requests_is_cut_off_and_not_kept(lab: Rig) -> None:
    one = b"GET /function/f HTTP/1.1\r\nHost: g\r\n\r\n"
    memory_mib = resident_mib(lab)
    answers = lab.raw(one * 5_000)
    assert 100 < answers.count(b"HTTP/1.1 200") < 5_000
    assert b"Connection: close" in answers[-300:]
    assert resident_mib(lab) - memory_mib < MAY_STAY_MIB
    assert healthy(lab)


def test_clients_that_do_not_read_neither_block_nor_bloat(lab: Rig) -> None:
    total = 64 * MIB

    def torrent(connection: socket.socket) -> None:
        read_head(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % total)
        piece = b"x" * MIB
        for _ in range(total // MIB):
            connection.sendall(piece)

    lab.backend("torrent", torrent)
    memory_mib = resident_mib(lab)
    readers = [lab.gateway.connect() for _ in range(20)]
    for connection in readers:
        connection.sendall(b"GET /function/torrent HTTP/1.1\r\nHost: g\r\n\r\n")
    time.sleep(1.0)
    for _ in range(20):
        assert healthy(lab)
    assert resident_mib(lab) - memory_mib < MAY_STAY_MIB
    for connection in readers:
        connection.close()
    wait_until(lambda: lab.counted("torrent", 499) == len(readers))

"""How the gateway's rounds are judged, and the load generator, against a server of the test's own."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from bench.rigs.client import Client, OpenLoop, Target, Timed
from bench.rigs.servers import Echo
from bench.subjects.gateway import Cell, Round, judge, stall_pct

CELL = Cell("hot", 200, True, "pooled", 2, 3)


def a_round(direct_ms: float, haproxy_ms: float, gateway_ms: float) -> Round:
    latencies = {"direct": direct_ms, "haproxy": haproxy_ms, "gateway": gateway_ms}
    timed = {name: Timed([ms - 0.01, ms, ms + 0.5]) for name, ms in latencies.items()}
    return Round(timed, {"haproxy": 0.3, "gateway": 0.6})


def test_what_a_round_shares_falls_out_of_the_ratio() -> None:
    judged = judge(CELL, [a_round(1.0, 1.2, 1.3), a_round(5.0, 5.2, 5.3), a_round(9.0, 9.2, 9.3)], seed=1)
    assert judged.added_us["haproxy"] == pytest.approx(200)
    assert judged.added_us["gateway"] == pytest.approx(300)
    assert judged.p50_ratio["gateway"].value == pytest.approx(1.5)
    assert judged.cpu_ratio["gateway"].value == pytest.approx(2.0)
    assert judged.cpu_ms_per_1000["gateway"] == pytest.approx(200)


def test_stalls_are_those_about_40_ms() -> None:
    assert stall_pct([37.9, 38.0, 40.0, 46.0, 46.1, 1.0, 1.0, 1.0, 1.0, 100.0]) == pytest.approx(30)


def test_only_stalls_that_the_direct_call_does_not_have_count() -> None:
    rounds = [a_round(40.0, 40.0, 40.0), a_round(40.0, 40.0, 40.0)]
    assert judge(CELL, rounds, seed=1).stalls_beyond_direct_pct("gateway") == 0
    rounds = [a_round(1.0, 1.2, 40.0), a_round(1.0, 1.2, 40.0)]
    assert judge(CELL, rounds, seed=1).stalls_beyond_direct_pct("gateway") == 100


@pytest.fixture
def echo() -> Iterator[Target]:
    """A running echo function."""
    loop = asyncio.new_event_loop()
    server = loop.run_until_complete(loop.create_server(Echo, "127.0.0.1", 0))
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    yield Target("echo", server.sockets[0].getsockname(), "/")
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    server.close()
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()


@pytest.mark.parametrize("keepalive", [True, False])
@pytest.mark.parametrize("size", [1, 4096, 1 << 20])
def test_a_client_gets_back_what_it_sends(echo: Target, size: int, keepalive: bool) -> None:
    client, timed = Client(echo, size, keepalive=keepalive), Timed()
    for _ in range(3):
        client.timed(timed)
    client.close()
    assert (len(timed.latencies_ms), timed.errors) == (3, 0)


@pytest.mark.parametrize("keepalive", [True, False])
@pytest.mark.parametrize("size", [1, 1 << 20])
def test_an_open_loop_answers_every_arrival(echo: Target, size: int, keepalive: bool) -> None:
    load, timed = OpenLoop(echo, size, keepalive=keepalive), Timed()
    load.run([n * 2_000_000 for n in range(20)], timed)
    load.close()
    assert (len(timed.latencies_ms), timed.errors) == (20, 0)


def test_latency_counts_from_the_moment_a_request_was_due() -> None:
    """A server that answers the first request late delays nobody else's start, but everybody's answer."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connections = [listener.accept()[0] for _ in range(3)]
            time.sleep(0.2)
            for connection in connections:
                connection.recv(4096)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx")
                connection.close()

        thread = threading.Thread(target=serve)
        thread.start()
        load, timed = OpenLoop(Target("slow", listener.getsockname(), "/"), 1, keepalive=False), Timed()
        load.run([0, 1_000_000, 2_000_000], timed)
        thread.join()
    assert timed.errors == 0
    assert min(timed.latencies_ms) > 190


def test_a_refused_connection_and_a_wrong_answer_are_errors() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        target = Target("nobody", closed.getsockname(), "/")
        client, timed = Client(target, 10, keepalive=True), Timed()
        client.timed(timed)
        OpenLoop(target, 10, keepalive=True).run([0, 1000], timed)
    assert timed.errors == 3


@pytest.mark.parametrize(
    "answer", [b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 1\r\n\r\nx", b"HTTP/1.1 200 OK\r\n\r\n"]
)
def test_an_answer_that_is_not_200_or_not_whole_is_an_error(answer: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            for _ in range(2):
                connection = listener.accept()[0]
                connection.recv(4096)
                connection.sendall(answer)
                connection.close()

        thread = threading.Thread(target=serve)
        thread.start()
        target, timed = Target("wrong", listener.getsockname(), "/"), Timed()
        Client(target, 1, keepalive=False).timed(timed)
        OpenLoop(target, 1, keepalive=False).run([0], timed)
        thread.join()
    assert timed.errors == 2

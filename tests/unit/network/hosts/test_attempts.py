"""Attempts tell an answer from a reset and from silence, all at once, in bounded time, and believe nobody else."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from testbed.network.hosts import attempts
from testbed.network.hosts.attempts import Attempt, Outcome, Result, Sockets, try_requests, try_syns

GENEROUS_S = 20.0
BRIEF_S = 0.3
SYN_ACK, RST, SYN = 0x12, 0x14, 0x02
EIP = "10.202.0.7"
OPEN, SHUT, NOBODY = "10.96.1.1", "10.96.1.2", "10.96.1.3"


def to(address: str, port: int = 8080, host: str = "a") -> Attempt:
    return Attempt(host, EIP, address, port)


def frame(source: str, source_port: int, port: int, flags: int, protocol: int = 6) -> bytes:
    """As it comes to the host of EIP."""
    header = struct.pack("!BBHHHBBH", 0x45, 0, 40, 1, 0, 64, protocol, 0)
    header += socket.inet_aton(source) + socket.inet_aton(EIP)
    segment = struct.pack("!HHIIBBHHH", source_port, port, 1, 1, 5 << 4, flags, 100, 0, 0)
    return bytes(12) + b"\x08\x00" + header + segment


class Network:
    """Answers the frames that are sent into it; each host's socket is one end of a pair."""

    def __init__(self, answer: Callable[[str, int, int, int], list[bytes]]) -> None:
        self.answer = answer
        self.seen: list[tuple[str, int]] = []
        self.visits: list[str] = []

    def run_in(self, host: str, _opens: Callable[[], Sockets]) -> Sockets:
        near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.visits.append(host)
        threading.Thread(target=self._serve, args=(far,), daemon=True).start()
        return [near]

    def _serve(self, far: socket.socket) -> None:
        with far:
            while True:
                try:
                    sent = far.recv(2000)
                except OSError:
                    return
                if not sent:
                    return
                address = socket.inet_ntoa(sent[30:34])
                source_port, port = struct.unpack_from("!HH", sent, 34)
                self.seen.append((address, port))
                for reply in self.answer(address, port, source_port, self.seen.count((address, port))):
                    try:
                        far.send(reply)
                    except OSError:
                        return


def ordinary(address: str, port: int, source_port: int, _nth: int) -> list[bytes]:
    flags = {OPEN: SYN_ACK, SHUT: RST}.get(address)
    return [frame(address, port, source_port, flags)] if flags else []


def test_an_answer_a_reset_and_silence_are_told_apart() -> None:
    found = try_syns(Network(ordinary).run_in, [to(NOBODY), to(OPEN), to(SHUT), to(OPEN, 3306)], BRIEF_S)
    assert {attempt.address: outcome.result for attempt, outcome in found.items() if attempt.port == 8080} == {
        NOBODY: Result.SILENT, OPEN: Result.ANSWERED, SHUT: Result.RESET,
    }  # fmt: skip
    assert found[to(OPEN, 3306)].result is Result.ANSWERED


def test_nothing_is_waited_for_once_all_is_settled() -> None:
    began = time.monotonic()
    found = try_syns(Network(ordinary).run_in, [to(OPEN, port) for port in range(1, 20)], GENEROUS_S)
    assert {outcome.result for outcome in found.values()} == {Result.ANSWERED}
    assert time.monotonic() - began < GENEROUS_S / 2


def test_silence_is_waited_for_together() -> None:
    began = time.monotonic()
    found = try_syns(Network(ordinary).run_in, [to(NOBODY, port) for port in range(1, 60)], BRIEF_S)
    assert {outcome.result for outcome in found.values()} == {Result.SILENT}
    assert time.monotonic() - began < 59 * BRIEF_S / 2


def test_what_is_lost_is_sent_again_and_what_is_answered_is_not() -> None:
    def lossy(address: str, port: int, source_port: int, nth: int) -> list[bytes]:
        return ordinary(address, port, source_port, nth) if nth == attempts.SENDINGS or port == 1 else []

    network = Network(lossy)
    found = try_syns(network.run_in, [to(OPEN, 1), to(OPEN, 2), to(NOBODY, 3)], BRIEF_S)
    assert found[to(OPEN, 2)].result is Result.ANSWERED
    assert [network.seen.count(one) for one in ((OPEN, 1), (OPEN, 2), (NOBODY, 3))] == [1, 3, 3]


@pytest.mark.parametrize(
    "change",
    [
        lambda source_port: frame(SHUT, 8080, source_port, SYN_ACK),
        lambda source_port: frame(OPEN, 8081, source_port, SYN_ACK),
        lambda source_port: frame(OPEN, 8080, source_port + 1, SYN_ACK),
        lambda source_port: frame(OPEN, 8080, source_port, SYN),
        lambda source_port: frame(OPEN, 8080, source_port, SYN_ACK, protocol=17),
        lambda source_port: frame(OPEN, 8080, source_port, SYN_ACK)[:40],
    ],
    ids=["another address", "another port", "another connection", "a SYN", "UDP", "cut off"],
)
def test_only_the_answer_of_who_was_asked_counts(change: Callable[[int], bytes]) -> None:
    network = Network(lambda _address, _port, source_port, _nth: [change(source_port)])
    assert try_syns(network.run_in, [to(OPEN)], BRIEF_S) == {to(OPEN): Outcome(Result.SILENT)}


def test_each_host_is_visited_once_and_speaks_by_its_own_socket() -> None:
    network = Network(ordinary)
    tried = [to(OPEN, port, host) for port, host in enumerate("abab", 1)]
    found = try_syns(network.run_in, tried, GENEROUS_S)
    assert [outcome.result for outcome in found.values()] == [Result.ANSWERED] * 4
    assert network.visits == ["a", "b"]


def test_bursts_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempts, "AT_ONCE", 4)
    network = Network(ordinary)
    found = try_syns(network.run_in, [to(OPEN, port) for port in range(1, 11)], GENEROUS_S)
    assert [outcome.result for outcome in found.values()] == [Result.ANSWERED] * 10
    assert network.visits == ["a"] * 3


# Requests


def here(_host: str, opens: Callable[[], Sockets]) -> Sockets:
    return opens()


@contextmanager
def server(reply: bytes | None) -> Iterator[tuple[str, int]]:
    """Answers every connection's first bytes with `reply` and closes; None: takes them and says nothing."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        one.listen(64)
        kept: list[socket.socket] = []

        def serve() -> None:
            while True:
                try:
                    connection, _ = one.accept()
                except OSError:
                    return
                kept.append(connection)
                if connection.recv(100) and reply is not None:
                    connection.sendall(reply)
                    connection.close()

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield one.getsockname()
        finally:
            one.shutdown(socket.SHUT_RDWR)
            thread.join()
            for connection in kept:
                connection.close()


def request(address: tuple[str, int], what: bytes = b"GET / HTTP/1.1\r\n\r\n") -> Attempt:
    return Attempt("a", "127.0.0.1", *address, what)


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", Outcome(Result.ANSWERED, b"HTTP/1.1 200 OK")),
        (b"", Outcome(Result.RESET)),
    ],
    ids=["a reply", "closed without one"],
)
def test_the_first_line_of_a_reply_counts(reply: bytes, expected: Outcome) -> None:
    with server(reply) as address:
        assert try_requests(here, [request(address)], GENEROUS_S) == {request(address): expected}


def test_a_server_that_says_nothing_is_silent() -> None:
    with server(None) as address:
        assert try_requests(here, [request(address)], BRIEF_S) == {request(address): Outcome(Result.SILENT)}


def test_a_closed_port_is_a_reset() -> None:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        closed = one.getsockname()
    assert try_requests(here, [request(closed)], GENEROUS_S) == {request(closed): Outcome(Result.RESET)}


def test_requests_do_not_wait_for_each_other() -> None:
    with server(b"HTTP/1.1 200 OK\r\n\r\n") as quick, server(None) as silent:
        tried = [request(silent), *(request(quick, f"GET /{n}".encode()) for n in range(20))]
        found = try_requests(here, tried, BRIEF_S)
    assert [outcome.result for outcome in found.values()] == [Result.SILENT, *[Result.ANSWERED] * 20]

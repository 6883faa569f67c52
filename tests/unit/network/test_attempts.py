"""Attempts tell an answer from a reset and from silence, all at once and in bounded time."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import pytest

from testbed.network import attempts
from testbed.network.attempts import Attempt, Outcome, Result, Sockets, try_all

LOOPBACK = "127.0.0.1"
GENEROUS_S = 20.0
BRIEF_S = 0.3


def here(_host: str, opens: Callable[[], Sockets]) -> Sockets:
    return opens()


@contextmanager
def listener(backlog: int = 64) -> Iterator[socket.socket]:
    with socket.socket() as one:
        one.bind((LOOPBACK, 0))
        one.listen(backlog)
        yield one


@pytest.fixture
def closed_port() -> int:
    with socket.socket() as one:
        one.bind((LOOPBACK, 0))
        return one.getsockname()[1]


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A listener whose queue is full: the kernel drops further SYNs."""
    with listener(0) as one, ExitStack() as stack:
        for _ in range(4):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(one.getsockname())
        time.sleep(0.05)
        yield one.getsockname()[1]


def test_the_three_results_keep_their_places(closed_port: int, silent_port: int) -> None:
    with listener() as one:
        tried = [
            Attempt("a", LOOPBACK, silent_port),
            Attempt("b", LOOPBACK, one.getsockname()[1]),
            Attempt("a", LOOPBACK, closed_port),
        ]
        found = try_all(here, tried, BRIEF_S)
    assert found == [Outcome(Result.SILENT), Outcome(Result.ANSWERED), Outcome(Result.RESET)]


def test_nothing_is_waited_for_once_all_is_settled(closed_port: int) -> None:
    began = time.monotonic()
    assert try_all(here, [Attempt("a", LOOPBACK, closed_port)] * 3, GENEROUS_S) == [Outcome(Result.RESET)] * 3
    assert time.monotonic() - began < GENEROUS_S / 2


def test_silence_is_waited_for_together(silent_port: int) -> None:
    began = time.monotonic()
    found = try_all(here, [Attempt("a", LOOPBACK, silent_port)] * 30, BRIEF_S)
    assert found == [Outcome(Result.SILENT)] * 30
    assert time.monotonic() - began < 30 * BRIEF_S / 2


def test_each_hosts_sockets_are_opened_by_one_visit() -> None:
    visits: list[str] = []

    def visit(host: str, opens: Callable[[], Sockets]) -> Sockets:
        visits.append(host)
        return opens()

    with listener() as one:
        address = one.getsockname()
        found = try_all(visit, [Attempt(host, *address) for host in "abab"], GENEROUS_S)
    assert [outcome.result for outcome in found] == [Result.ANSWERED] * 4
    assert visits == ["a", "b"]


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", Outcome(Result.ANSWERED, b"HTTP/1.1 200 OK")),
        (b"", Outcome(Result.RESET)),
    ],
    ids=["a reply", "closed without one"],
)
def test_with_a_request_the_first_line_of_the_reply_counts(reply: bytes, expected: Outcome) -> None:
    heard: list[bytes] = []
    with listener() as one:

        def serve() -> None:
            connection, _ = one.accept()
            with connection:
                heard.append(connection.recv(100))
                connection.sendall(reply)

        server = threading.Thread(target=serve)
        server.start()
        found = try_all(here, [Attempt("a", *one.getsockname(), b"GET / HTTP/1.1\r\n\r\n")], GENEROUS_S)
        server.join()
    assert found == [expected]
    assert heard == [b"GET / HTTP/1.1\r\n\r\n"]


def test_a_server_that_says_nothing_is_silent() -> None:
    with listener() as one:
        assert try_all(here, [Attempt("a", *one.getsockname(), b"hello")], BRIEF_S) == [Outcome(Result.SILENT)]


def test_few_descriptors_are_open_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempts, "AT_ONCE", 4)
    together: list[int] = []

    def count(_host: str, opens: Callable[[], Sockets]) -> Sockets:
        sockets = opens()
        together.append(len(sockets))
        return sockets

    with listener() as one:
        found = try_all(count, [Attempt("a", *one.getsockname())] * 10, GENEROUS_S)
    assert [outcome.result for outcome in found] == [Result.ANSWERED] * 10
    assert together == [4, 4, 2]

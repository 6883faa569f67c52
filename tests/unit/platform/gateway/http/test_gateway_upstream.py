"""Connections to functions: how many, when they are used again, and what happens when one is stale."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from testbed.model.cluster import Phase
from tests.unit.platform.gateway.gateway_rig import Rig, rig
from tests.unit.platform.gateway.loopback import read_head, wait_until


@pytest.fixture(scope="module")
def pooled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    with rig(tmp_path_factory.mktemp("gateway"), {"max_idle_conns_per_host": "4"}) as one:
        yield one


@pytest.fixture(scope="module")
def per_call(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    with rig(tmp_path_factory.mktemp("gateway"), {"gateway_upstream": "per-call"}) as one:
        yield one


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def test_pooled_uses_one_connection_for_hundreds_of_requests_in_a_row(pooled: Rig) -> None:
    backend = pooled.backend("f")
    for number in range(300):
        body = b"x" * (number % 3 * 100) or None
        assert pooled.gateway.request("POST", "/function/f", body)[0] == 200
    assert backend.accepted == pooled.opened("f") == 1
    assert pooled.counted("f", 200) == 300


def test_per_call_opens_one_connection_for_every_request(per_call: Rig) -> None:
    backend = per_call.backend("f")
    for _ in range(300):
        assert per_call.gateway.request("GET", "/function/f")[0] == 200
    assert backend.accepted == per_call.opened("f") == 300


def test_per_call_is_exact_under_concurrency_and_with_kept_client_connections(per_call: Rig) -> None:
    backend = per_call.backend("many")

    def client(_: int) -> int:
        with per_call.gateway.connect() as connection:
            for _ in range(20):
                connection.sendall(b"GET /function/many HTTP/1.1\r\nHost: g\r\n\r\n")
                answer = read_head(connection)
                while not answer.endswith(b"}"):
                    answer += connection.recv(65536)
        return 20

    with ThreadPoolExecutor(16) as pool:
        asked = sum(pool.map(client, range(16)))
    assert asked == backend.accepted == per_call.opened("many") == per_call.counted("many", 200) == 320


def test_per_call_asks_the_function_to_close_and_lets_it_close_first(per_call: Rig) -> None:
    heads: list[bytes] = []
    first_to_close: list[bool] = []

    def script(connection: socket.socket) -> None:
        heads.append(read_head(connection))
        connection.sendall(OK)
        connection.settimeout(0.3)
        try:
            first_to_close.append(connection.recv(1) != b"")
        except TimeoutError:
            first_to_close.append(True)

    per_call.backend("polite", script)
    assert per_call.gateway.request("GET", "/function/polite")[2] == b"ok"
    wait_until(lambda: bool(first_to_close))
    assert b"Connection: close\r\n" in heads[0]
    assert first_to_close == [True]


def test_a_function_that_says_close_is_not_asked_again_on_that_connection(pooled: Rig) -> None:
    backend = pooled.backend("closing", _say_close)
    for _ in range(5):
        assert pooled.gateway.request("GET", "/function/closing")[2] == b"ok"
    assert backend.accepted == pooled.opened("closing") == 5


def _say_close(connection: socket.socket) -> None:
    while read_head(connection):
        connection.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok")


def test_no_more_idle_connections_are_kept_than_allowed(pooled: Rig) -> None:
    def slowly(connection: socket.socket) -> None:
        while read_head(connection):
            time.sleep(0.2)
            connection.sendall(OK)

    backend = pooled.backend("burst", slowly)
    with ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(lambda _: pooled.gateway.request("GET", "/function/burst")[2], range(10)))
    assert answers == [b"ok"] * 10
    assert backend.accepted == 10
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: pooled.gateway.request("GET", "/function/burst"), range(4)))
    assert backend.accepted == 10
    with ThreadPoolExecutor(10) as pool:
        list(pool.map(lambda _: pooled.gateway.request("GET", "/function/burst"), range(10)))
    assert backend.accepted == 16


class Stale:
    """Answers the first request of a connection, and closes without an answer when the second arrives."""

    def __init__(self, *, begin: bytes = b"") -> None:
        self.seen = 0
        self._begin = begin

    def __call__(self, connection: socket.socket) -> None:
        read_head(connection)
        self.seen += 1
        connection.sendall(OK)
        read_head(connection)
        self.seen += 1
        connection.sendall(self._begin)


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
def test_a_stale_connection_is_replaced_for_a_request_that_may_be_repeated(pooled: Rig, method: str) -> None:
    script = Stale()
    name = f"stale-{method.lower()}"
    backend = pooled.backend(name, script)
    assert pooled.gateway.request("GET", f"/function/{name}")[0] == 200
    assert pooled.gateway.request(method, f"/function/{name}")[0] == 200
    assert (backend.accepted, script.seen, pooled.opened(name)) == (2, 3, 2)


@pytest.mark.parametrize(("method", "body"), [("POST", b"x"), ("GET", b"x"), ("POST", None), ("DELETE", None)])
def test_no_other_request_is_ever_sent_twice(pooled: Rig, method: str, body: bytes | None) -> None:
    script = Stale()
    name = f"once-{method.lower()}-{'body' if body else 'bare'}"
    pooled.backend(name, script)
    assert pooled.gateway.request("GET", f"/function/{name}")[0] == 200
    assert pooled.gateway.request(method, f"/function/{name}", body)[0] == 500
    assert script.seen == 2


def test_a_request_is_not_repeated_once_an_answer_began(pooled: Rig) -> None:
    script = Stale(begin=b"HTTP/1.1 ")
    pooled.backend("begun", script)
    assert pooled.gateway.request("GET", "/function/begun")[0] == 200
    assert pooled.gateway.request("GET", "/function/begun")[0] == 500
    assert script.seen == 2


def test_a_fresh_connection_that_dies_is_not_tried_again(pooled: Rig) -> None:
    backend = pooled.backend("dead", lambda connection: None)
    assert pooled.gateway.request("GET", "/function/dead")[0] == 500
    assert backend.accepted == 1


def test_other_instances_mean_new_connections(pooled: Rig) -> None:
    backend = pooled.backend("scaled")
    pooled.gateway.request("GET", "/function/scaled")
    pooled.apiserver.instance("scaled.openfaas-fn.2", Phase.PENDING)
    pooled.gateway.wait_for(pooled.apiserver)
    pooled.gateway.request("GET", "/function/scaled")
    assert backend.accepted == 1  # nothing changed yet for new calls
    pooled.apiserver.instance("scaled.openfaas-fn.2", Phase.READY)
    pooled.gateway.wait_for(pooled.apiserver)
    pooled.gateway.request("GET", "/function/scaled")
    assert backend.accepted == 2
    pooled.apiserver.instance("scaled.openfaas-fn.1", Phase.DRAINING)
    pooled.gateway.wait_for(pooled.apiserver)
    pooled.gateway.request("GET", "/function/scaled")
    assert backend.accepted == 3


def test_idle_connections_are_closed_on_time(tmp_path_factory: pytest.TempPathFactory) -> None:
    ended: list[float] = []

    def script(connection: socket.socket) -> None:
        while read_head(connection):
            connection.sendall(OK)
        ended.append(time.monotonic())

    with rig(tmp_path_factory.mktemp("gateway"), {"upstream_idle_timeout": "1s"}) as lab:
        lab.backend("f", script)
        lab.gateway.request("GET", "/function/f")
        idle_since_s = time.monotonic()
        wait_until(lambda: bool(ended))
        assert ended[0] - idle_since_s > 0.9


def test_idle_clients_are_closed_on_time(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("gateway")
    with rig(folder, {"read_timeout": "1s"}) as lab, lab.gateway.connect() as silent, lab.gateway.connect() as partial:
        partial.sendall(b"GET /function/f HTTP/1.1\r\nHo")
        assert silent.recv(1) == b""
        assert partial.recv(1) == b""

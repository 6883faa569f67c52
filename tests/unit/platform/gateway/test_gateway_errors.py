"""The error table, line by line: the gateway's own answers, with OpenFaaS's texts."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator

import pytest

from testbed.model.cluster import Route
from tests.ports import free_port
from tests.unit.platform.gateway.gateway_processes import GatewayProcess
from tests.unit.platform.gateway.gateway_rig import Rig, rig
from tests.unit.platform.gateway.loopback import read_head, wait_until
from tests.unit.platform.gateway.scripted_backend import canned


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    with rig(tmp_path_factory.mktemp("gateway"), {"upstream_timeout": "700ms"}) as one:
        yield one


@pytest.mark.parametrize(("name", "namespace"), [("ghost", "openfaas-fn"), ("ghost.elsewhere", "elsewhere")])
def test_an_unknown_function_is_404_with_openfaas_text(lab: Rig, name: str, namespace: str) -> None:
    status, headers, body = lab.gateway.request("GET", f"/function/{name}/path")
    assert status == 404
    assert body.decode() == (
        f"error finding function ghost.{namespace}: server returned non-200 status code (404) "
        "for function, ghost, body: "
    )
    assert "X-Call-Id" not in headers


def test_unknown_functions_make_no_metric(lab: Rig) -> None:
    lab.gateway.request("GET", "/function/unheard-of")
    assert b"unheard-of" not in lab.gateway.monitor("/metrics")[2]


def test_a_refused_connection_is_500(lab: Rig) -> None:
    lab.apiserver.function("refusing", lab.address())
    lab.gateway.wait_for(lab.apiserver)
    status, headers, body = lab.gateway.request("GET", "/function/refusing.openfaas-fn")
    assert (status, body) == (500, b"Can't reach service for: refusing.openfaas-fn.")
    assert headers["X-OpenFaaS-Internal"] == "proxy"
    assert lab.counted("refusing", 500) == 1


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("silent", b""),
        ("garbage", b"this is no HTTP\r\n\r\n"),
        ("cut-head", b"HTTP/1.1 200 OK\r\nContent-"),
        ("both", b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    ],
)
def test_a_connection_that_breaks_before_an_answer_is_500(lab: Rig, name: str, answer: bytes) -> None:
    lab.backend(name, canned(answer))
    status, _, body = lab.gateway.request("GET", f"/function/{name}")
    assert (status, body.decode()) == (500, f"Can't reach service for: {name}.")


def test_an_answer_that_breaks_off_is_not_completed(lab: Rig) -> None:
    lab.backend("cut", canned(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this"))
    head, _, body = lab.raw(b"GET /function/cut HTTP/1.1\r\nHost: g\r\n\r\n").partition(b"\r\n\r\n")
    assert (b"Content-Length: 100" in head, body) == (True, b"only this")
    lab.backend("cut-chunks", canned(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nfour\r\n"))
    answer = lab.raw(b"GET /function/cut-chunks HTTP/1.1\r\nHost: g\r\n\r\n")
    assert answer.endswith(b"4\r\nfour\r\n")


def test_a_slow_function_is_502_with_an_empty_body_after_upstream_timeout(lab: Rig) -> None:
    gone: list[bytes] = []

    def slow(connection: socket.socket) -> None:
        read_head(connection)
        gone.append(connection.recv(1))

    lab.backend("slow", slow)
    started_s = time.monotonic()
    status, _, body = lab.gateway.request("GET", "/function/slow")
    assert (status, body) == (502, b"")
    assert time.monotonic() - started_s >= 0.7
    assert lab.counted("slow", 502) == 1
    wait_until(lambda: bool(gone))  # the gateway has closed its connection


def test_an_answer_that_takes_longer_than_upstream_timeout_is_broken_off(lab: Rig) -> None:
    def dripping(connection: socket.socket) -> None:
        read_head(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n")
        while True:
            connection.sendall(b"x")
            time.sleep(0.1)

    lab.backend("dripping", dripping)
    answer = b""
    with lab.gateway.connect() as connection:
        connection.sendall(b"GET /function/dripping HTTP/1.1\r\nHost: g\r\n\r\n")
        try:
            while piece := connection.recv(65536):
                answer += piece
        except ConnectionResetError:
            pass
    assert answer.startswith(b"HTTP/1.1 200") and 0 < answer.count(b"x") < 100


def test_an_internal_function_is_hidden_on_the_direct_route_and_open_on_the_gateway_route(lab: Rig) -> None:
    lab.apiserver.namespace("direct-ns", Route.DIRECT)
    lab.apiserver.namespace("gateway-ns", Route.GATEWAY)
    for namespace in ("direct-ns", "gateway-ns"):
        lab.apiserver.function("inner", lab.address(), namespace, ingress=False)
        lab.apiserver.function("outer", lab.address(), namespace, ingress=True)
    lab.gateway.wait_for(lab.apiserver)
    hidden = lab.gateway.request("GET", "/function/inner.direct-ns")
    unknown = lab.gateway.request("GET", "/function/ghost.direct-ns")
    assert hidden[0] == unknown[0] == 404
    assert hidden[2] == unknown[2].replace(b"ghost", b"inner")
    for name in ("outer.direct-ns", "inner.gateway-ns", "outer.gateway-ns"):
        assert lab.gateway.request("GET", f"/function/{name}")[0] == 500  # known; nothing listens there


def test_a_removed_function_is_unknown_again(lab: Rig) -> None:
    lab.backend("passing")
    assert lab.gateway.request("GET", "/function/passing")[0] == 200
    function = lab.apiserver.state.functions["passing.openfaas-fn"]
    lab.apiserver.change("function", function, delete=True)
    lab.gateway.wait_for(lab.apiserver)
    assert lab.gateway.request("GET", "/function/passing")[0] == 404
    assert lab.counted("passing", 200) == 1


@pytest.mark.parametrize(
    "path",
    ["/ui", "/function/", "/function/a%2Fb", "/async-function/f", "/system", "/system/", "/system/tokens", "/tokens"],
)
def test_other_paths_are_404_as_from_gos_mux(lab: Rig, path: str) -> None:
    assert lab.gateway.request("GET", path)[::2] == (404, b"404 page not found\n")


def test_an_absent_apiserver_is_502_with_an_empty_body(lab: Rig, tmp_path_factory: pytest.TempPathFactory) -> None:
    gateway = GatewayProcess(tmp_path_factory.mktemp("alone"), free_port(), lab.function_port, {"basic_auth": "false"})
    try:
        for path in ("/healthz", "/system/functions", "/function/f"):
            assert gateway.request("GET", path)[::2] == (502, b"")
    finally:
        assert gateway.stop() == 0

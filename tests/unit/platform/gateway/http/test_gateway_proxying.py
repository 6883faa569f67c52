"""What reaches the function and what comes back: routes, headers, methods, bodies."""

from __future__ import annotations

import json
import re
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.platform.gateway.gateway_processes import BASIC
from tests.unit.platform.gateway.gateway_rig import Rig, rig
from tests.unit.platform.gateway.loopback import read_head
from tests.unit.platform.gateway.scripted_backend import canned


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    with rig(tmp_path_factory.mktemp("gateway")) as one:
        one.backend("f")
        one.backend("f", namespace="other")
        yield one


def seen(body: bytes) -> tuple[str, str, dict[str, str], str]:
    """(method, target, headers by lower-case name, body) that the echoing function was sent."""
    what = json.loads(body)
    return what["method"], what["target"], {name.lower(): value for name, value in what["headers"]}, what["body"]


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("/function/f", "/"),
        ("/function/f/", "/"),
        ("/function/f.openfaas-fn/a/b?c=d", "/a/b?c=d"),
        ("/function/f.other?x", "/?x"),
    ],
)
def test_both_forms_of_a_name_reach_the_function_with_path_and_query(lab: Rig, path: str, target: str) -> None:
    status, _, body = lab.gateway.request("GET", path)
    assert (status, seen(body)[1]) == (200, target)


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_every_method_of_the_provider_is_passed_on_with_its_body(lab: Rig, method: str) -> None:
    status, _, body = lab.gateway.request(method, "/function/f", b"payload")
    assert (status, seen(body)[0], seen(body)[3]) == (200, method, "payload")


def test_head_is_answered_without_a_body_and_the_connections_live_on(lab: Rig) -> None:
    with lab.gateway.connect() as connection:
        connection.sendall(b"HEAD /function/f HTTP/1.1\r\nHost: g\r\n\r\n" * 2)
        heads = read_head(connection)
        while heads.count(b"\r\n\r\n") < 2:
            heads += read_head(connection)
    first, second, rest = heads.split(b"\r\n\r\n")
    assert rest == b""
    assert first.startswith(b"HTTP/1.1 200 OK\r\n") and second.startswith(b"HTTP/1.1 200 OK\r\n")
    assert int(re.search(rb"Content-Length: (\d+)", first).group(1)) > 100  # type: ignore[union-attr]


def test_an_unknown_method_is_405_as_in_the_provider(lab: Rig) -> None:
    assert lab.gateway.request("PURGE", "/function/f")[0] == 405


def test_the_function_gets_openfaas_headers(lab: Rig) -> None:
    before_ns = time.time_ns()
    _, headers, body = lab.gateway.request("GET", "/function/f", headers={"Host": "front:1", "User-Agent": "me/1"})
    got = seen(body)[2]
    assert uuid.UUID(got["x-call-id"]).version == 4
    assert uuid.UUID(got["x-call-id"]).variant == uuid.RFC_4122
    assert before_ns <= int(got["x-start-time"]) <= time.time_ns()
    assert got["x-forwarded-host"] == "front:1"
    assert re.fullmatch(r"127\.0\.0\.1:\d+", got["x-forwarded-for"])
    assert got["host"] == f"127.2.0.1:{lab.function_port}"
    assert got["user-agent"] == "me/1"
    assert headers["X-Call-Id"] == got["x-call-id"]
    assert headers["X-Start-Time"] == got["x-start-time"]


def test_what_the_client_sent_of_them_is_kept(lab: Rig) -> None:
    given = {"X-Call-Id": "mine", "X-Forwarded-For": "9.9.9.9", "X-Forwarded-Host": "else"}
    _, headers, body = lab.gateway.request("GET", "/function/f", headers=given)
    got = seen(body)[2]
    assert (got["x-call-id"], got["x-forwarded-for"], got["x-forwarded-host"]) == ("mine", "9.9.9.9", "else")
    assert "X-Call-Id" not in headers
    assert json.loads(body)["headers"].count(["X-Forwarded-For", "9.9.9.9"]) == 1


def test_hop_by_hop_headers_stay_on_their_connection(lab: Rig) -> None:
    request = (
        b"GET /function/f HTTP/1.1\r\nHost: g\r\nConnection: close, X-Private\r\nX-Private: 1\r\nKeep-Alive: 9\r\n"
        b"Proxy-Authorization: p\r\nTE: trailers\r\nAuthorization: Bearer t\r\nX-Public: 2\r\n\r\n"
    )
    got = seen(lab.raw(request).partition(b"\r\n\r\n")[2])[2]
    assert not {"connection", "x-private", "keep-alive", "proxy-authorization", "te"} & got.keys()
    assert (got["x-public"], got["authorization"]) == ("2", "Bearer t")


def test_the_answers_hop_by_hop_headers_are_removed_and_the_rest_kept(lab: Rig) -> None:
    lab.backend(
        "hop",
        canned(
            b"HTTP/1.1 201 Created\r\nConnection: X-Private\r\nX-Private: 1\r\nKeep-Alive: timeout=5\r\n"
            b"Set-Cookie: a=1\r\nSet-Cookie: b=2\r\nX-Duration-Seconds: 0.1\r\nContent-Length: 2\r\n\r\nhi"
        ),
    )
    status, headers, body = lab.gateway.request("GET", "/function/hop")
    assert (status, body) == (201, b"hi")
    assert headers.get_all("Set-Cookie") == ["a=1", "b=2"]
    assert headers["X-Duration-Seconds"] == "0.1"
    assert not {"X-Private", "Keep-Alive", "Connection"} & set(headers.keys())


@pytest.mark.parametrize("status", [301, 404, 418, 500, 503, 599])
def test_the_functions_own_answers_pass_unchanged(lab: Rig, status: int) -> None:
    name = f"status-{status}"
    answer = b"HTTP/1.1 %d Whatever\r\nLocation: /else\r\nContent-Length: 3\r\n\r\nown" % status
    lab.backend(name, canned(answer))
    got, headers, body = lab.gateway.request("GET", f"/function/{name}")
    assert (got, headers["Location"], body) == (status, "/else", b"own")
    assert "X-OpenFaaS-Internal" not in headers


def test_an_answer_that_ends_with_its_connection_is_framed_for_the_client(lab: Rig) -> None:
    lab.backend("endless", canned(b"HTTP/1.1 200 OK\r\n\r\nsome bytes"))
    status, headers, body = lab.gateway.request("GET", "/function/endless")
    assert (status, body, headers["Transfer-Encoding"]) == (200, b"some bytes", "chunked")


def test_an_http_1_0_client_gets_plain_bytes_and_a_closed_connection(lab: Rig) -> None:
    lab.backend(
        "chunks", canned(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n")
    )
    head, _, body = lab.raw(b"GET /function/chunks HTTP/1.0\r\n\r\n").partition(b"\r\n\r\n")
    assert body == b"abc"
    assert b"Connection: close" in head and b"chunked" not in head


def test_an_http_1_0_client_may_keep_its_connection(lab: Rig) -> None:
    with lab.gateway.connect() as connection:
        for _ in range(2):
            connection.sendall(b"GET /function/none-such HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
            assert b"Connection: keep-alive" in read_head(connection)


def test_interim_answers_are_not_taken_for_the_answer(lab: Rig) -> None:
    interim = b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n"
    lab.backend("hints", canned(interim + b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"))
    status, headers, body = lab.gateway.request("GET", "/function/hints")
    assert (status, body, headers["Link"]) == (200, b"ok", None)


@pytest.mark.parametrize("status", [204, 304])
def test_answers_without_a_body_get_no_framing(lab: Rig, status: int) -> None:
    lab.backend(f"empty-{status}", canned(b"HTTP/1.1 %d None\r\nETag: x\r\n\r\n" % status))
    got, headers, body = lab.gateway.request("GET", f"/function/empty-{status}")
    assert (got, body, headers["Transfer-Encoding"], headers["ETag"]) == (status, b"", None, "x")


def test_trailers_are_not_taken_for_headers(lab: Rig) -> None:
    request = (
        b"POST /function/f HTTP/1.1\r\nHost: g\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
        b"2\r\nab\r\n0\r\nX-Late: 1\r\nHost: evil\r\n\r\n"
    )
    answer = lab.raw(request)
    got = json.loads(answer.partition(b"\r\n\r\n")[2])
    assert answer.startswith(b"HTTP/1.1 200")
    assert "X-Late" not in [name for name, _ in got["headers"]]
    assert got["body"] == "2\r\nab\r\n0\r\n\r\n"


def test_system_routes_go_to_the_apiserver_with_their_body(lab: Rig) -> None:
    status, _, body = lab.gateway.request("POST", "/system/functions?namespace=a", b'{"service": "x"}', BASIC)
    assert (status, json.loads(body)) == (202, {"method": "POST", "path": "/system/functions?namespace=a"})
    assert lab.apiserver.requests[-1][3] == b'{"service": "x"}'
    assert lab.apiserver.requests[-1][2]["Authorization"] == BASIC["Authorization"]


@pytest.mark.parametrize("given", [None, "Basic d3Jvbmc6b25l", "Bearer x", "Basic"])
def test_system_routes_need_the_right_credentials(lab: Rig, given: str | None) -> None:
    asked = len(lab.apiserver.requests)
    headers = {"Authorization": given} if given else {}
    status, answer, body = lab.gateway.request("GET", "/system/functions", headers=headers)
    assert (status, body) == (401, b"invalid credentials")
    assert answer["Www-Authenticate"] == 'Basic realm="Restricted"'
    assert len(lab.apiserver.requests) == asked


def test_a_followed_log_is_streamed(lab: Rig) -> None:
    with lab.gateway.connect() as connection:
        head = f"GET /system/logs?name=f HTTP/1.1\r\nHost: g\r\nAuthorization: {BASIC['Authorization']}\r\n\r\n"
        connection.sendall(head.encode())
        first = connection.recv(65536)
        while b"line 0" not in first:
            first += connection.recv(65536)
        assert b"line 2" not in first
        while b"line 2" not in first:
            first += connection.recv(65536)


def test_health_is_the_apiservers_and_needs_no_credentials(lab: Rig) -> None:
    assert json.loads(lab.gateway.request("GET", "/healthz")[2])["path"] == "/healthz"


def test_metrics_are_on_their_own_port_only(lab: Rig) -> None:
    assert lab.gateway.request("GET", "/metrics")[::2] == (404, b"404 page not found\n")
    assert lab.gateway.monitor("/metrics")[1]["Content-Type"].startswith("text/plain; version=0.0.4")
    assert lab.gateway.monitor("/other")[0] == 404


def test_invocations_are_counted_under_openfaas_names(lab: Rig) -> None:
    lab.backend("counted", canned(*[b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"] * 9))
    for _ in range(5):
        lab.gateway.request("GET", "/function/counted")
    text = lab.gateway.monitor("/metrics")[2].decode()
    name = 'function_name="counted.openfaas-fn"'
    assert f'gateway_function_invocation_total{{code="200",{name}}} 5' in text
    assert f"gateway_function_invocation_started{{{name}}} 5" in text
    assert f'gateway_functions_seconds_count{{code="200",{name}}} 5' in text
    assert f'gateway_functions_seconds_bucket{{code="200",{name},le="+Inf"}} 5' in text
    assert f"gateway_service_count{{{name}}} 1" in text
    assert f"testbed_gateway_upstream_connections_total{{{name}}} 1" in text


def test_the_gateway_leaves_no_trace_of_an_error(lab: Rig, tmp_path: Path) -> None:
    assert "Traceback" not in lab.gateway.log.read_text()

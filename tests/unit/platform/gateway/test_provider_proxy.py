"""The provider proxy as a process: faas-provider's statuses, headers and texts, and nothing of a gateway's."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from testbed.model.cluster import Route
from tests.ports import free_port
from tests.unit.platform.gateway.gateway_processes import BASIC
from tests.unit.platform.gateway.gateway_rig import Rig, rig
from tests.unit.platform.gateway.loopback import read_all


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    environment = {"upstream_timeout": "700ms"}
    with rig(tmp_path_factory.mktemp("provider"), environment, module="testbed.platform.gateway.provider_proxy") as one:
        one.backend("f")
        yield one


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
@pytest.mark.parametrize(("path", "target"), [("f", "/"), ("f.openfaas-fn/a?b=c", "/a?b=c")])
def test_functions_are_called_by_either_name(lab: Rig, method: str, path: str, target: str) -> None:
    status, _, body = lab.gateway.request(method, f"/function/{path}", b"x")
    got = json.loads(body)
    assert (status, got["method"], got["target"], got["body"]) == (200, method, target, "x")


def test_the_foreign_gateways_headers_arrive_and_none_is_made_up(lab: Rig) -> None:
    sent = {"X-Call-Id": "one", "X-Start-Time": "17", "X-Forwarded-For": "9.9.9.9", "Authorization": "Bearer t"}
    _, answer, body = lab.gateway.request("GET", "/function/f", headers=sent)
    got = {name.lower(): value for name, value in json.loads(body)["headers"]}
    assert {name: got[name.lower()] for name in sent} == sent
    assert not {"X-Call-Id", "X-Start-Time"} & set(answer.keys())
    got = dict(json.loads(lab.gateway.request("GET", "/function/f")[2])["headers"])
    assert not {"X-Call-Id", "X-Start-Time"} & set(got)
    assert re.fullmatch(r"127\.0\.0\.1:\d+", got["X-Forwarded-For"])


def test_other_methods_are_405(lab: Rig) -> None:
    assert lab.gateway.request("PURGE", "/function/f")[0] == 405


@pytest.mark.parametrize("name", ["ghost", "cold", "inner.direct"])
def test_what_has_no_endpoint_is_503_and_not_woken(lab: Rig, name: str) -> None:
    lab.apiserver.namespace("direct", Route.DIRECT)
    lab.apiserver.function("inner", lab.address(), "direct", ingress=False)
    lab.apiserver.function("cold", lab.address(), phase=None, replicas=0)
    lab.gateway.wait_for(lab.apiserver)
    status, headers, body = lab.gateway.request("GET", f"/function/{name}")
    assert (status, body.decode()) == (503, f"No endpoints available for: {name}.")
    assert headers["X-OpenFaaS-Internal"] == "proxy"
    assert lab.apiserver.asked("POST", "/system/scale-function/cold") == []


def test_what_does_not_answer_is_500(lab: Rig) -> None:
    lab.apiserver.function("refusing", lab.address())
    lab.backend("silent", lambda connection: connection.recv(1 << 16) and connection.recv(1))
    lab.gateway.wait_for(lab.apiserver)
    for name in ("refusing", "silent"):
        status, headers, body = lab.gateway.request("GET", f"/function/{name}")
        assert (status, body.decode()) == (500, f"Can't reach service for: {name}.")
        assert headers["X-OpenFaaS-Internal"] == "proxy"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/system/functions?namespace=a"),
        ("POST", "/system/functions"),
        ("PUT", "/system/functions"),
        ("DELETE", "/system/functions"),
        ("GET", "/system/function/f"),
        ("POST", "/system/scale-function/f"),
        ("GET", "/system/info"),
        ("GET", "/system/namespaces"),
        ("GET", "/system/secrets"),
    ],
)
def test_system_routes_go_to_the_apiserver_for_those_who_may(lab: Rig, method: str, path: str) -> None:
    status, _, body = lab.gateway.request(method, path, None, BASIC)
    assert (status, json.loads(body)) == (202, {"method": method, "path": path})
    refused = lab.gateway.request(method, path)
    assert (refused[0], refused[2]) == (401, b"invalid credentials")


@pytest.mark.parametrize("path", ["/state", "/watch", "/tokens", "/instances/x/secrets", "/ui/", "/system/tokens", "/"])
def test_what_is_not_the_contracts_is_404(lab: Rig, path: str) -> None:
    before = len(lab.apiserver.requests)
    assert lab.gateway.request("GET", path, headers=BASIC)[0] == 404
    assert len(lab.apiserver.requests) == before


def test_health_needs_no_credentials(lab: Rig) -> None:
    assert json.loads(lab.gateway.request("GET", "/healthz")[2])["path"] == "/healthz"
    assert lab.gateway.request("HEAD", "/healthz")[0] == 202


def test_a_prometheus_query_is_answered_with_nothing(lab: Rig) -> None:
    got = json.loads(lab.gateway.request("GET", "/api/v1/query?query=sum(x)")[2])
    assert (got["status"], got["data"]["result"]) == ("success", [])


def test_metrics_have_faas_providers_names(lab: Rig) -> None:
    lab.gateway.request("GET", "/function/f")
    text = lab.gateway.request("GET", "/metrics", headers=BASIC)[2].decode()
    assert re.search(r'^provider_http_requests_total{code="200",method="GET",path="/function"} \d+$', text, re.M)
    assert 'provider_http_request_duration_seconds_bucket{code="200",method="GET",path="/function",le="+Inf"}' in text
    assert 'testbed_gateway_upstream_connections_total{function_name="f.openfaas-fn"} 1\n' in text


def test_an_inherited_listener_leads_to_the_foreign_gateways_port(tmp_path: Path) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    settings = {"TESTBED_LISTEN_FD": str(listener.fileno()), "gateway_port": str(free_port())}
    with rig(tmp_path, settings, module="testbed.platform.gateway.provider_proxy") as one:
        port = int(settings["gateway_port"])
        foreign = socket.create_server(("127.0.0.1", port))
        with socket.create_connection(listener.getsockname(), timeout=20) as client:
            client.sendall(b"a question")
            client.shutdown(socket.SHUT_WR)
            connection, _ = foreign.accept()
            with connection:
                assert read_all(connection) == b"a question"
                connection.sendall(b"x" * (1 << 20))
            assert len(read_all(client)) == 1 << 20
        foreign.close()
        with socket.create_connection(listener.getsockname(), timeout=20) as client:
            assert client.recv(1) == b""  # nobody listens there
        assert "Traceback" not in one.gateway.log.read_text()
    listener.close()

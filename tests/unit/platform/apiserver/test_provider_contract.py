"""The faas-provider contract, line by line, against a real apiserver process and with faas-cli's own requests."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.unit.platform.apiserver.apiserver_rig import ApiserverProcess, deployment

FULL = {
    "service": "full",
    "image": "i",
    "namespace": "tenant",
    "envProcess": "python index.py",
    "envVars": {"A": "b"},
    "constraints": ["kubernetes.io/os=linux"],
    "secrets": ["db"],
    "labels": {"com.openfaas.scale.min": "2"},
    "annotations": {"topic": "cron"},
    "limits": {"memory": "64Mi", "cpu": "100m"},
    "requests": {"memory": "32Mi"},
    "readOnlyRootFilesystem": True,
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiserverProcess]:
    server = ApiserverProcess(tmp_path_factory.mktemp("apiserver"))
    try:
        for body in ({"name": "db", "namespace": "tenant", "value": "x"}, {"name": "kept", "value": "x"}):
            server.call("POST", "/system/secrets", body).raise_for_status()
        server.call("POST", "/system/functions", FULL).raise_for_status()
        server.call("POST", "/system/functions", deployment("echo")).raise_for_status()
        server.ready("full.tenant")
        server.log("echo.openfaas-fn.1", "2026-01-01T00:00:01Z one\n2026-01-01T00:00:02.5Z two\n")
        yield server
    finally:
        server.end()


@dataclass(frozen=True)
class Row:
    """A request, and what the contract says of its answer."""

    method: str
    path: str
    body: Any
    status: int
    text: str | None = None


RAW = b64encode(b"\0\1").decode()

ROWS = [
    # Functions: 202 ok, 400 bad, unknown 404
    Row("POST", "/system/functions", deployment("new"), 202, ""),
    Row("POST", "/system/functions", deployment("new"), 409),
    Row("PUT", "/system/functions", deployment("new", envVars={"A": "b"}), 202, ""),
    Row("PUT", "/system/functions", deployment("other"), 404),
    Row("POST", "/system/functions", b"{", 400),
    Row("POST", "/system/functions", b"[]", 400),
    Row("POST", "/system/functions", {}, 400),
    Row("POST", "/system/functions", {"service": "a"}, 400),
    Row("POST", "/system/functions", deployment("Not_DNS"), 400),
    Row("POST", "/system/functions", deployment("a", image="never-built"), 400),
    Row("POST", "/system/functions", deployment("a", secrets=["nowhere"]), 400,
        "there is no secret nowhere in namespace openfaas-fn, which function a names; create it first\n"),
    Row("POST", "/system/functions", deployment("a", secrets=["db"]), 400),  # the other namespace's
    Row("POST", "/system/functions", deployment("a", limits={"memory": "lots"}), 400),
    Row("POST", "/system/functions", deployment("a", requests={"cpu": "-1"}), 400),
    Row("POST", "/system/functions", deployment("a", limits={"nvidia.com/gpu": "1"}), 400),
    Row("POST", "/system/functions", deployment("a", labels={"com.openfaas.scale.min": "x"}), 400),
    Row("POST", "/system/functions", deployment("a", constraints=["gpu=true"]), 400),
    Row("PATCH", "/system/functions", {}, 405, ""),
    Row("GET", "/system/function/new", None, 200),
    Row("GET", "/system/function/other", None, 404),
    Row("GET", "/system/function/full", None, 404),  # of another namespace
    Row("GET", "/system/function/full?namespace=tenant&usage=1", None, 200),
    Row("HEAD", "/system/functions", None, 405, ""),
    Row("POST", "/system/scale-function/new", {"serviceName": "new", "replicas": 0}, 202, ""),
    Row("POST", "/system/scale-function/new", {"serviceName": "new", "replicas": 2}, 202, ""),
    Row("POST", "/system/scale-function/full?namespace=tenant", {"serviceName": "full", "replicas": 2}, 202, ""),
    Row("POST", "/system/scale-function/other", {"serviceName": "other", "replicas": 1}, 404),
    Row("POST", "/system/scale-function/new", {"serviceName": "new", "replicas": -1}, 400),
    Row("POST", "/system/scale-function/new", {"serviceName": "new", "replicas": "2"}, 400),
    Row("POST", "/system/scale-function/new", b"no", 400),
    Row("GET", "/system/scale-function/new", None, 405, ""),
    Row("DELETE", "/system/functions", {}, 400),
    Row("DELETE", "/system/functions", {"functionName": "other"}, 404),
    Row("DELETE", "/system/functions", {"functionName": "new", "namespace": "tenant"}, 404),
    Row("DELETE", "/system/functions", {"functionName": "new"}, 202, ""),
    Row("DELETE", "/system/functions", {"functionName": "new"}, 404),
    # Secrets
    Row("POST", "/system/secrets", {"name": "a", "value": "x"}, 202, ""),
    Row("POST", "/system/secrets", {"name": "a", "value": "x"}, 409),
    Row("POST", "/system/secrets", {"name": "b", "namespace": "tenant", "rawValue": RAW}, 202, ""),
    Row("POST", "/system/secrets", {"value": "x"}, 400),
    Row("POST", "/system/secrets", {"name": "../x", "value": "x"}, 400),
    Row("POST", "/system/secrets", {"name": "c", "rawValue": "?"}, 400),
    Row("POST", "/system/secrets", b"x", 400),
    Row("PUT", "/system/secrets", {"name": "a", "value": "y"}, 202, ""),
    Row("PUT", "/system/secrets", {"name": "none", "value": "y"}, 404),
    Row("DELETE", "/system/secrets", {"name": "a"}, 202, ""),
    Row("DELETE", "/system/secrets", {"name": "a"}, 404),
    Row("DELETE", "/system/secrets", {}, 400),
    Row("PATCH", "/system/secrets", {}, 405, ""),
    # Namespaces
    Row("POST", "/system/namespace/n1", {"name": "n1", "annotations": {"openfaas": "1"}}, 201, ""),
    Row("POST", "/system/namespace/", {"name": "n2"}, 201, ""),
    Row("POST", "/system/namespace/n1", {"name": "n1"}, 409),
    Row("POST", "/system/namespace/N", {"name": "N"}, 400),
    Row("PUT", "/system/namespace/n1", {"name": "n1", "labels": {"a": "b"}}, 202, ""),
    Row("PUT", "/system/namespace/n3", {"name": "n3"}, 404),
    Row("GET", "/system/namespace/n1", None, 200),
    Row("GET", "/system/namespace/openfaas-fn", None, 200),
    Row("GET", "/system/namespace/n3", None, 404),
    Row("DELETE", "/system/namespace/n1", {"name": "n1"}, 202, ""),
    Row("DELETE", "/system/namespace/n1", {"name": "n1"}, 404),
    Row("DELETE", "/system/namespace/n2", None, 202, ""),
    Row("POST", "/system/namespaces", {}, 405, ""),
    # Logs
    Row("GET", "/system/logs?name=echo", None, 200),
    Row("GET", "/system/logs?name=echo&tail=x", None, 422),
    Row("GET", "/system/logs?name=echo&since=yesterday", None, 422),
    Row("GET", "/system/logs", None, 422),
    Row("GET", "/system/logs?name=..%2F..%2Fetc", None, 422),
    Row("GET", "/system/logs?name=a%2Fb", None, 400),
    Row("GET", "/system/logs?name=echo&namespace=..%2Fetc", None, 400),
    Row("GET", "/system/logs?name=*", None, 400),
    Row("GET", "/system/logs?name=other", None, 500),
    Row("GET", "/system/logs?name=echo&namespace=tenant", None, 500),
    Row("POST", "/system/logs", None, 405, ""),
    # The rest
    Row("GET", "/healthz", None, 200, "OK"),
    Row("HEAD", "/healthz", None, 200, ""),
    Row("POST", "/healthz", None, 405, ""),
    Row("GET", "/system/info", None, 200),
    Row("GET", "/metrics", None, 200),
    Row("GET", "/system/nothing", None, 404, "404 page not found\n"),
]  # fmt: skip


def test_every_request_is_answered_with_the_status_of_the_original(server: ApiserverProcess) -> None:
    for row in ROWS:  # in order: they build on each other
        answer = server.call(row.method, row.path, row.body)
        assert answer.status_code == row.status, f"{row}: {answer.text}"
        assert row.text is None or answer.text == row.text, row
        if row.status >= 400 and row.text is None:
            assert re.fullmatch(r"[^\n]+\n", answer.text), row  # one sentence


def test_a_status_is_the_deployment_and_how_it_is(server: ApiserverProcess) -> None:
    answer = server.call("GET", "/system/function/full?namespace=tenant")
    assert answer.headers["Content-Type"] == "application/json; charset=utf-8"
    status = answer.json()
    created_at = status.pop("createdAt")
    assert datetime.fromisoformat(created_at).tzinfo is not None
    wanted = {key: value for key, value in FULL.items() if key != "service"}
    assert status == {**wanted, "name": "full", "invocationCount": 0, "replicas": 2, "availableReplicas": 2}
    listed = server.call("GET", "/system/functions?namespace=tenant").json()
    assert listed == [{**status, "createdAt": created_at}]
    assert server.call("GET", "/system/functions?namespace=nobody").json() == []


def test_secrets_are_listed_by_name(server: ApiserverProcess) -> None:
    assert {"name": "kept", "namespace": "openfaas-fn"} in server.call("GET", "/system/secrets").json()
    assert {"name": "db", "namespace": "tenant"} in server.call("GET", "/system/secrets?namespace=tenant").json()
    assert server.call("GET", "/system/secrets?namespace=nobody").json() == []


def test_a_namespace_keeps_what_it_was_given(server: ApiserverProcess) -> None:
    assert {"openfaas-fn", "tenant"} <= set(server.call("GET", "/system/namespaces").json())
    body = {"name": "kept", "annotations": {"openfaas": "1", "directfaas/route": "direct"}, "labels": {"a": "b"}}
    assert server.call("POST", "/system/namespace/", body).status_code == 201
    assert server.call("GET", "/system/namespace/kept").json() == body


def test_info_has_the_shape_of_a_provider(server: ApiserverProcess) -> None:
    info = server.call("GET", "/system/info").json()
    assert set(info) == {"provider", "version", "orchestration"}
    assert set(info["version"]) == {"commit_message", "sha", "release"}
    assert all(isinstance(one, str) for one in (info["provider"], info["orchestration"], *info["version"].values()))


def test_logs_are_lines_of_json(server: ApiserverProcess) -> None:
    answer = server.call("GET", "/system/logs?name=echo&namespace=openfaas-fn&tail=-1&follow=false")
    assert answer.headers["Content-Type"] == "application/x-ndjson"
    common = '"name":"echo","namespace":"openfaas-fn","instance":"echo.openfaas-fn.1"'
    first, second = (
        f'{{{common},"timestamp":"2026-01-01T00:00:01Z","text":"one"}}\n',
        f'{{{common},"timestamp":"2026-01-01T00:00:02.5Z","text":"two"}}\n',
    )
    assert answer.text == first + second
    for query in ("tail=1", "since=2026-01-01T00:00:02Z", "since=2026-01-01T02:00:02%2B02:00", "tail=1&since="):
        assert server.call("GET", f"/system/logs?name=echo&{query}").text == second
    assert server.call("GET", "/system/logs?name=echo&instance=echo.openfaas-fn.1").text == first + second
    assert server.call("GET", "/system/logs?name=echo.openfaas-fn").text == first + second


def samples(server: ApiserverProcess) -> dict[str, float]:
    lines = [line for line in server.call("GET", "/metrics").text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


def test_metrics_count_requests_by_code_method_and_path(server: ApiserverProcess, tmp_path: Path) -> None:
    def count(code: int, method: str, path: str) -> float:
        return samples(server).get(f'provider_http_requests_total{{code="{code}",method="{method}",path="{path}"}}', 0)

    answer = server.call("GET", "/metrics")
    assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    assert "# TYPE provider_http_requests_total counter\n" in answer.text
    assert "# TYPE provider_http_request_duration_seconds histogram\n" in answer.text
    wanted = {
        (202, "POST", "/system/scale-function"): ("/system/scale-function/echo", {"replicas": 1}),
        (404, "GET", "/system/function"): ("/system/function/nobody", None),
        (200, "GET", "/system/functions"): ("/system/functions", None),
        (404, "GET", "/system/namespace"): ("/system/namespace/nobody", None),
    }
    before = {row: count(*row) for row in wanted}
    for (_, method, _), (path, body) in wanted.items():
        server.call(method, path, body)
    assert {row: count(*row) - before[row] for row in wanted} == dict.fromkeys(wanted, 1)
    labels = 'code="202",method="POST",path="/system/scale-function"'
    now = samples(server)
    name = "provider_http_request_duration_seconds"
    assert now[f"{name}_count{{{labels}}}"] == now[f'{name}_bucket{{{labels},le="+Inf"}}'] == before[
        202, "POST", "/system/scale-function"
    ] + 1  # fmt: skip
    assert now[f"{name}_sum{{{labels}}}"] > 0
    assert not any("/healthz" in name or "/metrics" in name or "/watch" in name for name in now)

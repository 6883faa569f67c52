"""The gateway's interface as a table: what OpenFaaS's gateway answers, line by line, asked of a real process.

`Line`s give request, status, headers (a pattern each) and the body's shape (a pattern, or a function that
judges it). The provider behind is a stub whose answers a line may set.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.unit.platform.gateway.gateway_processes import BASIC
from tests.unit.platform.gateway.gateway_rig import Rig, rig

Body = str | Callable[[Any], bool]
"""A pattern that the whole body matches, or a judgement of the body read as JSON."""
TEXT = "text/plain; charset=utf-8"
NOTHING_FOUND = "404 page not found\n"
UNKNOWN = (
    "error finding function {0}.{1}: server returned non-200 status code (404) for function, {0}, body: "
)  # fmt: skip
CALL_ID = r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"


@dataclass(frozen=True)
class Line:
    """`absent` names headers that must not be there; `provider` is the stub's (status, body)."""

    method: str
    path: str
    status: int
    body: Body = ""
    headers: dict[str, str] = field(default_factory=dict)
    absent: tuple[str, ...] = ()
    send: dict[str, str] = field(default_factory=dict)
    content: bytes | None = None
    provider: tuple[int, str] | None = None

    def __str__(self) -> str:
        return f"{self.method} {self.path} {self.status}"


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    with rig(tmp_path_factory.mktemp("gateway")) as one:
        one.backend("f")
        one.backend("f", namespace="other")
        one.apiserver.function(
            "labelled", one.address(), labels={"com.openfaas.scale.min": "2", "com.openfaas.scale.type": "capacity",
                                               "com.openfaas.scale.target": "50"},
        )  # fmt: skip
        one.gateway.wait_for(one.apiserver)
        yield one


def holds(line: Line, got: tuple[int, Any, bytes]) -> None:
    status, headers, body = got
    assert status == line.status, body
    for name, pattern in line.headers.items():
        assert re.fullmatch(pattern, headers[name] or ""), (name, headers[name])
    assert not set(line.absent) & set(headers.keys())
    if callable(line.body):
        assert line.body(json.loads(body)), body
    else:
        assert re.fullmatch(line.body, body.decode(), re.DOTALL), body


FUNCTION_LINES = [
    *(
        Line(method, path, 200, lambda got: got["method"] != "", {"X-Call-Id": CALL_ID, "X-Start-Time": r"\d{19}"})
        for method in ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
        for path in ("/function/f", "/function/f/", "/function/f.other/a/b?c=d")
    ),
    Line("GET", "/function/f", 200, lambda got: True, absent=("X-Call-Id",), send={"X-Call-Id": "given"}),
    Line("HEAD", "/function/f", 200),
    Line("TRACE", "/function/f", 405),
    Line("GET", "/function/ghost", 404, re.escape(UNKNOWN.format("ghost", "openfaas-fn")), absent=("X-Call-Id",)),
    Line("GET", "/function/a.b.c/x", 404, re.escape(UNKNOWN.format("a.b", "c")), absent=("X-Call-Id",)),
    Line("GET", "/function/with%20space", 404, NOTHING_FOUND, {"Content-Type": TEXT}),
    Line("POST", "/async-function/f", 404, NOTHING_FOUND),
    Line("POST", "/async-function/f/path", 404, NOTHING_FOUND),
]
PASSED_ON = [
    ("POST", "/system/functions"),
    ("PUT", "/system/functions"),
    ("DELETE", "/system/functions"),
    ("POST", "/system/scale-function/f?namespace=openfaas-fn"),
    ("GET", "/system/secrets"),
    ("POST", "/system/secrets"),
    ("PUT", "/system/secrets"),
    ("DELETE", "/system/secrets"),
    ("GET", "/system/namespaces"),
    ("GET", "/system/namespace/other"),
    ("POST", "/system/namespace/other"),
    ("PUT", "/system/namespace/other"),
    ("DELETE", "/system/namespace/other"),
    ("GET", "/system/telemetry"),
]
OWN = [
    ("GET", "/system/functions"),
    ("GET", "/system/function/f"),
    ("GET", "/system/info"),
    ("POST", "/system/alert"),
    ("GET", "/system/logs?name=f"),
    ("GET", "/ui/"),
]
REFUSED = {"Www-Authenticate": r'Basic realm="Restricted"'}
SYSTEM_LINES = [
    *(
        Line(method, path, 202, lambda got: True, absent=("X-Call-Id", "X-Start-Time"), send=BASIC, content=b"{}")
        for method, path in PASSED_ON
    ),
    *(
        Line(method, path, 418, "as it is", send=BASIC, content=b"{}", provider=(418, "as it is"))
        for method, path in PASSED_ON
    ),
    *(Line(method, path, 401, "invalid credentials", REFUSED) for method, path in PASSED_ON + OWN),
    *(
        Line(method, path, 401, "invalid credentials", REFUSED, send={"Authorization": "Basic " + "eA=="})
        for method, path in PASSED_ON + OWN
    ),
    *(
        Line(method, path, 405, send=BASIC)
        for method, path in [
            ("PATCH", "/system/functions"),
            ("POST", "/system/function/f"),
            ("GET", "/system/scale-function/f"),
            ("POST", "/system/info"),
            ("GET", "/system/alert"),
            ("PATCH", "/system/secrets"),
            ("POST", "/system/logs"),
            ("POST", "/system/namespaces"),
            ("PATCH", "/system/namespace/x"),
            ("POST", "/system/telemetry"),
            ("POST", "/healthz"),
            ("POST", "/ui/"),
            ("POST", "/"),
        ]
    ),
    *(
        Line("GET", path, 404, NOTHING_FOUND, send=BASIC)
        for path in ("/system", "/system/", "/system/other", "/system/function/", "/system/function/a/b", "/metrics",
                     "/system/tokens", "/tokens", "/watch", "/state", "/ui", "/ui/absent")
    ),
    Line("GET", "/", 307, r'<a href="/ui/">Temporary Redirect</a>\.\n\n', {"Location": "/ui/"}),
    Line("GET", "/healthz", 200, "OK", provider=(200, "OK")),
    Line("GET", "/healthz", 503, "no", provider=(503, "no")),
    Line("GET", "/ui/", 200, r"<!doctype html>.*<td>labelled</td>.*</html>\n", {"Content-Type": "text/html.*"},
         send=BASIC),
    Line("GET", "/system/functions?namespace=x", 503, "gone", send=BASIC, provider=(503, "gone")),
    Line("GET", "/system/functions", 500, "Unable to parse list of functions from provider\n", send=BASIC,
         provider=(200, "{")),
    Line("GET", "/system/functions", 200, lambda got: got == [], {"Content-Type": "application/json"}, send=BASIC,
         provider=(200, "[]")),
    Line("GET", "/system/function/ghost", 404, "none", send=BASIC, provider=(404, "none")),
    Line(
        "GET", "/system/info", 200,
        lambda got: got["provider"] == {"provider": "p", "orchestration": "o", "version": {"release": "1"}}
        and set(got["version"]) == {"commit_message", "sha", "release"} and bool(got["arch"]),
        {"Content-Type": "application/json"}, send=BASIC,
        provider=(200, '{"provider": "p", "orchestration": "o", "version": {"release": "1"}}'),
    ),
    Line("GET", "/system/info", 200, lambda got: got["provider"] is None, send=BASIC, provider=(500, "broken")),
    Line("GET", "/system/logs?name=f", 200, r'(\{"text": "line \d"\}\n){3}', {"Content-Type": "application/x-ndjson"},
         send=BASIC),
    Line("GET", "/system/logs?name=f", 501, "", send=BASIC, provider=(404, "no such function")),
    Line("GET", "/system/logs?name=f", 501, "", send=BASIC, provider=(501, "no logs here")),
    Line("GET", "/system/logs?name=f", 500, r"unknown log request error \(503\)\n", send=BASIC, provider=(503, "x")),
    Line("POST", "/system/alert", 400, r"Unable to parse alert, bad format\.", send=BASIC, content=b"{"),
    Line("POST", "/system/alert", 400, r"Unable to parse alert, bad format\.", send=BASIC, content=b"[]"),
    Line("POST", "/system/alert", 200, "", send=BASIC, content=b'{"alerts": []}'),
    Line("POST", "/system/alert", 413, send=BASIC, body="413 Content Too Large", content=b" " * (1 << 20) + b"{}"),
]  # fmt: skip


@pytest.mark.parametrize("line", FUNCTION_LINES + SYSTEM_LINES, ids=str)
def test_the_line_holds(lab: Rig, line: Line) -> None:
    path = line.path.partition("?")[0]
    lab.apiserver.answers = {(line.method, path): [line.provider]} if line.provider else {}
    holds(line, lab.gateway.request(line.method, line.path, line.content, line.send))


def test_counts_of_the_gateway_replace_the_providers(lab: Rig) -> None:
    for _ in range(3):
        lab.gateway.request("GET", "/function/f.other")
    made = lab.counted("f", 200, "other")
    here = {"name": "f", "namespace": "other", "invocationCount": 7, "replicas": 1, "labels": None}
    never = {"name": "labelled", "namespace": "openfaas-fn", "invocationCount": 9}
    lab.apiserver.answers = {
        ("GET", "/system/functions"): [(200, json.dumps([here, never]))],
        ("GET", "/system/function/f"): [(200, json.dumps(here))],
    }
    listed = json.loads(lab.gateway.request("GET", "/system/functions?namespace=other", headers=BASIC)[2])
    assert listed == [{**here, "invocationCount": made}, {**never, "invocationCount": 0}]
    assert lab.apiserver.requests[-1][1] == "/system/functions?namespace=other"
    status = lab.gateway.request("GET", "/system/function/f?namespace=other&usage=1", headers=BASIC)[2]
    assert json.loads(status)["invocationCount"] == made
    assert lab.apiserver.requests[-1][1] == "/system/function/f?namespace=other&usage=1"


@pytest.mark.parametrize(
    ("status", "replicas", "labels", "wanted"),
    [
        ("firing", 1, {}, [5]),
        ("firing", 1, {"com.openfaas.scale.max": "5"}, [2]),
        ("firing", 20, {}, []),  # no request for what is there already
        ("resolved", 8, {"com.openfaas.scale.min": "2"}, [2]),
        ("resolved", 1, {}, []),
    ],
)
def test_an_alert_scales(lab: Rig, status: str, replicas: int, labels: dict[str, str], wanted: list[int]) -> None:
    lab.apiserver.requests.clear()
    function = {"name": "f", "namespace": "other", "replicas": replicas, "labels": labels}
    lab.apiserver.answers = {
        ("GET", "/system/function/f"): [(200, json.dumps(function))],
        ("POST", "/system/scale-function/f"): [(202, "")],
    }
    alert = {"labels": {"alertname": "APIHighInvocationRate", "function_name": "f.other"}, "status": status}
    body = {"receiver": "scale-up", "status": status, "alerts": [alert]}
    assert lab.gateway.request("POST", "/system/alert", json.dumps(body).encode(), BASIC)[::2] == (200, b"")
    requests = lab.apiserver.asked("POST", "/system/scale-function/f")
    assert [(one["namespace"], one["replicas"]) for one in requests] == [("other", number) for number in wanted]


def test_an_alert_that_cannot_be_obeyed_is_500_and_one_for_nobody_is_ignored(lab: Rig) -> None:
    lab.apiserver.answers = {
        ("GET", "/system/function/f"): [(200, '{"name": "f", "replicas": 1, "labels": null}')],
        ("GET", "/system/function/ghost"): [(404, "")],
        ("POST", "/system/scale-function/f"): [(500, "")],
    }
    alerts = [{"status": "firing", "labels": {"function_name": name}} for name in ("f", "ghost", "../secrets", "")]
    status, _, body = lab.gateway.request("POST", "/system/alert", json.dumps({"alerts": alerts}).encode(), BASIC)
    assert status == 500
    assert re.fullmatch(rb"\[0\] error scaling HTTP code 500, http://.*/system/scale-function/f\?.*\n", body)


METRICS = [
    ("gateway_function_invocation_total", "counter", {"code", "function_name"}),
    ("gateway_function_invocation_started", "counter", {"function_name"}),
    ("gateway_functions_seconds", "histogram", {"code", "function_name"}),
    ("gateway_service_count", "gauge", {"function_name"}),
    ("gateway_service_min", "gauge", {"function_name"}),
    ("gateway_service_target_load", "gauge", {"function_name", "scaling_type"}),
    ("http_requests_total", "counter", {"method", "path", "status"}),
    ("http_request_duration_seconds", "histogram", {"method", "path", "status"}),
]


@pytest.mark.parametrize(("name", "kind", "labels"), METRICS, ids=[name for name, _, _ in METRICS])
def test_the_metric_has_openfaas_name_type_and_labels(lab: Rig, name: str, kind: str, labels: set[str]) -> None:
    lab.apiserver.answers = {}
    lab.gateway.request("GET", "/function/f")
    lab.gateway.request("GET", "/system/namespaces", headers=BASIC)
    text = lab.gateway.monitor("/metrics")[2].decode()
    assert f"# TYPE {name} {kind}\n" in text
    suffix = "_bucket" if kind == "histogram" else ""
    found = re.findall(rf"^{name}{suffix}{{(.*)}} \S+$", text, re.MULTILINE)
    assert found
    wanted = labels | ({"le"} if kind == "histogram" else set())
    assert {frozenset(re.findall(r'(\w+)="', one)) for one in found} == {frozenset(wanted)}


def test_buckets_are_the_go_clients(lab: Rig) -> None:
    lab.gateway.request("GET", "/function/f")
    text = lab.gateway.monitor("/metrics")[2].decode()
    bounds = re.findall(r'gateway_functions_seconds_bucket{code="200",function_name="f.openfaas-fn",le="(.*?)"}', text)
    assert bounds == ["0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1", "2.5", "5", "10", "+Inf"]


def test_gauges_follow_the_labels(lab: Rig) -> None:
    metric, f, labelled = lab.gateway.metric, "f.other", "labelled.openfaas-fn"
    assert [metric("gateway_service_min", function_name=name) for name in (f, labelled)] == [1, 2]
    assert metric("gateway_service_count", function_name=f) == 1
    assert metric("gateway_service_target_load", function_name=f, scaling_type="rps") == 10
    assert metric("gateway_service_target_load", function_name=labelled, scaling_type="capacity") == 50


def test_system_requests_are_counted_once_each_and_refused_ones_not(lab: Rig) -> None:
    lab.apiserver.answers = {}
    labels = {"method": "GET", "path": "/system/namespaces", "status": "202"}
    before = lab.gateway.metric("http_requests_total", **labels)
    for headers in (BASIC, {}, BASIC):
        lab.gateway.request("GET", "/system/namespaces?x=1", headers=headers)
    assert lab.gateway.metric("http_requests_total", **labels) == before + 2
    assert lab.gateway.metric("http_request_duration_seconds_count", **labels) == before + 2
    assert b'status="401"' not in lab.gateway.monitor("/metrics")[2]


def test_the_second_port_has_metrics_and_health_and_nothing_else(lab: Rig) -> None:
    assert lab.gateway.monitor("/healthz")[::2] == (200, b"")
    assert lab.gateway.monitor("/")[::2] == (404, NOTHING_FOUND.encode())
    assert lab.gateway.monitor("/function/f")[0] == 404


def test_the_page_escapes_what_tenants_chose(lab: Rig) -> None:
    lab.apiserver.function("odd", lab.address(), namespace="other", image="<script>alert(1)</script>")
    lab.gateway.wait_for(lab.apiserver)
    body = lab.gateway.request("GET", "/ui/", headers=BASIC)[2].decode()
    assert "<script" not in body
    assert "&lt;script&gt;alert(1)" in body


def test_the_gateway_left_no_traceback(lab: Rig) -> None:
    assert "Traceback" not in lab.gateway.log.read_text()

"""Where request targets lead, as a pure decision; settings; counters as text."""

from __future__ import annotations

from pathlib import Path
from uuid import UUID

import pytest

from testbed.model.errors import EnvironmentProblem, UsageError
from testbed.platform.common import http1
from testbed.platform.common.prometheus import Histogram, family, sample
from testbed.platform.gateway.config import from_environment
from testbed.platform.gateway.http.exchange import call_ids, next_call_id
from testbed.platform.gateway.service.routes import Kind, full_name, match


@pytest.mark.parametrize(
    ("target", "name", "upstream"),
    [
        (b"/function/f", b"f", b"/"),
        (b"/function/f/", b"f", b"/"),
        (b"/function/f/a/b", b"f", b"/a/b"),
        (b"/function/f.ns/a", b"f.ns", b"/a"),
        (b"/function/f?x=1&y=/2", b"f", b"/?x=1&y=/2"),
        (b"/function/f/a?x", b"f", b"/a?x"),
        (b"/function/f//a/../b", b"f", b"//a/../b"),
        (b"http://gateway:8080/function/f/a?x=1", b"f", b"/a?x=1"),
        (b"/function/A-b_9.x.y", b"A-b_9.x.y", b"/"),
    ],
)
def test_a_function_target_gives_name_and_upstream_target(target: bytes, name: bytes, upstream: bytes) -> None:
    assert match(target) == (Kind.FUNCTION, name, upstream)


@pytest.mark.parametrize(
    "target", [b"/x", b"/function/", b"/function", b"/function/a%2db", b"/functions/f", b"*", b"x:1"]
)
def test_other_targets_lead_nowhere(target: bytes) -> None:
    assert match(target)[0] is Kind.NOTHING


def test_system_and_health_are_told_apart_from_functions() -> None:
    assert match(b"/system/functions?namespace=a") == (Kind.FUNCTIONS, b"", b"/system/functions?namespace=a")
    assert match(b"/healthz?x")[0] is Kind.HEALTH
    assert match(b"/system")[0] is Kind.NOTHING


def test_a_name_is_split_at_its_last_dot() -> None:
    assert full_name("a.b.ns", "default") == ("a.b", "ns")
    assert full_name("a", "default") == ("a", "default")


def test_settings_default_to_what_openfaas_chart_sets() -> None:
    config = from_environment({})
    assert (config.read_timeout_s, config.write_timeout_s, config.upstream_timeout_s) == (65, 65, 60)
    assert (config.port, config.metrics_port, config.function_port) == (8080, 8082, 8080)
    assert (config.pooled, config.max_idle_conns_per_host, config.credentials) == (True, 1024, None)
    assert (config.apiserver_host, config.apiserver_port) == ("172.31.0.1", 8081)


@pytest.mark.parametrize(
    ("name", "value"),
    [("gateway_upstream", "never"), ("read_timeout", "soon"), ("port", "http"), ("apiserver_url", "nowhere")],
)
def test_a_setting_that_makes_no_sense_is_named(name: str, value: str) -> None:
    with pytest.raises(UsageError, match=f"{name}={value}"):
        from_environment({name: value})


def test_a_missing_secret_is_named(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentProblem, match="basic-auth-user"):
        from_environment({"basic_auth": "true", "secret_mount_path": str(tmp_path)})


def test_a_histogram_renders_cumulative_buckets() -> None:
    histogram = Histogram((0.1, 1.0))
    for seconds in (0.05, 0.1, 0.5, 7.0):
        histogram.observe(seconds)
    assert list(histogram.lines("h", {"code": "200"})) == [
        'h_bucket{code="200",le="0.1"} 2',
        'h_bucket{code="200",le="1"} 3',
        'h_bucket{code="200",le="+Inf"} 4',
        'h_sum{code="200"} 7.65',
        'h_count{code="200"} 4',
    ]


def test_label_values_are_escaped_and_empty_families_left_out() -> None:
    assert sample("m", {"a": 'x"\\\n'}, 1.5) == 'm{a="x\\"\\\\\\n"} 1.5'
    assert family("m", "gauge", "help", []) == ""
    assert family("m", "gauge", "help", ["m 1"]) == "# HELP m help\n# TYPE m gauge\nm 1\n"


def test_headers_named_by_connection_are_hop_by_hop() -> None:
    names = http1.nominated(b"close, X-Secret,keep-alive,")
    assert names == {b"x-secret"}
    assert not http1.nominated(b"close,")
    assert not http1.nominated(b"Keep-Alive,")
    assert http1.without([b"X-Secret: 1\r\n", b"X-Other: 2\r\n"], names) == [b"X-Other: 2\r\n"]


def test_an_empty_piece_is_no_chunk() -> None:
    assert http1.chunk([]) == []
    assert http1.chunk([b""]) == []
    assert b"".join(http1.chunk([b"ab", b"c" * 14])) == b"10\r\nab" + b"c" * 14 + b"\r\n"


def test_call_ids_are_uuids_that_never_repeat() -> None:
    ids = [next_call_id() for _ in range(1000)]
    parsed = [UUID(one.decode()) for one in ids]
    assert [str(one).encode() for one in parsed] == ids
    assert {one.version for one in parsed} == {4}
    assert len(set(ids)) == 1000
    assert next(call_ids())[:24] != ids[0][:24]

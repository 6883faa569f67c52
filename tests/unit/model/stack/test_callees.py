"""Callee URLs are recognised in OpenFaaS' form, and so is every other way to name the gateway."""

from __future__ import annotations

import pytest

from testbed.model.stack import callees
from testbed.model.stack.callees import CalleeUrl


@pytest.mark.parametrize(
    ("value", "urls"),
    [
        ("http://gateway.openfaas:8080/function/two", [CalleeUrl("two")]),
        ("http://gateway:8080/function/two", [CalleeUrl("two")]),
        ("http://gateway.openfaas.svc.cluster.local:8080/function/two", [CalleeUrl("two")]),
        ("http://gateway:8080/function/two.tenant/a/b?x=1,2", [CalleeUrl("two", "tenant", "/a/b?x=1,2")]),
        ("http://gateway:8080/function/two?x=1", [CalleeUrl("two", "", "?x=1")]),
        ("http://gateway:8080/function/two/", [CalleeUrl("two", "", "/")]),
        (" http://gateway:8080/function/a,\n http://gateway:8080/function/b ", [CalleeUrl("a"), CalleeUrl("b")]),
        ("http://gateway.openfaas/function/two", []),
        ("https://gateway.openfaas:8080/function/two", []),
        ("http://gateway.openfaas:8080/async-function/two", []),
        ("http://gateway.other:8080/function/two", []),
        ("http://gateway:8080/function/a, http://example.org", []),
        ("see http://gateway:8080/function/a", []),
        ("", []),
    ],
)
def test_callee_urls_are_recognised(value: str, urls: list[CalleeUrl]) -> None:
    assert list(callees.parse(value)) == urls


@pytest.mark.parametrize(
    ("value", "mention"),
    [
        ("http://gateway.openfaas/function/two", "gateway.openfaas"),
        ("http://gateway.openfaas:8080/async-function/two", "gateway.openfaas:8080"),
        ("gateway.openfaas.svc.cluster.local", "gateway.openfaas.svc.cluster.local"),
        ("gateway:8080", "gateway:8080"),
        ("http://gateway/x", "//gateway"),
        (" GATEWAY ", "GATEWAY"),
        ("http://10.96.0.1:8080/function/two", "10.96.0.1"),
        ("172.31.0.2", "172.31.0.2"),
        ("10.96.0.11", ""),
        ("110.96.0.1", ""),
        ("my-gateway:8080", ""),
        ("payment gateway of the bank", ""),
        ("http://example.org/gateway", ""),
    ],
)
def test_other_mentions_of_the_gateway_are_found(value: str, mention: str) -> None:
    assert callees.mentions_gateway(value) == mention


def test_a_url_is_written_by_the_gateways_usual_name() -> None:
    assert CalleeUrl("two", "tenant", "/a?b").text() == "http://gateway.openfaas:8080/function/two.tenant/a?b"

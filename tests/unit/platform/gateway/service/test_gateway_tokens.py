"""Namespaces with a token: who gets in, who does not, and what happens while a token changes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator

import pytest

from testbed.model.cluster import Deployment, Route
from tests.unit.platform.gateway.gateway_processes import BASIC
from tests.unit.platform.gateway.gateway_rig import Rig, rig
from tests.unit.platform.gateway.loopback import wait_until


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    with rig(tmp_path_factory.mktemp("gateway")) as one:
        for namespace in ("alice", "bob", "open"):
            one.backend("f", namespace=namespace)
        tokens(one, alice=("token-a", 1), bob=("token-b", 1))
        yield one


def tokens(lab: Rig, **of: tuple[str, int]) -> None:
    """Give namespaces these tokens, in these revisions, and wait until the gateway knows."""
    digests = {namespace: hashlib.sha256(token.encode()).hexdigest() for namespace, (token, _) in of.items()}
    lab.apiserver.answers[("GET", "/tokens")] = [(200, json.dumps(digests))]
    for namespace, (_, revision) in of.items():
        lab.apiserver.change("deployment", Deployment(namespace, Route.GATEWAY, revision))
    lab.gateway.wait_for(lab.apiserver)
    wait_until(lambda: all(call(lab, namespace, bearer(token)) == 200 for namespace, (token, _) in of.items()))


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def call(lab: Rig, namespace: str, headers: dict[str, str] | None = None) -> int:
    return lab.gateway.request("GET", f"/function/f.{namespace}", headers=headers)[0]


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_the_own_token_opens(lab: Rig, scheme: str) -> None:
    assert call(lab, "alice", {"Authorization": f"{scheme} token-a"}) == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        bearer("token-b"),
        bearer(""),
        bearer("token-a "[:-2]),
        bearer("token-a token-a"),
        {"Authorization": "token-a"},
        {"Authorization": "Basic token-a"},
        {"Authorization": "Bearer"},
        bearer(hashlib.sha256(b"token-a").hexdigest()),
        BASIC,
        {"X-Forwarded-For": "127.0.0.1"},
        {"X-Forwarded-For": "127.0.0.1:8080", "X-Forwarded-Host": "gateway.openfaas:8080", "X-Call-Id": "x"},
        {"X-Authorization": "Bearer token-a"},
        {"Proxy-Authorization": "Bearer token-a"},
        {"Cookie": "token=token-a"},
        {**bearer("token-a"), "Connection": "Authorization"},
    ],
)
def test_nothing_else_does(lab: Rig, headers: dict[str, str]) -> None:
    before = lab.gateway.metric("gateway_function_invocation_started", function_name="f.alice")
    status, answer, body = lab.gateway.request("POST", "/function/f.alice", b"x", headers)
    assert status == 401
    challenge = 'Bearer realm="alice"'
    invalid = headers.get("Authorization", "").lower().startswith("bearer") and "Connection" not in headers
    assert answer["WWW-Authenticate"] == challenge + (', error="invalid_token"' if invalid else "")
    assert b"token-a" not in body
    assert lab.gateway.metric("gateway_function_invocation_started", function_name="f.alice") == before


def test_two_authorization_headers_are_none(lab: Rig) -> None:
    head = b"GET /function/f.alice HTTP/1.1\r\nHost: g\r\nConnection: close\r\n"
    line = b"Authorization: Bearer token-a\r\n"
    assert lab.raw(head + line + line + b"\r\n").startswith(b"HTTP/1.1 401")
    assert lab.raw(head + line + b"\r\n").startswith(b"HTTP/1.1 200")


def test_a_token_is_of_no_use_in_another_namespace(lab: Rig) -> None:
    assert call(lab, "bob", bearer("token-a")) == 401
    assert call(lab, "bob", bearer("token-b")) == 200


def test_names_in_a_guarded_namespace_cannot_be_tried_out(lab: Rig) -> None:
    assert lab.gateway.request("GET", "/function/ghost.alice")[0] == 401
    assert lab.gateway.request("GET", "/function/ghost.alice", headers=bearer("token-a"))[0] == 404
    assert lab.gateway.request("GET", "/function/ghost.open")[0] == 404


def test_namespaces_without_a_token_stay_open(lab: Rig) -> None:
    assert call(lab, "open") == 200
    assert call(lab, "open", bearer("anything")) == 200


def test_a_function_at_zero_is_not_woken_without_the_token(lab: Rig) -> None:
    lab.apiserver.function("cold", lab.address(), "alice", phase=None, replicas=0)
    lab.gateway.wait_for(lab.apiserver)
    assert lab.gateway.request("GET", "/function/cold.alice", headers=bearer("token-b"))[0] == 401
    assert lab.apiserver.asked("POST", "/system/scale-function/cold") == []


def test_a_replaced_token_is_of_no_more_use(lab: Rig) -> None:
    tokens(lab, alice=("token-a2", 2), bob=("token-b", 1))
    assert call(lab, "alice", bearer("token-a")) == 401
    tokens(lab, alice=("token-a", 3), bob=("token-b", 1))


def test_while_a_token_is_not_known_nobody_gets_in(lab: Rig) -> None:
    known = lab.apiserver.answers[("GET", "/tokens")]
    lab.apiserver.answers[("GET", "/tokens")] = [(500, "")]
    lab.backend("f", namespace="late")
    assert call(lab, "late") == 200
    lab.apiserver.change("deployment", Deployment("late", Route.GATEWAY, 1))
    lab.gateway.wait_for(lab.apiserver)
    for headers in (bearer("token-l"), {}):
        assert call(lab, "late", headers) == 503
    lab.apiserver.answers[("GET", "/tokens")] = known  # an apiserver that knows no digest for it
    wait_until(lambda: call(lab, "alice", bearer("token-a")) == 200)
    assert call(lab, "late") == 503
    digests = {**json.loads(known[0][1]), "late": hashlib.sha256(b"token-l").hexdigest()}
    lab.apiserver.answers[("GET", "/tokens")] = [(200, json.dumps(digests))]
    wait_until(lambda: call(lab, "late", bearer("token-l")) == 200)
    assert call(lab, "late") == 401
    lab.apiserver.change("deployment", Deployment("late", Route.GATEWAY, 0))
    wait_until(lambda: call(lab, "late") == 200)


def test_no_token_and_no_digest_is_in_the_log_or_the_metrics(lab: Rig) -> None:
    seen = lab.gateway.log.read_text() + lab.gateway.monitor("/metrics")[2].decode()
    for token in ("token-a", "token-b"):
        assert token not in seen
        assert hashlib.sha256(token.encode()).hexdigest() not in seen

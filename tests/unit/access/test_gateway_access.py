"""Whom the gateway and the provider proxy answer: every route, asked by everybody; and with whose proof they ask on."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from testbed.model import audiences
from testbed.model.audiences import Server
from testbed.model.cluster import Deployment
from testbed.model.credentials import bearer, component, credential
from testbed.platform.gateway.service import routes as gateway_routes
from testbed.platform.gateway.service.routes import Kind
from tests.authority import KEY, sent_by
from tests.unit.access.walk import ADMITTED, OTHER, OWN, askers, expected, routes, seen, target
from tests.unit.platform.gateway.gateway_processes import BASIC, GATEWAY
from tests.unit.platform.gateway.gateway_rig import Rig, rig
from tests.unit.platform.gateway.loopback import request

DEPLOYMENTS = {OWN: Deployment(OWN, born=5), OTHER: Deployment(OTHER, born=6)}
READER = credential(KEY, component("metrics-reader"))
ITSELF = bearer(credential(KEY, component("gateway")))
PROVIDER = "testbed.platform.gateway.provider_proxy"
SERVED = [
    (GATEWAY, Server.GATEWAY),
    (GATEWAY, Server.GATEWAY_METRICS),
    (PROVIDER, Server.PROVIDER_PROXY),
]


@pytest.fixture(scope="module")
def rigs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, Rig]]:
    folder = tmp_path_factory.mktemp("gateways")
    (folder / "credential").write_text(ITSELF.removeprefix("Bearer "))
    environment = {
        "TESTBED_CREDENTIAL": str(folder / "credential"),
        "metrics_readers": hashlib.sha256(READER.encode()).hexdigest(),
    }
    with rig(folder / "gateway", environment) as gateway, rig(folder / "provider", environment, PROVIDER) as provider:
        yield {GATEWAY: gateway, PROVIDER: provider}


@pytest.mark.parametrize(("module", "server"), SERVED)
def test_every_route_answers_whom_it_should(rigs: Mapping[str, Rig], module: str, server: Server) -> None:
    gateway = rigs[module].gateway
    port = gateway.metrics_port if server is Server.GATEWAY_METRICS else gateway.port
    wrong = []
    for asker in askers(DEPLOYMENTS):
        # The gateway knows the operator by basic auth, and of credentials only the one that reads its metrics.
        headers = BASIC if asker.name == "operator" else asker.headers
        for method, path, audience in routes(server):
            status = seen(request("127.0.0.1", port, method, target(path), None, headers)[0])
            wanted = expected(audience, asker)
            if status != (wanted if wanted == ADMITTED else 401):
                wrong.append(f"{asker.name}: {method} {path}: {status}")
    assert wrong == []


def test_the_gateways_routes_are_those_of_the_table() -> None:
    named = dict.fromkeys((Kind.FUNCTION,), "/function/{name}") | {Kind.UI: "/ui/"}
    named |= {kind: path.decode() for path, kind in gateway_routes._FIXED.items()}
    named |= {kind: path.decode() + "{name}" for path, kind in gateway_routes._NAMED.items()}
    assert set(named) == set(Kind) - {Kind.NOTHING}
    table = audiences.of(Server.GATEWAY)
    assert {path for _, path in table} == set(named.values())
    for kind, path in named.items():
        methods = {method.decode() for method in kind.methods or gateway_routes.FUNCTION_METHODS}
        assert {method for method, one in table if one == path} == methods
        assert {table[method, path].anybody for method in methods} == {not kind.protected}


def passed_on(one: Rig, method: str, path: str, headers: Mapping[str, str]) -> list[str | None]:
    """The proofs with which the apiserver was asked for this."""
    before = len(one.apiserver.requests)
    one.gateway.request(method, path, b'{"alerts": [{"status": "firing", "labels": {"function_name": "f"}}]}', headers)
    return [given.get("Authorization") for _, _, given, _ in one.apiserver.requests[before:]]


@pytest.mark.parametrize("module", [GATEWAY, PROVIDER])
@pytest.mark.parametrize(
    ("method", "path"),
    [(method, path) for method, path, _ in routes(Server.GATEWAY) if re.match("/system/(?!telemetry)", path)],
)
def test_nobody_is_lent_the_gateways_own_proof(rigs: Mapping[str, Rig], module: str, method: str, path: str) -> None:
    if module == PROVIDER and path == "/system/alert":
        return  # no route of a provider's
    asked = passed_on(rigs[module], method, target(path), BASIC)
    assert asked
    assert set(asked) == {BASIC["Authorization"]}


def test_a_gateway_without_basic_auth_lends_nothing_either(tmp_path: Path) -> None:
    (tmp_path / "credential").write_text(ITSELF.removeprefix("Bearer "))
    environment = {"TESTBED_CREDENTIAL": str(tmp_path / "credential"), "basic_auth": "false"}
    with rig(tmp_path / "gateway", environment) as one:
        for path in ("/system/functions", "/system/info", "/system/secrets"):
            assert passed_on(one, "GET", path, {}) == [None]
            stranger = sent_by(component("scaler"))
            assert passed_on(one, "GET", path, stranger) == [stranger["Authorization"]]


def test_with_its_own_proof_it_wakes_functions(rigs: Mapping[str, Rig]) -> None:
    one = rigs[GATEWAY]
    one.apiserver.function("cold", one.address(), phase=None, replicas=0)
    one.apiserver.answers["POST", "/system/scale-function/cold"] = [(400, "no")]
    one.gateway.wait_for(one.apiserver)
    before = len(one.apiserver.requests)
    assert one.gateway.request("GET", "/function/cold")[0] == 500
    asked = {given.get("Authorization") for _, _, given, _ in one.apiserver.requests[before:]}
    assert asked == {ITSELF}

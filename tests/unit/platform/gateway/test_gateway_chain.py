"""A chain of real function servers runs through a real gateway, and straight from one to the next."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from testbed.model.cluster import Deployment, Route
from tests.ports import free_port
from tests.unit.platform.gateway.fake_apiserver import FakeApiserver
from tests.unit.platform.gateway.gateway_processes import CHECKOUT, FunctionProcess, GatewayProcess
from tests.unit.platform.gateway.loopback import wait_until

HANDLER = CHECKOUT / "functions" / "chain" / "chain"


@pytest.fixture
def apiserver() -> Iterator[FakeApiserver]:
    server = FakeApiserver()
    yield server
    server.stop()


@pytest.mark.parametrize("connection", ["per-call", "keepalive"])
@pytest.mark.parametrize("upstream", ["pooled", "per-call"])
def test_a_nested_chain_of_three_runs_through_the_gateway(
    tmp_path: Path, apiserver: FakeApiserver, connection: str, upstream: str
) -> None:
    function_port = free_port()
    gateway = GatewayProcess(tmp_path, apiserver.port, function_port, {"gateway_upstream": upstream})
    functions = []
    for number in (1, 2, 3):
        environment = {"FUNCTION_NAME": f"chain-{number}", "CONNECTION": connection, "PAYLOAD_BYTES": "500"}
        if number < 3:
            environment["NEXT_URL"] = f"http://127.0.0.1:{gateway.port}/function/chain-{number + 1}"
        vip = f"127.1.0.{number}"
        functions.append(FunctionProcess(tmp_path / str(number), HANDLER, vip, function_port, environment))
        apiserver.function(f"chain-{number}", vip)
    gateway.wait_for(apiserver)
    try:
        for _ in range(10):
            status, _, body = gateway.request("GET", "/function/chain-1", headers={"X-Call-Id": "the-call"})
            assert status == 200, body
            assert json.loads(body)["functions"] == ["chain-1", "chain-2", "chain-3"]
            assert len(body) == 500
        expected = 10 if upstream == "per-call" else 1
        for number, function in enumerate(functions, 1):
            name = f"chain-{number}.openfaas-fn"
            assert gateway.metric("testbed_gateway_upstream_connections_total", function_name=name) == expected
            assert [one["call_id"] for one in function.invocations()] == ["the-call"] * 10
            assert {one["caller"] for one in function.invocations()} == {f"chain-{number - 1}" if number > 1 else ""}
    finally:
        codes = [process.stop() for process in (*functions, gateway)]
    assert codes == [0, 0, 0, 0]


@pytest.mark.parametrize("told", [True, False])
def test_functions_that_know_their_namespaces_token_send_it(
    tmp_path: Path, apiserver: FakeApiserver, told: bool
) -> None:
    function_port = free_port()
    gateway = GatewayProcess(tmp_path, apiserver.port, function_port)
    apiserver.answers[("GET", "/tokens")] = [(200, json.dumps({"t": hashlib.sha256(b"secret").hexdigest()}))]
    apiserver.change("deployment", Deployment("t", Route.GATEWAY, 1))
    (tmp_path / "gateway-token").write_text("secret\n")
    settings = {"TOKEN_FILE": str(tmp_path / "gateway-token")} if told else {}
    functions = []
    for number in (1, 2):
        environment = {"FUNCTION_NAME": f"chain-{number}", **settings}
        if number == 1:
            environment["NEXT_URL"] = f"http://127.0.0.1:{gateway.port}/function/chain-2.t"
        functions.append(
            FunctionProcess(tmp_path / str(number), HANDLER, f"127.1.1.{number}", function_port, environment)
        )
        apiserver.function(f"chain-{number}", f"127.1.1.{number}", "t")
    gateway.wait_for(apiserver)
    bearer = {"Authorization": "Bearer secret"}
    try:
        wait_until(lambda: gateway.request("GET", "/function/chain-2.t", headers=bearer)[0] == 200)
        status, _, body = gateway.request("GET", "/function/chain-1.t", headers=bearer)
        assert status == (200 if told else 502)
        assert told or b"answered 401" in body
    finally:
        codes = [process.stop() for process in (*functions, gateway)]
    assert codes == [0, 0, 0]

"""A chain of real function servers runs through a real gateway, and straight from one to the next."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from gateway_rig import CHECKOUT, FakeApiserver, FunctionProcess, GatewayProcess, free_port

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

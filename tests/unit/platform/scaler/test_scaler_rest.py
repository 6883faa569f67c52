"""The scaler's REST interface: statuses and bodies."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer

from testbed.model.cluster import ClusterState, Deployment, Function
from testbed.model.scaling.settings import PRESETS
from testbed.platform.scaler.activation import Activator
from testbed.platform.scaler.decisions import DecisionLog
from testbed.platform.scaler.engine import Engine
from testbed.platform.scaler.meter import Meter
from testbed.platform.scaler.rest import application
from testbed.platform.scaler.service import Scaler
from testbed.platform.scaler.sources import NotReadable
from tests.authority import AS_OPERATOR, KEYRING

PREFIX = "autoscaling.keda.sh/"
Client = TestClient[Any, Any]


def cluster() -> ClusterState:
    def function(name: str, replicas: int, **annotations: str) -> Function:
        told = {PREFIX + key: value for key, value in annotations.items()}
        return Function("t", name, 256, "10.96.1.0", "i", replicas, ingress=True, annotations=told)

    functions = [
        function("scaled", 1, threshold="10"),
        function("resting", 0, threshold="10"),
        function("paused", 0, paused="true"),
        function("plain", 0),
    ]
    return ClusterState(7, (1, 2), {"t": Deployment("t")}, {one.full_name: one for one in functions})


def ask(questions: Callable[[Client, Scaler], Awaitable[None]], state: ClusterState) -> None:
    """Run questions against a scaler that knows `state` and whose apiserver agrees to everything."""
    now_s = iter(range(100, 10_000))

    async def counters() -> dict[tuple[str, ...], float]:
        return {("scaled.t", "200"): 20.0 * next(now_s)}

    async def cpu(_: Function) -> float:
        raise NotReadable("no cgroups")

    async def scale(_: Function, __: int) -> None:
        return None

    async def run() -> None:
        clock = {"s": 100.0}
        meter = Meter({"gateway": counters, "switches": counters}, cpu, lambda: clock["s"])
        engine = Engine(PRESETS["lab"], meter, scale, DecisionLog(None), lambda: clock["s"])
        scaler = Scaler(engine, Activator(scale))
        scaler.changed(state)
        for _ in range(2):
            clock["s"] += 1
            await engine.tick()
        async with TestClient(TestServer(application(scaler, KEYRING)), headers=AS_OPERATOR) as client:
            await questions(client, scaler)

    asyncio.run(run())


@pytest.mark.parametrize(
    ("body", "status", "answer"),
    [
        ({"function": "resting.t"}, 202, {"replicas": 1}),
        ({"function": "plain.t"}, 202, {"replicas": 1}),
        ({"function": "scaled.t"}, 202, {"replicas": 1}),
        ({"function": "paused.t"}, 409, {"error": f"paused.t is paused; take its annotation {PREFIX}paused away"}),
        ({"function": "none.t"}, 404, {"error": "there is no function none.t; `testbed status` lists functions"}),
        ({"name": "plain.t"}, 400, {"error": 'the body must be {"function": "name.namespace"}'}),
    ],
)  # fmt: skip
def test_activation_answers_by_the_functions_state(body: dict[str, str], status: int, answer: dict[str, Any]) -> None:
    async def questions(client: Client, _: Scaler) -> None:
        async with client.post("/activate", json=body) as got:
            assert (got.status, await got.json()) == (status, answer)

    ask(questions, cluster())


def test_before_the_apiserver_has_told_anything_the_answer_is_to_come_again() -> None:
    async def questions(client: Client, _: Scaler) -> None:
        async with client.post("/activate", json={"function": "plain.t"}) as got:
            assert got.status == 503

    ask(questions, ClusterState())


def test_decisions_are_lines_of_json_from_a_number_on() -> None:
    async def questions(client: Client, scaler: Scaler) -> None:
        async with client.get("/decisions") as got:
            every = [json.loads(line) for line in (await got.text()).splitlines()]
        assert [one["number"] for one in every] == list(range(1, len(every) + 1))
        assert {one["function"] for one in every} == {"scaled.t", "resting.t", "paused.t"}
        async with client.get("/decisions?since=2&function=scaled.t") as got:
            some = [json.loads(line) for line in (await got.text()).splitlines()]
        assert some == [one for one in every if one["number"] > 2 and one["function"] == "scaled.t"]
        async with client.get("/decisions?since=x") as got:
            assert got.status == 400

    ask(questions, cluster())


def test_settings_metrics_and_the_dry_run() -> None:
    async def questions(client: Client, scaler: Scaler) -> None:
        async with client.get("/settings?function=scaled.t") as got:
            assert (await got.json())["settings"]["triggers"][0]["threshold"] == 10
        async with client.get("/settings?function=plain.t") as got:
            assert (await got.json())["settings"] is None
        async with client.get("/metrics-api/scaled.t/invocations") as got:
            assert await got.json() == {"value": 20.0}
        async with client.get("/metrics-api/plain.t/invocations") as got:
            assert got.status == 404
        async with client.get("/metrics") as got:
            page = await got.text()
        assert 'keda_scaler_active{namespace="t",scaledObject="scaled",metric="invocations"} 1\n' in page
        async with client.put("/dry-run", json={"dry_run": True}) as got:
            assert await got.json() == {"dry_run": True}
        assert scaler.engine.dry_run
        async with client.put("/dry-run", json={"dry_run": "yes"}) as got:
            assert (got.status, await got.json()) == (400, {"error": 'the body must be {"dry_run": true}'})

    ask(questions, cluster())

"""Whom the scaler answers: every route that it really has, asked by everybody."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from aiohttp import ClientSession, web
from aiohttp.test_utils import TestClient, TestServer

from testbed.model import audiences
from testbed.model.audiences import Server
from testbed.model.cluster import ClusterState, Deployment, Function
from testbed.model.credentials import namespace
from testbed.model.scaling.settings import PRESETS
from testbed.platform.scaler.activation import Activator
from testbed.platform.scaler.decisions import DecisionLog
from testbed.platform.scaler.engine import Engine
from testbed.platform.scaler.meter import Meter
from testbed.platform.scaler.rest import application
from testbed.platform.scaler.service import Scaler
from testbed.platform.scaler.sources import GatewayCounters
from tests.authority import KEYRING, sent_by
from tests.unit.access.walk import OTHER, OWN, askers, expected, routes, seen, target

DEPLOYMENTS = {OWN: Deployment(OWN, born=5), OTHER: Deployment(OTHER, born=6)}
FUNCTIONS = {f"f.{name}": Function(name, "f", 256, "10.96.1.0", "i", 1) for name in DEPLOYMENTS}


def scaler() -> Scaler:
    async def scale(_: Function, __: int) -> None:
        return None

    async def nothing(*_: Any) -> Any:
        return {}

    engine = Engine(PRESETS["lab"], Meter({}, nothing, lambda: 0.0), scale, DecisionLog(None), lambda: 0.0)
    made = Scaler(engine, Activator(scale))
    made.changed(ClusterState(7, (1, 2), DEPLOYMENTS, FUNCTIONS))
    return made


async def statuses(client: TestClient[Any, Any], headers: Mapping[str, str], *paths: str) -> list[int]:
    return [(await client.get(path, headers=headers)).status for path in paths]


def test_every_route_answers_whom_it_should() -> None:
    async def run() -> None:
        async with TestClient(TestServer(application(scaler(), KEYRING))) as client:
            found = {(route.method, route.resource.canonical) for route in client.app.router.routes() if route.resource}
            assert {one for one in found if one[0] != "HEAD"} == set(audiences.of(Server.SCALER))
            wrong = []
            for asker in askers(DEPLOYMENTS):
                for method, path, audience in routes(Server.SCALER):
                    data = b"{" if method != "GET" else None
                    async with client.request(method, target(path), headers=asker.headers, data=data) as answer:
                        if seen(answer.status) != expected(audience, asker):
                            wrong.append(f"{asker.name}: {method} {path}: {answer.status}")
            assert wrong == []

    asyncio.run(run())


def test_a_namespace_asks_about_its_own_functions_only() -> None:
    async def run() -> None:
        async with TestClient(TestServer(application(scaler(), KEYRING))) as client:
            proof = sent_by(namespace(DEPLOYMENTS[OWN]))
            refused = (
                "/decisions",
                "/settings",
                f"/settings?function=f.{OTHER}",
                f"/settings?function=f.{OWN}.{OTHER}",
            )
            assert await statuses(client, proof, *refused) == [403] * 4
            assert await statuses(client, proof, f"/decisions?function=f.{OWN}&function=f.{OTHER}") == [200]
            assert await statuses(client, proof, f"/decisions?function=f.{OTHER}&function=f.{OWN}") == [403]

    asyncio.run(run())


def test_the_gateway_is_shown_a_credential_of_its_own() -> None:
    """It may be a program of somebody else's: the scaler's own would be its to use."""
    shown: list[str | None] = []

    async def metrics(request: web.Request) -> web.Response:
        shown.append(request.headers.get("Authorization"))
        return web.Response()

    async def run() -> None:
        gateway = web.Application()
        gateway.add_routes([web.get("/metrics", metrics)])
        async with TestServer(gateway) as server, ClientSession(headers={"Authorization": "Bearer own"}) as session:
            await GatewayCounters(session, str(server.make_url("")).rstrip("/"), "for-the-gateway").read()

    asyncio.run(run())
    assert shown == ["Bearer for-the-gateway"]

"""Whom the apiserver answers: every route that it really has, asked by everybody."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from testbed.model import audiences
from testbed.model.audiences import Server
from testbed.model.cluster import Host, Phase, Role, Route
from testbed.model.credentials import credential, namespace
from testbed.platform.apiserver.cluster_state import ClusterKeeper
from testbed.platform.apiserver.process import Apiserver
from testbed.platform.apiserver.validation import function_request
from testbed.platform.common.guard import Guard
from tests.authority import AS_OPERATOR, BASIC_AUTH, KEY, KEYRING, as_agent, sent_by
from tests.unit.access.walk import OTHER, OWN, Asker, askers, expected, routes, seen, target

Client = TestClient[Any, Any]


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[ClusterKeeper]:
    """Two namespaces with a function each, whose only instances are on node2."""
    hosts = (Host("gateway", Role.GATEWAY, 1, 1, "10.201.0.1"),)
    keeper = ClusterKeeper(tmp_path / "db", (1, 2), hosts)
    for name in (OTHER, OWN):
        keeper.put_namespace(name, Route.DIRECT, create=True)
        keeper.create_function(function_request({"service": "f", "image": "i", "namespace": name}, "x"), "b")
    yield keeper
    keeper.close()


def ask(cluster: ClusterKeeper, folder: Path, questions: Callable[[Client], Awaitable[None]]) -> None:
    async def run() -> None:
        app = Apiserver(cluster, folder / "images", folder / "functions", KEYRING, heartbeat_s=0.1).application()
        async with TestClient(TestServer(app)) as client:
            await questions(client)

    asyncio.run(run())


async def status(client: Client, method: str, path: str, asker: Asker) -> int:
    async with client.request(method, path, headers=asker.headers, data=b"{" if method != "GET" else None) as answer:
        return seen(answer.status)


def test_every_route_answers_whom_it_should(cluster: ClusterKeeper, tmp_path: Path) -> None:
    async def questions(client: Client) -> None:
        table = {(route.method, route.resource.canonical) for route in client.app.router.routes() if route.resource}
        table = {(method, path) for method, path in table if method != "HEAD"}
        assert table == set(audiences.of(Server.APISERVER))
        wrong = []
        for asker in askers(cluster.state.deployments):
            for method, path, audience in routes(Server.APISERVER):
                found = await status(client, method, target(path), asker)
                if found != expected(audience, asker):
                    wrong.append(f"{asker.name}: {method} {path}: {found}")
        assert wrong == []

    ask(cluster, tmp_path, questions)


@pytest.mark.parametrize("caller", ["nobody", f"namespace {OTHER}", "scaler"])
def test_who_may_not_ask_learns_nothing_of_what_there_is(cluster: ClusterKeeper, tmp_path: Path, caller: str) -> None:
    """A name that exists is refused as one that does not, and a body that is wrong as one that is right."""

    async def questions(client: Client) -> None:
        [asker] = [one for one in askers(cluster.state.deployments) if one.name == caller]
        for method, path, audience in routes(Server.APISERVER):
            if expected(audience, asker) in (401, 403):
                answers = []
                for name in (OWN, "ghost"):
                    for body in (b"{", b"{}"):
                        async with client.request(method, target(path, name), headers=asker.headers, data=body) as one:
                            answers.append((one.status, await one.text()))
                assert len(set(answers)) == 1, path

    ask(cluster, tmp_path, questions)


def test_what_is_not_there_is_told_only_to_those_who_are_known(cluster: ClusterKeeper, tmp_path: Path) -> None:
    async def questions(client: Client) -> None:
        for method, path in (("GET", "/nothing"), ("PATCH", "/system/functions")):
            async with client.request(method, path) as refused:
                assert refused.status == 401
                assert refused.headers.getall("WWW-Authenticate") == ['Bearer realm="testbed"', 'Basic realm="testbed"']
            async with client.request(method, path, headers=AS_OPERATOR) as answer:
                assert answer.status in (404, 405)

    ask(cluster, tmp_path, questions)


def test_openfaas_basic_auth_is_the_operators(cluster: ClusterKeeper, tmp_path: Path) -> None:
    async def questions(client: Client) -> None:
        async with client.get("/system/namespaces", headers={"Authorization": BASIC_AUTH}) as answer:
            assert (answer.status, await answer.json()) == (200, ["openfaas-fn", OWN, OTHER])

    ask(cluster, tmp_path, questions)


def test_a_namespace_is_told_its_own_state_only(cluster: ClusterKeeper, tmp_path: Path) -> None:
    async def questions(client: Client) -> None:
        proof = sent_by(namespace(cluster.state.deployments[OWN]))
        state = await (await client.get("/state", headers=proof)).json()
        assert [one["namespace"] for one in state["deployments"] + state["functions"] + state["instances"]] == [OWN] * 3
        assert state["hosts"] == []
        assert OTHER not in await (await client.get("/state", headers=proof)).text()
        sneaking = (
            f"/system/logs?name=f.{OTHER}&namespace={OWN}",
            f"/system/functions?namespace={OTHER}&namespace={OWN}",
            "/system/functions",
            f"/instances/f.{OTHER}.1?namespace={OWN}",
            f"/system/namespace/{OTHER}?name={OWN}",
        )
        for path in sneaking:
            assert (await client.get(path, headers=proof)).status == 403, path

    ask(cluster, tmp_path, questions)


def test_an_agent_speaks_of_its_own_node_only(cluster: ClusterKeeper, tmp_path: Path) -> None:
    async def questions(client: Client) -> None:
        ready = {"phase": "Ready"}
        for method, path in (("GET", "/secrets"), ("PUT", "/phase"), ("DELETE", "")):
            for node, right in ((3, False), (2, True)):
                answer = await client.request(method, f"/instances/f.{OWN}.1{path}", json=ready, headers=as_agent(node))
                assert (answer.status == 403) is not right, (method, path, node)
                if not right:
                    assert cluster.state.instances[f"f.{OWN}.1"].phase is not Phase.READY or method == "DELETE"

    ask(cluster, tmp_path, questions)


def test_the_operator_hands_out_what_proves_to_be_a_namespace(cluster: ClusterKeeper, tmp_path: Path) -> None:
    async def questions(client: Client) -> None:
        given = await (await client.get(f"/credentials/{OWN}", headers=AS_OPERATOR)).json()
        assert given == {"credential": credential(KEY, namespace(cluster.state.deployments[OWN]))}
        assert (await client.get("/credentials/ghost", headers=AS_OPERATOR)).status == 404

    ask(cluster, tmp_path, questions)


def test_a_namespace_that_is_made_again_is_another_one(cluster: ClusterKeeper) -> None:
    before = cluster.state.deployments
    cluster.remove_namespace(OWN)  # its instance is still there
    cluster.put_namespace(OWN, Route.DIRECT, create=False)
    assert cluster.state.deployments[OWN].born > before[OWN].born
    cluster.put_namespace(OTHER, Route.DIRECT, create=False)  # this one goes on
    assert cluster.state.deployments[OTHER].born == before[OTHER].born


def test_a_route_without_an_audience_is_not_served() -> None:
    async def handler(_: web.Request) -> web.Response:
        return web.Response()

    app = web.Application()
    app.add_routes([web.get("/new", handler)])
    guard = Guard(Server.APISERVER, KEYRING, dict, lambda _: web.Response())
    with pytest.raises(KeyError, match="/new"):
        guard.check_routes(app)

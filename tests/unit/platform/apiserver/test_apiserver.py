"""The apiserver over HTTP: the faas-provider contract, the watch, and a real process that is killed."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from testbed.model.cluster import ClusterState
from testbed.platform.apiserver.cluster_state import ClusterKeeper
from testbed.platform.apiserver.process import Apiserver
from testbed.platform.apiserver.routes import http
from tests.authority import AS_OPERATOR, KEYRING, as_agent
from tests.unit.platform.apiserver.apiserver_rig import HOSTS, ApiserverProcess

ONE = {"service": "one", "image": "i", "namespace": "t", "annotations": {"directfaas/ingress": "true"}}

Scenario = Callable[[Any], Awaitable[None]]


def image(folder: Path) -> Path:
    (folder / "images" / "i").mkdir(parents=True)
    (folder / "images" / "i" / "template.yml").write_text("fprocess: python index.py")
    return folder / "images"


def serve(folder: Path, scenario: Scenario) -> None:
    """Run a scenario against an apiserver in this process."""

    @asynccontextmanager
    async def client() -> AsyncIterator[Any]:
        cluster = ClusterKeeper(folder / "db", (1, 2, 3), HOSTS)
        apiserver = Apiserver(cluster, image(folder), folder / "functions", KEYRING, heartbeat_s=0.2)
        async with TestClient(TestServer(apiserver.application()), headers=AS_OPERATOR) as made:
            yield made
        cluster.close()

    async def run() -> None:
        async with client() as made:
            await scenario(made)

    asyncio.run(run())


def test_a_function_lives_as_the_provider_contract_says(tmp_path: Path) -> None:
    async def scenario(client: Any) -> None:
        assert (await client.put("/system/functions", json=ONE)).status == 404
        body = {**ONE, "limits": {"memory": "64Mi"}, "envProcess": "x", "envVars": {"A": "b"}}
        assert (await client.post("/system/functions", json=body)).status == 202
        assert (await client.post("/system/functions", json=body)).status == 409
        assert (await client.put("/system/functions", json=body)).status == 202
        assert (await client.put("/instances/one.t.1/phase", json={"phase": "Ready"})).status == 204
        status = await (await client.get("/system/function/one?namespace=t")).json()
        assert status.pop("createdAt").endswith("Z")
        assert status == {
            "name": "one",
            "image": "i",
            "namespace": "t",
            "envVars": {"A": "b"},
            "envProcess": "x",
            "labels": {},
            "annotations": {"directfaas/ingress": "true"},
            "limits": {"memory": "64Mi"},
            "invocationCount": 0,
            "replicas": 1,
            "availableReplicas": 1,
        }
        listed = await (await client.get("/system/functions?namespace=t")).json()
        assert [one["name"] for one in listed] == ["one"]
        assert await (await client.get("/system/functions")).json() == []
        assert await (await client.get("/system/namespaces")).json() == ["openfaas-fn", "t"]
        scale = {"serviceName": "one", "replicas": 3, "namespace": "t"}
        assert (await client.post("/system/scale-function/one", json=scale)).status == 202
        assert (await client.post("/system/scale-function/two", json=scale)).status == 404
        delete = {"functionName": "one", "namespace": "t"}
        assert (await client.delete("/system/functions", json=delete)).status == 202
        assert (await client.delete("/system/functions", json=delete)).status == 404
        assert (await client.get("/system/function/one?namespace=t")).status == 404
        assert await (await client.get("/system/functions?namespace=t")).json() == []
        state = await (await client.get("/state")).json()
        for one in state["instances"]:
            assert (await client.delete(f"/instances/{one['id']}")).status == 204
        assert (await (await client.get("/state")).json())["functions"] == []

    serve(tmp_path, scenario)


def test_a_namespace_has_a_route(tmp_path: Path) -> None:
    async def scenario(client: Any) -> None:
        direct = {"name": "t", "annotations": {"directfaas/route": "direct"}}
        assert (await client.put("/system/namespace/t", json=direct)).status == 404
        assert (await client.post("/system/namespace/t", json=direct)).status == 201
        assert (await client.post("/system/functions", json=ONE)).status == 202
        answer = await client.put("/system/namespace/t", json={"name": "t"})
        assert answer.status == 409
        assert await answer.text() == (
            "namespace t has functions on the direct route; remove them before its route changes\n"
        )
        found = await (await client.get("/system/namespace/t")).json()
        assert found["annotations"] == {"directfaas/route": "direct"}
        assert (await client.delete("/system/namespace/t")).status == 202
        assert (await client.delete("/instances/one.t.1")).status == 204
        assert (await client.get("/system/namespace/t")).status == 404

    serve(tmp_path, scenario)


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "text"),
    [
        ("POST", "/system/functions", b"{", 400, "the request's body is not JSON\n"),
        ("POST", "/system/functions", b"[]", 400, "the request's body must be a JSON object\n"),
        (
            "POST",
            "/system/functions",
            b'{"service":"one","image":"j"}',
            400,
            "image j of function one is not built; deploy it with testbed deploy\n",
        ),
        ("POST", "/system/scale-function/one", b'{"replicas":1}', 404, "there is no function one.openfaas-fn\n"),
        ("GET", "/system/function/one", b"", 404, "there is no function one.openfaas-fn\n"),
        ("GET", "/watch?since=x", b"", 400, '"since" must be a version number, not "x"\n'),
        ("GET", "/watch?since=--5", b"", 400, '"since" must be a version number, not "--5"\n'),
        ("DELETE", "/instances/one.t.1", b"", 404, "there is no instance one.t.1\n"),
        (
            "PUT",
            "/instances/one.t.1/phase",
            b'{"phase":"Gone"}',
            400,
            '"phase" must be one of Pending, Ready, NotReady, Draining, not "Gone"\n',
        ),
    ],
)
def test_what_is_wrong_is_answered_with_one_sentence(
    tmp_path: Path, method: str, path: str, body: bytes, status: int, text: str
) -> None:
    async def scenario(client: Any) -> None:
        answer = await client.request(method, path, data=body)
        assert (answer.status, await answer.text()) == (status, text)

    serve(tmp_path, scenario)


def test_health_and_info(tmp_path: Path) -> None:
    async def scenario(client: Any) -> None:
        assert (await client.get("/healthz")).status == 200
        assert (await client.head("/healthz")).status == 200
        assert (await (await client.get("/system/info")).json())["orchestration"] == "mininet"

    serve(tmp_path, scenario)


def test_an_agent_is_given_secrets_and_gives_the_times_of_a_start(tmp_path: Path) -> None:
    async def scenario(client: Any) -> None:
        unknown = await client.post("/system/functions", json={**ONE, "secrets": ["db"]})
        assert (unknown.status, await unknown.text()) == (
            400,
            "there is no secret db in namespace t, which function one names; create it first\n",
        )
        await client.post("/system/secrets", json={"name": "db", "namespace": "t", "value": "hunter2"})
        await client.post("/system/secrets", json={"name": "gateway-token", "namespace": "t", "rawValue": "YQ=="})
        assert (await client.post("/system/functions", json={**ONE, "secrets": ["db"]})).status == 202
        assert await (await client.get("/instances/one.t.1/secrets", headers=as_agent(2))).json() == {
            "db": "aHVudGVyMg=="
        }
        assert await (await client.get("/tokens")).json() == {"t": sha256(b"a").hexdigest()}
        report = {"phase": "Pending", "timings": {"sandbox_ns": 7}}
        assert (await client.put("/instances/one.t.1/phase", json=report)).status == 204
        again = {"phase": "Ready", "timings": {"sandbox_ns": 8, "ready_ns": 9}}
        assert (await client.put("/instances/one.t.1/phase", json=again)).status == 204
        wrong = await client.put("/instances/one.t.1/phase", json={"phase": "Ready", "timings": {"ready_ns": "9"}})
        assert wrong.status == 400
        instance = await (await client.get("/instances/one.t.1")).json()
        timings = instance.pop("timings")
        assert 0 < timings.pop("decided_ns") < time.monotonic_ns()
        assert timings == {"sandbox_ns": 7, "ready_ns": 9}
        assert instance.pop("reason") == ""
        assert instance == (await (await client.get("/state")).json())["instances"][0]
        [start] = await (await client.get("/coldstarts")).json()
        assert (start["instance"], start["sandbox_ns"], start["ready_ns"]) == ("one.t.1", 7, 9)
        crashed = {"phase": "NotReady", "reason": "CrashLoopBackOff: ended with exit code 1; started again in 1 s"}
        assert (await client.put("/instances/one.t.1/phase", json=crashed)).status == 204
        assert (await (await client.get("/instances/one.t.1")).json())["reason"] == crashed["reason"]
        for path in ("/instances/one.t.9", "/instances/one.t.9/secrets"):
            assert (await client.get(path, headers=as_agent(2))).status == 404

    serve(tmp_path, scenario)


async def lines(answer: Any, count: int) -> list[dict[str, Any]]:
    return [json.loads(await answer.content.readline()) for _ in range(count)]


def test_a_watch_begins_with_a_snapshot_then_events_then_heartbeats(tmp_path: Path) -> None:
    async def scenario(client: Any) -> None:
        answer = await client.get("/watch")
        [snapshot] = await lines(answer, 1)
        await client.post("/system/functions", json=ONE)
        events = await lines(answer, 4)
        assert [event["type"] for event in (snapshot, *events)] == ["SNAPSHOT", "PUT", "PUT", "PUT", "HEARTBEAT"]
        assert [event["version"] for event in (snapshot, *events)] == [1, 2, 3, 4, 4]
        state = ClusterState()
        for event in (snapshot, *events):
            state = state.apply(event)
        assert state.to_json() == await (await client.get("/state")).json()
        answer.close()

    serve(tmp_path, scenario)


def test_a_watch_resumes_where_it_was_or_begins_anew(tmp_path: Path) -> None:
    async def scenario(client: Any) -> None:
        await client.post("/system/functions", json=ONE)
        resumed = await client.get("/watch?since=2")
        assert [event["version"] for event in await lines(resumed, 2)] == [3, 4]
        caught_up = await client.get("/watch?since=4")
        assert (await lines(caught_up, 1))[0]["type"] == "HEARTBEAT"
        unknown = await client.get("/watch?since=99")
        assert (await lines(unknown, 1))[0]["type"] == "SNAPSHOT"
        for answer in (resumed, caught_up, unknown):
            answer.close()

    serve(tmp_path, scenario)


def test_a_follower_of_a_log_that_goes_leaves_no_task(tmp_path: Path) -> None:
    (tmp_path / "functions").mkdir()
    (tmp_path / "functions" / "one.t.1.log").write_text("said\n")

    async def scenario() -> None:
        cluster = ClusterKeeper(tmp_path / "db", (1, 2, 3), HOSTS)
        application = Apiserver(cluster, image(tmp_path), tmp_path / "functions", KEYRING).application()
        runner = web.AppRunner(application)  # as in the process, a handler is not cancelled for it
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        before = len(asyncio.all_tasks())
        reader, writer = await asyncio.open_connection(*runner.addresses[0])
        proof = f"Authorization: {AS_OPERATOR['Authorization']}"
        writer.write(
            f"GET /system/logs?name=one&namespace=t&follow=true HTTP/1.1\r\nHost: x\r\n{proof}\r\n\r\n".encode()
        )
        await reader.readuntil(b"said")
        assert len(asyncio.all_tasks()) > before
        writer.close()
        deadline = time.monotonic() + 30
        while len(asyncio.all_tasks()) > before:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.05)
        await runner.cleanup()
        cluster.close()

    asyncio.run(scenario())


def test_a_watcher_that_takes_nothing_is_cut_off(tmp_path: Path) -> None:
    async def scenario() -> None:
        aborted = asyncio.Event()

        class Stuck:
            transport = type("Transport", (), {"abort": lambda self: aborted.set()})()

            async def write(self, data: bytes) -> None:
                await asyncio.Event().wait()

        with pytest.raises(ConnectionError):
            await http.send(Stuck(), Stuck(), b"x", stuck_after_s=0.01)  # type: ignore[arg-type]
        assert aborted.is_set()

    asyncio.run(scenario())


def test_a_killed_apiserver_has_lost_nothing_and_its_watchers_resume(tmp_path: Path) -> None:
    server = ApiserverProcess(tmp_path)
    try:
        check_that_nothing_is_lost(server)
    finally:
        server.end()


def check_that_nothing_is_lost(server: ApiserverProcess) -> None:
    secret = {"name": "gateway-token", "namespace": "t", "value": "hunter2"}
    server.call("POST", "/system/secrets", secret).raise_for_status()
    server.call("POST", "/system/functions", {**ONE, "secrets": ["gateway-token"]}).raise_for_status()
    server.ready("one.t")
    kept = dict.fromkeys(("/state", "/tokens", "/instances/one.t.1", "/metrics"), AS_OPERATOR)
    kept["/instances/one.t.1/secrets"] = as_agent(2)
    before = {path: server.call("GET", path, headers=proof).text for path, proof in kept.items()}
    assert server.end(signal.SIGKILL) == -signal.SIGKILL
    server.start()
    assert {path: server.call("GET", path, headers=proof).text for path, proof in kept.items()} == before
    version = server.state()["version"]
    with server.call("GET", f"/watch?since={version}", stream=True) as watch:
        scale = {"serviceName": "one", "namespace": "t", "replicas": 2}
        server.call("POST", "/system/scale-function/one", scale).raise_for_status()
        event = json.loads(next(watch.iter_lines(chunk_size=None)))
        assert (event["type"], event["version"]) == ("PUT", version + 1)
        assert server.end(signal.SIGTERM) == 0

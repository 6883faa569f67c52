"""Deploying an application: order, placement, progress, and clear words when it does not come up."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from testbed.model.application import Application, FunctionSpec
from testbed.model.cluster import Phase, Route
from testbed.model.errors import PlatformError
from testbed.platform.apiserver.cluster_state import ClusterKeeper
from testbed.platform.apiserver.process import Apiserver
from testbed.platform.client.platform import Platform
from tests.authority import KEYRING, lab_folder

NODES = (1, 2, 3)


def application(folder: Path = Path(), *names: str, **annotations: str) -> Application:
    """A nested chain of these functions, the first of them open to the world."""
    chain = names or ("one", "two", "three")
    return Application(
        "app",
        tuple(
            FunctionSpec(
                name,
                "python",
                str(folder / "handler"),
                "app:1",
                environment={"NEXT": f"http://gateway.openfaas:8080/function/{callee}"} if callee else {},
                annotations={
                    "directfaas/ingress": "true" if name == chain[0] else "false",
                    "directfaas/calls": callee,
                    **({"directfaas/node": annotations[name]} if name in annotations else {}),
                },
                ingress=name == chain[0],
                calls=(callee,) if callee else (),
            )
            for name, callee in zip(chain, (*chain[1:], ""), strict=True)
        ),
    )


@dataclass(frozen=True)
class Lab:
    state_folder: Path


class Cluster:
    """An apiserver, a controller that has always applied everything, and agents that bring up all they are given."""

    def __init__(self, folder: Path) -> None:
        self.folder = lab_folder(folder)
        self.agents_work = True
        self.behind: dict[str, Any] = {}  # how node2's switch differs
        self.notes: list[str] = []
        self._loop = asyncio.new_event_loop()
        started: Future[list[int]] = Future()
        self._thread = threading.Thread(target=self._serve, args=(started,), daemon=True)
        self._thread.start()
        urls = [f"http://127.0.0.1:{port}" for port in started.result(30)]
        self.platform = Platform(Lab(folder), *urls, self.notes.append)

    def _serve(self, started: Future[list[int]]) -> None:
        asyncio.set_event_loop(self._loop)
        kept = ClusterKeeper(self.folder / "db", NODES, ())
        app = Apiserver(kept, self.folder / "images", self.folder / "functions", KEYRING).application()
        controller = web.Application()

        async def version(_: web.Request) -> web.Response:
            newest = kept.state.version
            switches = {node: {"applied": newest, "silent_s": 0.0, "answers": True} for node in ("1", "2")}
            switches["2"] |= self.behind
            return web.json_response({"applied": newest, "seen": newest, "switches": switches})

        async def counters(_: web.Request) -> web.Response:
            return web.json_response({"calls": []})

        async def flows(_: web.Request) -> web.Response:
            return web.json_response({"error": "node3's switch did not answer"}, status=503)

        async def agents() -> None:
            while True:
                for one in list(kept.state.instances.values()):
                    if self.agents_work and one.phase is Phase.PENDING:
                        kept.set_phase(one.id, Phase.READY)
                    elif one.phase is Phase.DRAINING:
                        kept.delete_instance(one.id)
                await asyncio.sleep(0.005)

        async def serve(application: web.Application) -> int:
            runner = web.AppRunner(application)
            await runner.setup()
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            return int(runner.addresses[0][1])

        async def begin() -> None:
            routes = {"/version": version, "/counters": counters, "/flows/3": flows}
            controller.add_routes([web.get(path, handler) for path, handler in routes.items()])
            ports = [await serve(one) for one in (app, controller)]
            self._agents = asyncio.create_task(agents())
            started.set_result(ports)

        self._loop.run_until_complete(begin())
        self._loop.run_forever()
        kept.close()

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(30)

    def deploy(self, app: Application, namespace: str = "t", route: Route = Route.DIRECT, **more: Any) -> None:
        self.platform.deploy(app, namespace, route, templates_dir=self.folder / "templates", **more)

    def nodes(self, namespace: str) -> dict[str, int]:
        instances = self.platform.state().instances.values()
        return {one.function: one.node for one in instances if one.namespace == namespace}


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    (tmp_path / "templates" / "python").mkdir(parents=True)
    (tmp_path / "templates" / "python" / "template.yml").write_text("fprocess: python index.py")
    (tmp_path / "handler").mkdir()
    (tmp_path / "handler" / "handler.py").write_text("")
    made = Cluster(tmp_path)
    yield made
    made.stop()


def test_a_deployed_application_is_ready_on_its_route(cluster: Cluster) -> None:
    told: list[tuple[int, int]] = []
    cluster.deploy(application(cluster.folder), progress=lambda ready, wanted: told.append((ready, wanted)))
    state = cluster.platform.state()
    assert state.route("t") is Route.DIRECT
    assert {one.phase for one in state.instances.values()} == {Phase.READY}
    assert state.functions["one.t"].calls == ("two",)
    assert told[-1] == (3, 3)
    assert cluster.platform.applied() >= state.version
    assert cluster.platform.counters() == {"calls": []}


def test_a_switch_that_has_answered_nothing_for_a_while_is_named_and_not_waited_for(cluster: Cluster) -> None:
    cluster.behind = {"applied": 0, "silent_s": 4.0, "answers": False}
    cluster.deploy(application(cluster.folder))
    assert cluster.notes == ["node2's switch has not answered for 4 s; it follows when it does"]


def test_what_the_controller_says_of_a_switch_that_does_not_answer_is_passed_on(cluster: Cluster) -> None:
    with pytest.raises(PlatformError, match=r"^node3's switch did not answer$"):
        cluster.platform.flows(3)


def test_a_switch_that_is_behind_but_answers_is_waited_for(cluster: Cluster) -> None:
    cluster.behind = {"applied": 0, "silent_s": 0.5, "answers": True}
    with pytest.raises(PlatformError, match="the switches have not confirmed version"):
        cluster.deploy(application(cluster.folder), timeout_s=1)
    assert cluster.notes == []


@pytest.mark.parametrize("placement", [None, "spread", "pack", "node2", "node3"])
def test_paired_deployments_lie_on_the_same_nodes(cluster: Cluster, placement: str | None) -> None:
    app = application(cluster.folder, two="node3")
    cluster.deploy(application(cluster.folder, "one"), "other", placement="node2")  # unequal load on the nodes
    for namespace, route in (("a", Route.GATEWAY), ("b", Route.DIRECT), ("c", Route.GATEWAY)):
        cluster.deploy(app, namespace, route, placement=placement)
    assert cluster.nodes("a") == cluster.nodes("b") == cluster.nodes("c")
    assert cluster.nodes("a").keys() == {"one", "two", "three"}


def test_deploying_again_changes_nothing_and_deploying_less_removes_the_rest(cluster: Cluster) -> None:
    cluster.deploy(application(cluster.folder))
    version = cluster.platform.state().version
    cluster.deploy(application(cluster.folder))
    assert cluster.platform.state().version == version
    cluster.deploy(application(cluster.folder, "one", "two"))
    vips = {name: one.vip for name, one in cluster.platform.state().functions.items() if one.replicas}
    assert vips.keys() == {"one.t", "two.t"}


def test_a_removed_namespace_is_gone(cluster: Cluster) -> None:
    cluster.deploy(application(cluster.folder))
    cluster.platform.remove("t")
    state = cluster.platform.state()
    assert (state.deployments, state.functions, state.instances) == ({}, {}, {})
    cluster.deploy(application(cluster.folder), route=Route.GATEWAY)
    assert cluster.platform.state().route("t") is Route.GATEWAY


def test_scaling_is_waited_for(cluster: Cluster) -> None:
    cluster.deploy(application(cluster.folder))
    cluster.platform.scale("two", "t", 4)
    state = cluster.platform.wait_ready(30, "t")
    assert sum(one.function == "two" for one in state.instances.values()) == 4


def test_what_does_not_come_up_is_named_with_its_last_words(cluster: Cluster) -> None:
    cluster.agents_work = False
    (cluster.folder / "functions").mkdir()
    log = cluster.folder / "functions" / "one.t.1.log"
    log.write_text("Traceback\nImportError: no module named x\n")
    with pytest.raises(PlatformError) as caught:
        cluster.deploy(application(cluster.folder, "one"), timeout_s=0.2)
    assert str(caught.value) == (
        "one.t has 0 of 1 instances ready after 0 s; one.t.1 on node2 is Pending: ImportError: no module named x; "
        f"see {log}"
    )


def test_what_the_apiserver_refuses_is_said_in_its_words(cluster: Cluster) -> None:
    with pytest.raises(PlatformError, match=r"^there is no function nine\.t$"):
        cluster.platform.scale("nine", "t", 1)
    with pytest.raises(PlatformError, match=r"^there is no namespace t$"):
        cluster.platform.remove("t")


def test_a_lab_that_is_not_there_is_said(tmp_path: Path) -> None:
    platform = Platform(Lab(lab_folder(tmp_path)), "http://127.0.0.1:9", "http://127.0.0.1:9")
    with pytest.raises(PlatformError) as caught:
        platform.state()
    assert str(caught.value) == (
        "the apiserver at http://127.0.0.1:9 does not answer (ConnectionError); is the lab running?"
    )
    with pytest.raises(PlatformError, match=r"the controller at http://127\.0\.0\.1:9 does not answer /version"):
        platform.applied()


def test_a_function_that_is_still_being_removed_is_waited_for(cluster: Cluster) -> None:
    cluster.deploy(application(cluster.folder, "one"))
    before = cluster.platform.state().functions["one.t"].id
    cluster.platform.remove_function("one", "t")
    cluster.deploy(application(cluster.folder, "one"))
    assert cluster.platform.state().functions["one.t"].id != before


def test_a_proxy_of_the_machine_is_not_used(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    assert cluster.platform.state().nodes == NODES

"""Stores in the controller: their own port, their owners alone, and no question to the scaler."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from controllers import pipeline as p
from controllers import sdn
from controllers.desired.calls import service
from controllers.desired.generator import Generator
from controllers.hold.machine import Reset
from controllers.intents import IntentIndex, intents
from testbed.model import addressing
from testbed.model.cluster import ClusterState, Deployment, Phase, Route
from tests.unit.controllers.clusters import D, G, function, instance, put, state, store
from tests.unit.controllers.frames import syn
from tests.unit.controllers.switch.crew_rig import Rig, running

PORT = 3306


def shop(route: Route = Route.DIRECT, phase: Phase = Phase.READY) -> ClusterState:
    """Namespace s: a owns mariadb, b does not but says that it calls it; namespace o: a owns a mariadb of its own."""
    owner = replace(function("s", "a", 256, ingress=True), stores=("mariadb",))
    other = function("s", "b", 257, ingress=True, calls=["mariadb"])
    data, foreign = store("s", "mariadb", 258), store("o", "mariadb", 260)
    stranger = replace(function("o", "a", 259), stores=("mariadb",))
    return state(
        [Deployment("s", route, id=D), Deployment("o", route, id=G)],
        [owner, other, data, stranger, foreign],
        [instance(owner, 1, 2, 11), instance(other, 1, 2, 12), instance(data, 1, 3, 11, phase)],
    )


@pytest.mark.parametrize("route", Route)
def test_a_store_is_called_by_its_owner_and_nobody_else(route: Route) -> None:
    calls = intents(shop(route)).calls
    assert {call for call in calls if 258 in call} == {(256, 258)}
    assert {call for call in calls if 260 in call} == {(259, 260)}


def test_a_store_is_called_at_its_own_port_and_its_instance_too() -> None:
    workload = intents(shop()).workloads[258]
    assert (workload.port, workload.scaled) == (PORT, False)
    (row,), group = service(2, workload)
    assert dict(row.match)["tcp_dst"] == PORT
    assert group is not None and group.buckets[0].actions[0].nat.port == PORT  # type: ignore[union-attr]
    generator = Generator()
    generator.load(shop())
    ports = {
        dict(row.match)["tcp_dst"]
        for row in generator.desired[2].rows.values()
        if dict(row.match).get("ipv4_dst") == addressing.vip(258)
    }
    assert ports == {PORT}
    assert next(w for w in intents(shop()).to_json()["workloads"] if w["id"] == 258)["port"] == PORT


def test_all_functions_of_a_namespace_are_not_its_stores() -> None:
    assert IntentIndex(shop()).functions_of("s") == [256, 257]


def test_an_owner_that_comes_before_its_store_reaches_it_when_it_is_there() -> None:
    whole = shop()
    data = whole.functions["mariadb.s"]
    functions = {name: one for name, one in whole.functions.items() if one is not data}
    index = IntentIndex(replace(whole, functions=functions))
    assert (256, 258) not in index.intents().calls
    assert index.apply(put(data, 2)).added == {(256, 258)}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The URLs that the scaler is asked at."""
    urls: list[str] = []

    def post(_: Any, url: str, **__: Any) -> Any:
        urls.append(url)
        raise AssertionError("nobody should be asked")

    monkeypatch.setattr("requests.Session.post", post)
    monkeypatch.setattr(sdn.hub, "spawn", lambda action, *arguments: action(*arguments))
    return urls


def test_calls_to_a_store_that_is_away_wait_without_a_question_and_end_by_a_reset(rig: Rig, asked: list[str]) -> None:
    running(rig, shop(phase=Phase.NOT_READY))
    frame = syn(addressing.eip(2, 11), addressing.vip(258), 40_000, 7)
    rig.holding.punted(2, p.cookie(p.Category.HOLD, p.call_object(256, 258)), {"in_port": 2}, frame)
    assert (asked, rig.channels[2].packets, rig.holding.holds.now(258)) == ([], [], 1)
    (reset,) = rig.holding.holds.tick(1e9)
    assert (type(reset), rig.holding.holds.counts[258].expired) == (Reset, 1)

"""The apiserver's state: one version a change, nothing lost, nothing used again too soon."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from testbed.model.cluster import ClusterState, Host, Phase, Role, Route
from testbed.model.errors import PlatformError
from testbed.platform.apiserver.cluster_state import Conflict, NotFound, Store
from testbed.platform.apiserver.validation import FunctionRequest

HOSTS = (Host("gateway", Role.GATEWAY, 1, 1, "10.201.0.1"), Host("probe2", Role.PROBE, 12, 2, "10.202.0.1"))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = Store(tmp_path / "db", (1, 2, 3), HOSTS)
    yield made
    made.close()


def reopened(tmp_path: Path) -> Store:
    return Store(tmp_path / "db", (1, 2, 3), HOSTS)


def request(name: str = "one", *, calls: tuple[str, ...] = (), replicas: int = 1, **more: str) -> FunctionRequest:
    labels = {"com.openfaas.scale.min": str(replicas)}
    return FunctionRequest("t", name, "i", environment=more, labels=labels, calls=calls, min_replicas=replicas)


def ready(store: Store) -> None:
    """What the node agents would report after a while."""
    for instance in list(store.state.instances.values()):
        if instance.phase is Phase.PENDING:
            store.set_phase(instance.id, Phase.READY)


def finish_draining(store: Store) -> None:
    for instance in list(store.state.instances.values()):
        if instance.phase is Phase.DRAINING:
            store.delete_instance(instance.id)


def phases(store: Store) -> dict[str, str]:
    return {key: one.phase.value for key, one in store.state.instances.items()}


def test_a_function_gets_id_vip_and_its_first_instances(store: Store) -> None:
    store.create_function(request(replicas=2), "b1")
    function = store.state.functions["one.t"]
    assert (function.id, function.vip, function.replicas) == (256, "10.96.1.0", 2)
    instances = store.state.instances
    assert {key: one.node for key, one in instances.items()} == {"one.t.1": 2, "one.t.2": 3}
    assert instances["one.t.1"].eip == "10.202.0.2"  # .1 is the probe's
    assert store.state.route("t") is Route.GATEWAY


def test_replaying_the_events_gives_the_state(store: Store) -> None:
    store.put_namespace("t", Route.DIRECT, create=True)
    store.create_function(request(replicas=2), "b1")
    ready(store)
    store.scale_function("one.t", 1)
    finish_draining(store)
    replayed = ClusterState(nodes=(1, 2, 3))
    events = store.events_since(0)
    assert events is not None
    for event in events:
        assert event["version"] == replayed.version + 1
        replayed = replayed.apply(event)
    assert replayed == store.state


def test_everything_survives_a_restart(store: Store, tmp_path: Path) -> None:
    store.put_namespace("t", Route.DIRECT, create=True)
    store.create_function(request(replicas=2, A="b"), "b1")
    ready(store)
    store.remove_namespace("t")
    before = store.state
    store.close()
    again = reopened(tmp_path)
    assert again.state == before
    assert again.record("one.t").removing
    assert again.events_since(before.version) == []
    finish_draining(again)
    assert (again.state.functions, again.state.deployments) == ({}, {})
    assert again.state.version == before.version + 4
    again.close()


def test_ids_addresses_and_names_of_the_gone_are_not_used_again_soon(store: Store, tmp_path: Path) -> None:
    store.create_function(request(), "b1")
    first = store.state.instances["one.t.1"]
    store.remove_function("one.t")
    finish_draining(store)
    store.close()
    again = reopened(tmp_path)
    again.create_function(request(), "b1")
    second = next(iter(again.state.instances.values()))
    assert again.state.functions["one.t"].id == 257
    assert (second.id, second.eip) == ("one.t.2", "10.202.0.3")
    assert first.eip == "10.202.0.2"
    again.close()


def test_a_removed_function_stays_until_its_instances_are_gone(store: Store) -> None:
    store.create_function(request(), "b1")
    ready(store)
    store.remove_function("one.t")
    assert store.state.functions["one.t"].replicas == 0
    assert phases(store) == {"one.t.1": "Draining"}
    with pytest.raises(NotFound, match=r"there is no function one\.t"):
        store.scale_function("one.t", 1)
    with pytest.raises(Conflict, match=r"one\.t is still being removed; deploy it again in a moment"):
        store.create_function(request(), "b1")
    finish_draining(store)
    assert store.state.functions == {}


def test_a_function_without_instances_goes_at_once(store: Store) -> None:
    store.create_function(request(replicas=0), "b1")
    store.remove_function("one.t")
    assert store.state.functions == {}


def test_an_instance_that_drains_never_comes_back(store: Store) -> None:
    store.create_function(request(), "b1")
    store.scale_function("one.t", 0)
    with pytest.raises(Conflict, match=r"instance one\.t\.1 is draining; it cannot become Ready"):
        store.set_phase("one.t.1", Phase.READY)


def test_a_lost_instance_is_replaced(store: Store) -> None:
    store.create_function(request(), "b1")
    store.delete_instance("one.t.1")
    assert phases(store) == {"one.t.2": "Pending"}


def test_what_changes_nothing_has_no_version(store: Store) -> None:
    store.create_function(request(), "b1")
    ready(store)
    version = store.state.version
    store.set_phase("one.t.1", Phase.READY)
    store.scale_function("one.t", 1)
    store.update_function(request(), "b1")
    assert store.state.version == version


@pytest.mark.parametrize("change", [(request(A="b"), "b1"), (request(), "b2")])
def test_an_update_of_what_runs_replaces_instances_without_a_gap(
    store: Store, change: tuple[FunctionRequest, str]
) -> None:
    store.create_function(request(), "b1")
    ready(store)
    store.update_function(*change)
    assert phases(store) == {"one.t.1": "Ready", "one.t.2": "Pending"}
    ready(store)
    assert phases(store) == {"one.t.1": "Draining", "one.t.2": "Ready"}
    assert store.state.functions["one.t"].vip == "10.96.1.0"


def test_an_update_of_the_calls_alone_leaves_instances_alone(store: Store) -> None:
    store.create_function(request(), "b1")
    ready(store)
    store.update_function(request(calls=("two",)), "b1")
    assert phases(store) == {"one.t.1": "Ready"}
    assert store.state.functions["one.t"].calls == ("two",)


def test_an_update_keeps_the_replicas_unless_the_minimum_changes(store: Store) -> None:
    store.create_function(request(), "b1")
    store.scale_function("one.t", 3)
    store.update_function(request(), "b1")
    assert store.state.functions["one.t"].replicas == 3
    store.update_function(request(replicas=2), "b1")
    assert store.state.functions["one.t"].replicas == 2


@pytest.mark.parametrize(("route", "revision"), [(Route.DIRECT, 2), (Route.GATEWAY, 1)])
def test_callers_are_renewed_when_a_callee_comes_back_with_another_vip(
    store: Store, route: Route, revision: int
) -> None:
    store.put_namespace("t", route, create=True)
    store.create_function(request("two"), "b1")
    store.create_function(request("one", calls=("two",)), "b1")
    assert store.state.functions["one.t"].revision == 1
    ready(store)
    store.remove_function("two.t")
    finish_draining(store)
    store.create_function(request("two"), "b1")
    assert store.state.functions["one.t"].revision == revision


def test_a_route_changes_only_while_there_are_no_functions(store: Store) -> None:
    store.put_namespace("t", Route.GATEWAY, create=True)
    store.put_namespace("t", Route.DIRECT, create=False)
    store.create_function(request(), "b1")
    store.put_namespace("t", Route.DIRECT, create=False)
    with pytest.raises(Conflict) as caught:
        store.put_namespace("t", Route.GATEWAY, create=False)
    assert str(caught.value) == ("namespace t has functions on the direct route; remove them before its route changes")


def test_what_is_not_there_is_not_found(store: Store) -> None:
    with pytest.raises(NotFound, match="there is no namespace t"):
        store.put_namespace("t", Route.DIRECT, create=False)
    with pytest.raises(NotFound, match="there is no namespace t"):
        store.remove_namespace("t")
    with pytest.raises(NotFound, match=r"there is no function one\.t"):
        store.update_function(request(), "b1")
    with pytest.raises(NotFound, match=r"there is no instance one\.t\.1"):
        store.set_phase("one.t.1", Phase.READY)


def test_existing_things_are_not_made_twice(store: Store) -> None:
    store.create_function(request(), "b1")
    with pytest.raises(Conflict, match=r"function one\.t exists already; update it with PUT"):
        store.create_function(request(), "b1")
    with pytest.raises(Conflict, match="namespace t exists already; change it with PUT"):
        store.put_namespace("t", Route.DIRECT, create=True)


def test_old_history_is_given_up(tmp_path: Path) -> None:
    store = Store(tmp_path / "short", (1, 2, 3), HOSTS, kept_events=4)
    store.create_function(request(), "b1")
    ready(store)
    version = store.state.version
    assert version == 6
    assert store.events_since(1) is None
    assert store.events_since(version + 1) is None
    assert [event["version"] for event in store.events_since(2) or []] == [3, 4, 5, 6]
    store.close()


def test_hosts_follow_the_cluster_file(store: Store, tmp_path: Path) -> None:
    store.close()
    again = Store(tmp_path / "db", (1, 2), HOSTS[:1])
    assert (list(again.state.hosts), again.state.nodes, again.state.version) == (["gateway"], (1, 2), 3)
    again.close()


def test_a_change_that_cannot_be_written_did_not_happen(store: Store, tmp_path: Path) -> None:
    store.create_function(request(), "b1")
    before = store.state
    other = sqlite3.connect(tmp_path / "db")
    other.execute("DROP TABLE documents")
    other.commit()
    with pytest.raises(PlatformError, match="the apiserver cannot write its database"):
        store.scale_function("one.t", 3)
    assert store.state == before
    assert store.events_since(before.version) == []
    assert (store.timings("one.t.1").keys(), store.timings("one.t.2")) == ({"decided_ns"}, {})
    other.close()


def test_a_root_file_system_that_becomes_read_only_renews_the_instances(store: Store) -> None:
    store.create_function(request(), "b1")
    assert not store.state.functions["one.t"].read_only_root_filesystem
    for revision in (2, 2):
        store.update_function(replace(request(), read_only_root_filesystem=True), "b1")
        function = store.state.functions["one.t"]
        assert (function.read_only_root_filesystem, function.revision) == (True, revision)
    assert store.state.from_json(store.state.to_json()) == store.state

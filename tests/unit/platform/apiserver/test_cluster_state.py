"""The apiserver's state: one version a change, nothing lost, nothing used again too soon."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from testbed.model.cluster import ClusterState, Host, Phase, Role, Route
from testbed.model.errors import PlatformError
from testbed.platform.apiserver.cluster_state import ClusterKeeper, Conflict, NotFound
from testbed.platform.apiserver.database import Database
from testbed.platform.apiserver.validation import FunctionRequest, SecretRequest

HOSTS = (Host("gateway", Role.GATEWAY, 1, 1, "10.201.0.1"), Host("probe2", Role.PROBE, 12, 2, "10.202.0.1"))


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[ClusterKeeper]:
    made = ClusterKeeper(tmp_path / "db", (1, 2, 3), HOSTS)
    yield made
    made.close()


def reopened(tmp_path: Path) -> ClusterKeeper:
    return ClusterKeeper(tmp_path / "db", (1, 2, 3), HOSTS)


def request(name: str = "one", *, calls: tuple[str, ...] = (), replicas: int = 1, **more: str) -> FunctionRequest:
    labels = {"com.openfaas.scale.min": str(replicas)}
    return FunctionRequest("t", name, "i", environment=more, labels=labels, calls=calls, min_replicas=replicas)


def ready(cluster: ClusterKeeper) -> None:
    """What the node agents would report after a while."""
    for instance in list(cluster.state.instances.values()):
        if instance.phase is Phase.PENDING:
            cluster.set_phase(instance.id, Phase.READY)


def finish_draining(cluster: ClusterKeeper) -> None:
    for instance in list(cluster.state.instances.values()):
        if instance.phase is Phase.DRAINING:
            cluster.delete_instance(instance.id)


def phases(cluster: ClusterKeeper) -> dict[str, str]:
    return {key: one.phase.value for key, one in cluster.state.instances.items()}


def test_a_function_gets_id_vip_and_its_first_instances(cluster: ClusterKeeper) -> None:
    cluster.create_function(request(replicas=2), "b1")
    function = cluster.state.functions["one.t"]
    assert (function.id, function.vip, function.replicas) == (256, "10.96.1.0", 2)
    instances = cluster.state.instances
    assert {key: one.node for key, one in instances.items()} == {"one.t.1": 2, "one.t.2": 3}
    assert instances["one.t.1"].eip == "10.202.0.2"  # .1 is the probe's
    assert cluster.state.route("t") is Route.GATEWAY


def test_replaying_the_events_gives_the_state(cluster: ClusterKeeper) -> None:
    cluster.put_namespace("t", Route.DIRECT, create=True)
    cluster.create_function(request(replicas=2), "b1")
    ready(cluster)
    cluster.scale_function("one.t", 1)
    finish_draining(cluster)
    replayed = ClusterState(nodes=(1, 2, 3))
    events = cluster.events_since(0)
    assert events is not None
    for event in events:
        assert event["version"] == replayed.version + 1
        replayed = replayed.apply(event)
    assert replayed == cluster.state


def test_everything_survives_a_restart(cluster: ClusterKeeper, tmp_path: Path) -> None:
    cluster.put_namespace("t", Route.DIRECT, create=True)
    cluster.create_function(request(replicas=2, A="b"), "b1")
    ready(cluster)
    cluster.remove_namespace("t")
    before = cluster.state
    cluster.close()
    again = reopened(tmp_path)
    assert again.state == before
    assert again.record("one.t").removing
    assert again.events_since(before.version) == []
    finish_draining(again)
    assert (again.state.functions, again.state.deployments) == ({}, {})
    assert again.state.version == before.version + 4
    again.close()


def test_ids_addresses_and_names_of_the_gone_are_not_used_again_soon(cluster: ClusterKeeper, tmp_path: Path) -> None:
    cluster.create_function(request(), "b1")
    first = cluster.state.instances["one.t.1"]
    cluster.remove_function("one.t")
    finish_draining(cluster)
    cluster.close()
    again = reopened(tmp_path)
    again.create_function(request(), "b1")
    second = next(iter(again.state.instances.values()))
    assert again.state.functions["one.t"].id == 257
    assert (second.id, second.eip) == ("one.t.2", "10.202.0.3")
    assert first.eip == "10.202.0.2"
    again.close()


def test_a_namespaces_id_is_its_own_and_stays_whatever_functions_come_and_go(
    cluster: ClusterKeeper, tmp_path: Path
) -> None:
    cluster.put_namespace("t", Route.DIRECT, create=True)
    cluster.create_function(request(replicas=0), "b1")
    cluster.secrets.create(SecretRequest("s", "key", "dmFsdWU="))
    before = {name: deployment.id for name, deployment in cluster.state.deployments.items()}
    assert len({*before.values(), cluster.state.functions["one.t"].id}) == 3
    cluster.remove_function("one.t")
    cluster.put_namespace("t", Route.GATEWAY, create=False)
    cluster.close()
    again = reopened(tmp_path)
    assert {name: deployment.id for name, deployment in again.state.deployments.items()} == before
    again.remove_namespace("t")
    again.put_namespace("t", Route.DIRECT, create=True)
    assert again.state.deployments["t"].id not in before.values()
    again.close()


def test_no_function_gets_the_id_of_a_namespace(cluster: ClusterKeeper, tmp_path: Path) -> None:
    cluster.put_namespace("t", Route.DIRECT, create=True)
    taken = cluster.state.deployments["t"].id
    cluster.close()
    database = Database(tmp_path / "db")
    with database.transaction():
        database.put("counter", "next id", taken)  # after many functions
    database.close()
    again = reopened(tmp_path)
    again.create_function(request(), "b1")
    assert again.state.functions["one.t"].id == taken + 1
    again.close()


def test_namespaces_kept_without_an_id_get_one(cluster: ClusterKeeper, tmp_path: Path) -> None:
    cluster.put_namespace("t", Route.DIRECT, create=True)
    cluster.close()
    database = Database(tmp_path / "db")
    with database.transaction():
        database.put("deployment", "t", {"namespace": "t", "route": "direct", "token_revision": 0})
    database.close()
    again = reopened(tmp_path)
    assert again.state.deployments["t"].id != 0
    assert again.state.route("t") is Route.DIRECT
    again.close()


def test_no_secret_is_left_in_its_files(tmp_path: Path) -> None:
    def found(word: str) -> list[str]:
        return [file.name for file in tmp_path.iterdir() if word.encode() in file.read_bytes()]

    database = Database(tmp_path / "db", secret=frozenset({"secret"}))
    with database.transaction():
        database.put("secret", "a", "first-word")
    assert found("first-word")
    with database.transaction():
        database.put("secret", "a", "second-word")
    assert (found("first-word"), bool(found("second-word"))) == ([], True)
    with database.transaction():
        database.drop("secret", "a")
    assert found("second-word") == []
    database.close()


def test_a_removed_function_stays_until_its_instances_are_gone(cluster: ClusterKeeper) -> None:
    cluster.create_function(request(), "b1")
    ready(cluster)
    cluster.remove_function("one.t")
    assert cluster.state.functions["one.t"].replicas == 0
    assert phases(cluster) == {"one.t.1": "Draining"}
    with pytest.raises(NotFound, match=r"there is no function one\.t"):
        cluster.scale_function("one.t", 1)
    with pytest.raises(Conflict, match=r"one\.t is still being removed; deploy it again in a moment"):
        cluster.create_function(request(), "b1")
    finish_draining(cluster)
    assert cluster.state.functions == {}


def test_a_function_without_instances_goes_at_once(cluster: ClusterKeeper) -> None:
    cluster.create_function(request(replicas=0), "b1")
    cluster.remove_function("one.t")
    assert cluster.state.functions == {}


def test_an_instance_that_drains_never_comes_back(cluster: ClusterKeeper) -> None:
    cluster.create_function(request(), "b1")
    cluster.scale_function("one.t", 0)
    with pytest.raises(Conflict, match=r"instance one\.t\.1 is draining; it cannot become Ready"):
        cluster.set_phase("one.t.1", Phase.READY)


def test_a_lost_instance_is_replaced(cluster: ClusterKeeper) -> None:
    cluster.create_function(request(), "b1")
    cluster.delete_instance("one.t.1")
    assert phases(cluster) == {"one.t.2": "Pending"}


def test_what_changes_nothing_has_no_version(cluster: ClusterKeeper) -> None:
    cluster.create_function(request(), "b1")
    ready(cluster)
    version = cluster.state.version
    cluster.set_phase("one.t.1", Phase.READY)
    cluster.scale_function("one.t", 1)
    cluster.update_function(request(), "b1")
    assert cluster.state.version == version


@pytest.mark.parametrize("change", [(request(A="b"), "b1"), (request(), "b2")])
def test_an_update_of_what_runs_replaces_instances_without_a_gap(
    cluster: ClusterKeeper, change: tuple[FunctionRequest, str]
) -> None:
    cluster.create_function(request(), "b1")
    ready(cluster)
    cluster.update_function(*change)
    assert phases(cluster) == {"one.t.1": "Ready", "one.t.2": "Pending"}
    ready(cluster)
    assert phases(cluster) == {"one.t.1": "Draining", "one.t.2": "Ready"}
    assert cluster.state.functions["one.t"].vip == "10.96.1.0"


def test_an_update_of_the_calls_alone_leaves_instances_alone(cluster: ClusterKeeper) -> None:
    cluster.create_function(request(), "b1")
    ready(cluster)
    cluster.update_function(request(calls=("two",)), "b1")
    assert phases(cluster) == {"one.t.1": "Ready"}
    assert cluster.state.functions["one.t"].calls == ("two",)


def test_an_update_keeps_the_replicas_unless_the_minimum_changes(cluster: ClusterKeeper) -> None:
    cluster.create_function(request(), "b1")
    cluster.scale_function("one.t", 3)
    cluster.update_function(request(), "b1")
    assert cluster.state.functions["one.t"].replicas == 3
    cluster.update_function(request(replicas=2), "b1")
    assert cluster.state.functions["one.t"].replicas == 2


@pytest.mark.parametrize(("route", "revision"), [(Route.DIRECT, 2), (Route.GATEWAY, 1)])
def test_callers_are_renewed_when_a_callee_comes_back_with_another_vip(
    cluster: ClusterKeeper, route: Route, revision: int
) -> None:
    cluster.put_namespace("t", route, create=True)
    cluster.create_function(request("two"), "b1")
    cluster.create_function(request("one", calls=("two",)), "b1")
    assert cluster.state.functions["one.t"].revision == 1
    ready(cluster)
    cluster.remove_function("two.t")
    finish_draining(cluster)
    cluster.create_function(request("two"), "b1")
    assert cluster.state.functions["one.t"].revision == revision


def test_a_caller_that_waits_for_its_callee_is_not_renewed_when_it_comes(cluster: ClusterKeeper) -> None:
    cluster.put_namespace("t", Route.DIRECT, create=True)
    cluster.create_function(request("one", calls=("two",)), "b1")
    cluster.create_function(request("two"), "b1")
    assert cluster.state.functions["one.t"].revision == 1


def test_a_route_changes_only_while_there_are_no_functions(cluster: ClusterKeeper) -> None:
    cluster.put_namespace("t", Route.GATEWAY, create=True)
    cluster.put_namespace("t", Route.DIRECT, create=False)
    cluster.create_function(request(), "b1")
    cluster.put_namespace("t", Route.DIRECT, create=False)
    with pytest.raises(Conflict) as caught:
        cluster.put_namespace("t", Route.GATEWAY, create=False)
    assert str(caught.value) == ("namespace t has functions on the direct route; remove them before its route changes")


def test_what_is_not_there_is_not_found(cluster: ClusterKeeper) -> None:
    with pytest.raises(NotFound, match="there is no namespace t"):
        cluster.put_namespace("t", Route.DIRECT, create=False)
    with pytest.raises(NotFound, match="there is no namespace t"):
        cluster.remove_namespace("t")
    with pytest.raises(NotFound, match=r"there is no function one\.t"):
        cluster.update_function(request(), "b1")
    with pytest.raises(NotFound, match=r"there is no instance one\.t\.1"):
        cluster.set_phase("one.t.1", Phase.READY)


def test_existing_things_are_not_made_twice(cluster: ClusterKeeper) -> None:
    cluster.create_function(request(), "b1")
    with pytest.raises(Conflict, match=r"function one\.t exists already; update it with PUT"):
        cluster.create_function(request(), "b1")
    with pytest.raises(Conflict, match="namespace t exists already; change it with PUT"):
        cluster.put_namespace("t", Route.DIRECT, create=True)


def test_old_history_is_given_up(tmp_path: Path) -> None:
    cluster = ClusterKeeper(tmp_path / "short", (1, 2, 3), HOSTS, kept_events=4)
    cluster.create_function(request(), "b1")
    ready(cluster)
    version = cluster.state.version
    assert version == 6
    assert cluster.events_since(1) is None
    assert cluster.events_since(version + 1) is None
    assert [event["version"] for event in cluster.events_since(2) or []] == [3, 4, 5, 6]
    cluster.close()


def test_hosts_follow_the_cluster_file(cluster: ClusterKeeper, tmp_path: Path) -> None:
    cluster.close()
    again = ClusterKeeper(tmp_path / "db", (1, 2), HOSTS[:1])
    assert (list(again.state.hosts), again.state.nodes, again.state.version) == (["gateway"], (1, 2), 3)
    again.close()


def test_a_change_that_cannot_be_written_did_not_happen(cluster: ClusterKeeper, tmp_path: Path) -> None:
    cluster.create_function(request(), "b1")
    before = cluster.state
    other = sqlite3.connect(tmp_path / "db")
    other.execute("DROP TABLE documents")
    other.commit()
    with pytest.raises(PlatformError, match="the apiserver cannot write its database"):
        cluster.scale_function("one.t", 3)
    assert cluster.state == before
    assert cluster.events_since(before.version) == []
    assert (cluster.timings("one.t.1").keys(), cluster.timings("one.t.2")) == ({"decided_ns"}, {})
    other.close()


def test_a_root_file_system_that_becomes_read_only_renews_the_instances(cluster: ClusterKeeper) -> None:
    cluster.create_function(request(), "b1")
    assert not cluster.state.functions["one.t"].read_only_root_filesystem
    for revision in (2, 2):
        cluster.update_function(replace(request(), read_only_root_filesystem=True), "b1")
        function = cluster.state.functions["one.t"]
        assert (function.read_only_root_filesystem, function.revision) == (True, revision)
    assert cluster.state.from_json(cluster.state.to_json()) == cluster.state

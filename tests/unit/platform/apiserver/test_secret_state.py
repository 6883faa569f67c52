"""Secrets: kept over restarts, given to nobody but instances, and what a change of one does to functions."""

from __future__ import annotations

import stat
from base64 import b64encode
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from testbed.model.cluster import Phase
from testbed.platform.apiserver.cluster_state import ClusterKeeper, Conflict, NotFound
from testbed.platform.apiserver.validation import FunctionRequest, SecretRequest


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[ClusterKeeper]:
    made = ClusterKeeper(tmp_path / "db", (1, 2, 3), ())
    yield made
    made.close()


def secret(name: str = "db", value: str = "hunter2", namespace: str = "t") -> SecretRequest:
    return SecretRequest(namespace, name, b64encode(value.encode()).decode())


def deploy(cluster: ClusterKeeper, *secrets: str) -> None:
    cluster.create_function(FunctionRequest("t", "one", "i", secrets=secrets), "b1")
    cluster.set_phase("one.t.1", Phase.READY)


def phases(cluster: ClusterKeeper) -> dict[str, str]:
    return {key: one.phase.value for key, one in cluster.state.instances.items()}


def test_secrets_belong_to_a_namespace_and_survive_a_restart(cluster: ClusterKeeper, tmp_path: Path) -> None:
    cluster.secrets.create(secret())
    cluster.secrets.create(secret(namespace="u"))
    deploy(cluster, "db")
    cluster.close()
    again = ClusterKeeper(tmp_path / "db", (1, 2, 3), ())
    assert (again.secrets.names("t"), again.secrets.names("v")) == (["db"], [])
    assert again.secrets.of_function(again.state.functions["one.t"]) == {"db": secret().value}
    again.close()


def test_only_the_owner_reads_the_database(cluster: ClusterKeeper, tmp_path: Path) -> None:
    cluster.secrets.create(secret())
    assert {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {
        "db": 0o600,
        "db-wal": 0o600,
        "db-shm": 0o600,
    }


def test_a_secret_is_neither_made_twice_nor_changed_or_removed_when_it_is_not_there(cluster: ClusterKeeper) -> None:
    with pytest.raises(NotFound, match="there is no secret db in namespace t"):
        cluster.secrets.update(secret())
    with pytest.raises(NotFound, match="there is no secret db in namespace t"):
        cluster.secrets.remove("t", "db")
    cluster.secrets.create(secret())
    with pytest.raises(Conflict, match="secret db of namespace t exists already; update it"):
        cluster.secrets.create(secret())


def test_another_value_replaces_the_instances_that_read_it_without_a_gap(cluster: ClusterKeeper) -> None:
    cluster.secrets.create(secret())
    deploy(cluster, "db")
    cluster.secrets.update(secret(value="other"))
    assert phases(cluster) == {"one.t.1": "Ready", "one.t.2": "Pending"}
    cluster.set_phase("one.t.2", Phase.READY)
    assert phases(cluster) == {"one.t.1": "Draining", "one.t.2": "Ready"}


def test_the_same_value_again_or_a_secret_that_nobody_reads_changes_nothing(cluster: ClusterKeeper) -> None:
    cluster.secrets.create(secret())
    deploy(cluster, "db")
    version = cluster.state.version
    cluster.secrets.update(secret())
    cluster.secrets.create(secret("other"))
    cluster.secrets.update(secret("other", "x"))
    assert cluster.state.version == version


def test_a_removed_secret_stays_with_those_who_run_and_is_missed_by_those_who_start(cluster: ClusterKeeper) -> None:
    cluster.secrets.create(secret())
    deploy(cluster, "db")
    cluster.secrets.remove("t", "db")
    assert phases(cluster) == {"one.t.1": "Ready"}
    with pytest.raises(Conflict) as caught:
        cluster.secrets.of_function(cluster.state.functions["one.t"])
    assert str(caught.value) == "secret db of function one.t was removed; create it in namespace t again"
    cluster.secrets.create(secret(value="new"))
    assert phases(cluster) == {"one.t.1": "Ready", "one.t.2": "Pending"}


def test_a_token_has_a_revision_that_is_never_used_again(cluster: ClusterKeeper) -> None:
    revisions = []

    def note() -> None:
        revisions.append(cluster.state.deployments["t"].token_revision)

    cluster.secrets.create(secret("db"))
    note()
    cluster.secrets.create(secret("gateway-token", "one"))
    note()
    cluster.secrets.update(secret("gateway-token", "two\n"))
    note()
    assert cluster.secrets.token_digests() == {"t": sha256(b"two").hexdigest()}
    cluster.secrets.remove("t", "gateway-token")
    note()
    assert cluster.secrets.token_digests() == {}
    cluster.secrets.create(secret("gateway-token", "three"))
    note()
    assert revisions == [0, 1, 2, 0, 3]


def test_a_namespace_takes_its_secrets_along(cluster: ClusterKeeper) -> None:
    cluster.secrets.create(secret())
    cluster.secrets.create(secret("gateway-token"))
    deploy(cluster, "db")
    cluster.remove_namespace("t")
    assert (cluster.secrets.names("t"), cluster.secrets.token_digests()) == ([], {})
    cluster.delete_instance("one.t.1")
    assert cluster.state.deployments == {}


def test_no_event_and_no_representation_tells_a_value(cluster: ClusterKeeper) -> None:
    cluster.secrets.create(secret())
    deploy(cluster, "db")
    cluster.secrets.update(secret(value="hunter3"))
    told = repr((cluster.events_since(0), cluster.state.to_json(), secret()))
    assert "one.t.2" in told
    assert all(value not in told for value in ("hunter", secret().value, secret(value="hunter3").value))

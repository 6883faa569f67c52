"""Stores at the apiserver and at deployment: made with their first owner, gone with the last, and no functions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from testbed.model import datastores
from testbed.model.annotations import STORES_ANNOTATION
from testbed.model.application import Application, FunctionSpec
from testbed.model.cluster import ClusterState, Function, Host, Phase, Role
from testbed.model.errors import EnvironmentProblem, PlatformError, UsageError
from testbed.platform.apiserver import validation
from testbed.platform.apiserver.cluster_state import ClusterKeeper, Conflict, NotFound
from testbed.platform.apiserver.validation import FunctionRequest, SecretRequest
from testbed.platform.client import datastore_setup
from testbed.platform.datastores import mariadb
from testbed.platform.gateway.service.functions import Functions

HOSTS = (Host("gateway", Role.GATEWAY, 1, 1, "10.201.0.1"),)
NODE = "directfaas/node"


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[ClusterKeeper]:
    made = ClusterKeeper(tmp_path / "db", (1, 2, 3), HOSTS)
    made.secrets.create(SecretRequest("t", "mariadb-password", "cHc="))
    yield made
    made.close()


def request(name: str, *owned: str, node: str = "node3,node2") -> FunctionRequest:
    return FunctionRequest("t", name, "i", annotations={NODE: node}, stores=owned)


def gone(cluster: ClusterKeeper) -> None:
    """The agents have taken away all that drains."""
    for instance in list(cluster.state.instances.values()):
        if instance.phase is Phase.DRAINING:
            cluster.delete_instance(instance.id)


def names(cluster: ClusterKeeper) -> list[str]:
    return sorted(one.name for one in cluster.state.functions.values())


def test_a_store_is_made_with_its_first_owner_where_that_may_run(cluster: ClusterKeeper) -> None:
    cluster.create_function(request("till", "mariadb"), "b")
    cluster.create_function(request("clerk", "mariadb", node="node2"), "b")
    made = cluster.state.functions["mariadb.t"]
    assert (made.store, made.port, made.replicas, made.secrets) == (True, 3306, 1, ("mariadb-password",))
    assert [(one.id, one.node) for one in cluster.state.instances.values() if one.function == "mariadb"] == [
        ("mariadb.t.1", 3)
    ]
    assert made.id < cluster.state.functions["till.t"].id  # it is there before what needs it
    assert cluster.state.owners(made) == ["clerk", "till"]
    assert ClusterState.from_json(cluster.state.to_json()) == cluster.state


def test_a_store_goes_with_its_last_owner_and_not_before_it_is_gone(cluster: ClusterKeeper) -> None:
    for name in ("till", "clerk"):
        cluster.create_function(request(name, "mariadb"), "b")
    cluster.remove_function("till.t")
    gone(cluster)
    assert names(cluster) == ["clerk", "mariadb"] and not cluster.removing("mariadb.t")
    cluster.remove_function("clerk.t")
    assert cluster.state.instances["mariadb.t.1"].phase is not Phase.DRAINING
    gone(cluster)
    assert cluster.state.instances["mariadb.t.1"].phase is Phase.DRAINING
    with pytest.raises(Conflict, match=r"the store mariadb\.t is still being removed; deploy again in a moment"):
        cluster.create_function(request("till", "mariadb"), "b")
    gone(cluster)
    assert names(cluster) == []


def test_a_namespace_goes_with_its_stores_last_of_all(cluster: ClusterKeeper) -> None:
    cluster.create_function(request("till", "mariadb", "mail"), "b")
    cluster.remove_namespace("t")
    assert {key for key, one in cluster.state.instances.items() if one.phase is Phase.DRAINING} == {"till.t.1"}
    gone(cluster)
    assert "t" in cluster.state.deployments
    gone(cluster)
    assert (cluster.state.functions, cluster.state.deployments) == ({}, {})


def test_an_owner_that_names_a_store_no_more_gives_it_up(cluster: ClusterKeeper) -> None:
    cluster.create_function(request("till", "mail"), "b")
    cluster.update_function(request("till"), "b")
    assert cluster.state.functions["till.t"].revision == 2  # what it sees in /etc/hosts is another
    assert cluster.removing("mail.t")


@pytest.mark.parametrize("name", ["mariadb", "mail"])
def test_nobody_scales_updates_or_removes_a_store(cluster: ClusterKeeper, name: str) -> None:
    cluster.create_function(request("till", "mariadb", "mail"), "b")
    for refused in (
        lambda: cluster.scale_function(f"{name}.t", 0),
        lambda: cluster.remove_function(f"{name}.t"),
        lambda: cluster.update_function(request(name), "b"),
    ):
        with pytest.raises(NotFound, match=f"there is no function {name}"):
            refused()


def test_another_password_starts_the_stores_process_again_and_replaces_its_owners(cluster: ClusterKeeper) -> None:
    cluster.create_function(replace(request("till", "mariadb"), secrets=("mariadb-password",)), "b")
    for instance in list(cluster.state.instances.values()):
        cluster.set_phase(instance.id, Phase.READY)
    cluster.secrets.update(SecretRequest("t", "mariadb-password", "b3RoZXI="))
    instances = cluster.state.instances
    assert set(instances) == {
        "mariadb.t.1",
        "till.t.1",
        "till.t.2",
    }  # two servers on one data folder would be one too many
    assert instances["mariadb.t.1"].revision == cluster.state.functions["mariadb.t"].revision == 2


def test_the_gateway_and_all_who_scale_do_not_see_stores(cluster: ClusterKeeper) -> None:
    cluster.create_function(request("till", "mariadb"), "b")
    assert set(cluster.state.without_stores().functions) == {"till.t"}
    functions = Functions(lambda vip: Mock(host=vip, port=8080), "t")
    functions.update(cluster.state)
    assert [functions.find(name) is not None for name in (b"till.t", b"mariadb.t", b"mariadb")] == [True, False, False]


# What is refused


def checked(secrets: tuple[str, ...] = ("mariadb-password",), **body: Any) -> FunctionRequest:
    body = {"service": "till", "image": "i", "namespace": "t", **body}
    wanted = validation.function_request(body, "openfaas-fn")
    validation.check(wanted, ClusterState(1, (1, 2, 3)), lambda image: "b", secrets)
    return wanted


def test_a_function_request_names_its_stores() -> None:
    assert checked(annotations={STORES_ANNOTATION: "mariadb , mail"}).stores == ("mariadb", "mail")
    assert checked((), annotations={STORES_ANNOTATION: "mail"}).stores == ("mail",)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"service": "mail"}, "mail is the name of a store; give the function another"),
        (
            {"annotations": {STORES_ANNOTATION: "redis"}},
            "function till names the store redis; there are mariadb, mail",
        ),
        (
            {"annotations": {STORES_ANNOTATION: "mail,mail"}},
            "function till names the store mail twice; take one of them out",
        ),
        (
            {"secrets_there": (), "annotations": {STORES_ANNOTATION: "mariadb"}},
            "function till names the store mariadb, whose password is the secret mariadb-password, which namespace t "
            "does not have; create it first",
        ),
    ],
    ids=["a store's name", "unknown", "twice", "no password"],
)
def test_what_is_wrong_with_a_request_is_said(body: dict[str, Any], said: str) -> None:
    there = body.pop("secrets_there", ("mariadb-password",))
    with pytest.raises(UsageError) as refused:
        checked(there, **body)
    assert str(refused.value) == said


# Deployment


class Provider:
    """A provider that keeps what it is given."""

    def __init__(self, *secrets: str) -> None:
        self.names = list(secrets)
        self.values: list[bytes] = []

    def secrets(self, namespace: str) -> list[str]:
        return self.names

    def create_secret(self, name: str, namespace: str, value: bytes) -> None:
        self.names.append(name)
        self.values.append(value)


def application(script: str = "") -> Application:
    spec = FunctionSpec("till", "python", "till", "i", stores=("mariadb", "mail"))
    return Application("shop", (spec,), scripts={"mariadb": script} if script else {})


def running(name: str, replicas: int = 1) -> dict[str, Function]:
    return {f"{name}.t": Function("t", name, 256, "10.96.1.0", "", replicas, port=3306, store=True)}


def prepare(folder: Path, provider: Any, script: str = "", functions: dict[str, Function] | None = None) -> None:
    datastore_setup.prepare(application(script), "t", folder, provider, functions or {})


def test_deploy_makes_a_password_only_where_there_is_none(tmp_path: Path) -> None:
    first, second = Provider(), Provider()
    prepare(tmp_path, first)
    prepare(tmp_path, second)
    assert first.names == ["mariadb-password"] and len(first.values[0]) > 20
    assert first.values != second.values
    had = Provider("mariadb-password")
    prepare(tmp_path, had)
    assert had.values == []


def test_the_script_of_an_earlier_application_is_not_run_for_the_next(tmp_path: Path) -> None:
    file = datastores.script(tmp_path, "t", "mariadb")
    prepare(tmp_path, Provider(), "CREATE TABLE a (b INT);")
    assert file.read_text() == "CREATE TABLE a (b INT);"
    prepare(tmp_path, Provider(), "", running("mariadb", replicas=0))
    assert not file.exists()


def test_a_store_that_was_made_with_another_script_is_not_passed_off_as_this_one(tmp_path: Path) -> None:
    prepare(tmp_path, Provider(), "one")
    prepare(tmp_path, Provider(), "one", running("mariadb"))
    with pytest.raises(PlatformError) as refused:
        prepare(tmp_path, Provider(), "two", running("mariadb"))
    assert str(refused.value) == (
        "namespace t has a store mariadb that was made with another mariadb.sql than that of shop; remove it first: "
        "testbed remove --namespace t"
    )
    assert datastores.script(tmp_path, "t", "mariadb").read_text() == "one"


def test_a_machine_without_the_server_is_told_before_anything_is_deployed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mariadb.shutil, "which", lambda name, path: None)
    with pytest.raises(EnvironmentProblem, match=r"does not have; install it with `apt-get install mariadb-server`"):
        datastore_setup.check(application())
    datastore_setup.check(Application("shop", (FunctionSpec("m", "python", "m", "i", stores=("mail",)),)))

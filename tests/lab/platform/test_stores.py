"""Stores with real servers and real packets: who reaches them, what outlives a crash, what is left when they go."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial

import pytest
import requests

from testbed.model import addressing, datastores
from testbed.model.cluster import ClusterState, Phase, Route
from testbed.model.errors import PlatformError
from testbed.model.stack import stack_file
from testbed.network.lab import Lab
from testbed.platform.client.platform import Platform
from testbed.platform.datastores import access
from tests import waiting
from tests.lab.calls import of_apiserver
from tests.lab.conftest import CHECKOUT, command_line
from tests.lab.traffic import in_host, reaches

APPLICATION = CHECKOUT / "tests/lab/functions/till/stack.yaml"
TENANTS = {"till-a": Route.DIRECT, "till-b": Route.GATEWAY}
BALANCE = "opening balance; Übertrag"
GATEWAY = f"http://{addressing.vip(addressing.GATEWAY_ID)}:{addressing.FUNCTION_PORT}"
eventually = partial(waiting.eventually, within_s=20.0)


@pytest.fixture(scope="module")
def platform(lab: Lab) -> Iterator[Platform]:
    with lab.inside():
        platform = Platform(lab)
        application = stack_file.load(APPLICATION, {})
        for tenant, route in TENANTS.items():
            platform.deploy(application, tenant, route)
        yield platform
        for tenant in TENANTS:
            if tenant in platform.state().deployments:
                platform.remove(tenant)


@pytest.fixture(scope="module")
def state(platform: Platform) -> ClusterState:
    return platform.state()


def sell(lab: Lab, tenant: str, what: str = "") -> requests.Response:
    url = f"{GATEWAY}/function/till.{tenant}"
    return in_host(lab, "client", lambda: requests.post(url, data=what.encode(), timeout=30))


def phase(platform: Platform, instance: str) -> Phase:
    return platform.state().instances[instance].phase


def instance_of(state: ClusterState, function: str) -> str:
    return next(one.id for one in state.instances.values() if one.function_name == function)


@pytest.mark.parametrize("tenant", TENANTS)
def test_owners_reach_their_stores_by_name_with_the_namespaces_password(
    lab: Lab, platform: Platform, tenant: str
) -> None:
    answer = sell(lab, tenant, "tea")
    assert (answer.status_code, answer.json()) == (200, [BALANCE, "tea"])
    assert sell(lab, tenant).json() == [BALANCE, "tea"]
    (message,) = access.messages(lab.state_folder, tenant)
    assert (message["from"], message["to"]) == ("till@example.org", ["owner@example.org"])
    assert message["subject"] == "Sold: tea" and message["bytes"] > 100
    assert access.use(lab.state_folder, tenant).connections == 2


Attempt = tuple[str, str, int]
"""Who tries, and the address and port that it tries."""


def answered(lab: Lab, attempts: Iterable[Attempt]) -> set[Attempt]:
    """Those of the attempts that make a connection."""
    attempts = list(attempts)
    with ThreadPoolExecutor(max_workers=32) as pool:
        outcomes = list(pool.map(lambda attempt: reaches(lab, *attempt), attempts))
    return {attempt for attempt, connected in zip(attempts, outcomes, strict=True) if connected}


def test_nobody_else_reaches_a_store_at_any_of_its_addresses(lab: Lab, platform: Platform, state: ClusterState) -> None:
    hosts = [*(one.name for one in state.hosts.values()), *state.instances]
    allowed = {(f"till.{t}", f"mariadb.{t}") for t in TENANTS} | {(f"mailer.{t}", f"mail.{t}") for t in TENANTS}
    owner = {one.id: one.function_name for one in state.instances.values()}
    attempts: dict[Attempt, bool] = {}
    for name, store in state.functions.items():
        if not store.store or store.namespace not in TENANTS:
            continue
        there = state.instances[instance_of(state, name)]
        for host in hosts:
            if host == there.id:
                continue
            attempts[host, store.vip, store.port] = (owner.get(host, host), name) in allowed
            attempts[host, there.eip, store.port] = False
            attempts[host, store.vip, addressing.FUNCTION_PORT] = False
    connected = answered(lab, attempts)
    assert connected == {attempt for attempt, may in attempts.items() if may}
    assert len(connected) == 2 * len(TENANTS)


def test_a_store_calls_nobody(lab: Lab, state: ClusterState) -> None:
    for tenant in TENANTS:
        host = instance_of(state, f"mariadb.{tenant}")
        targets = [(one.vip, one.port) for one in state.functions.values() if one.name != "mariadb"]
        targets.append((addressing.vip(addressing.GATEWAY_ID), addressing.FUNCTION_PORT))
        assert answered(lab, [(host, *target) for target in targets]) == set()


def test_root_has_no_password_and_no_way_in_by_the_network(lab: Lab, platform: Platform) -> None:
    rows = access.execute(lab.state_folder, "till-a", "SELECT user, host FROM mysql.user ORDER BY user")
    assert set(rows) == {("app", "%"), ("mariadb.sys", "localhost"), ("root", "localhost")}


@pytest.mark.parametrize("tenant", TENANTS)
def test_a_killed_server_comes_back_with_its_data_and_calls_wait_for_it(
    lab: Lab, platform: Platform, tenant: str
) -> None:
    before = sell(lab, tenant).json()
    store = instance_of(platform.state(), f"mariadb.{tenant}")
    pid = int(next(lab.state_folder.glob(f"agents/node*/{store}.pid")).read_text())
    subprocess.run(lab.command("root", ["kill", "-KILL", str(pid)]), check=True)
    assert eventually(lambda: phase(platform, store) is Phase.NOT_READY)
    answer = sell(lab, tenant, "coffee")
    assert (answer.status_code, answer.json()) == (200, [*before, "coffee"])
    assert phase(platform, store) is Phase.READY
    log = (lab.state_folder / "logs/controller.out").read_text()
    assert f"the scaler answered for mariadb.{tenant}" not in log


def test_chaos_knows_a_store_and_what_must_hold_of_it(lab: Lab, platform: Platform) -> None:
    seen = command_line("chaos", "kill", "mariadb.till-a", "--json", "--name", lab.name)
    assert seen.returncode == 0, seen.stderr
    assert json.loads(seen.stdout)["target"] == instance_of(platform.state(), "mariadb.till-a")
    refused = command_line("chaos", "overload", "mariadb.till-a", "--name", lab.name)
    assert refused.returncode != 0 and "mariadb.till-a, till" not in refused.stderr


def test_a_store_is_no_function_to_anybody_outside(lab: Lab, platform: Platform) -> None:
    namespace = "till-a"
    listed = of_apiserver(platform, f"/system/functions?namespace={namespace}").json()
    assert sorted(one["name"] for one in listed) == ["mailer", "stranger", "till"]
    for refused in (
        lambda: platform.scale("mariadb", namespace, 2),
        lambda: platform.remove_function("mariadb", namespace),
        lambda: platform.provider.function("mail", namespace),
    ):
        with pytest.raises(PlatformError, match=r"there is no function ma\w+\.till-a"):
            refused()
    for name in ("mariadb", "mail"):
        for tenant in TENANTS:
            url = f"{GATEWAY}/function/{name}.{tenant}"
            assert in_host(lab, "client", partial(requests.get, url, timeout=10)).status_code == 404


def test_the_commands_show_stores(lab: Lab, platform: Platform, state: ClusterState) -> None:
    store = state.functions["mariadb.till-a"]

    def said(*arguments: str, code: int = 0) -> str:
        result = command_line(*arguments, "--name", lab.name)
        assert result.returncode == code, result.stderr
        return result.stdout

    assert f"{store.vip}:3306" in said("status")
    described = json.loads(said("describe", "mariadb.till-a", "--json"))
    assert (described["owners"], described["port"], described["status"]) == (["till"], 3306, "Ready")
    assert "ready for connections" in said("logs", "mariadb.till-a", "--tail", "100")
    assert "allowed: call till.till-b → mariadb.till-b" in said("trace", "till.till-b", "mariadb.till-b")
    assert "denied" in said("trace", "stranger.till-b", "mariadb.till-b", code=1)


def test_a_providers_deny_cuts_an_owner_off(lab: Lab, platform: Platform) -> None:
    platform.add_policy({"name": "no-sales", "kind": "deny", "namespace": "till-a", "from": "till", "to": "mariadb"})
    try:
        host = instance_of(platform.state(), "till.till-a")
        store = platform.state().functions["mariadb.till-a"]
        assert not reaches(lab, host, store.vip, store.port)
    finally:
        platform.remove_policy("no-sales")
    assert reaches(lab, host, store.vip, store.port)


def test_another_password_is_the_stores_and_its_owners_at_once(lab: Lab, platform: Platform) -> None:
    before = sell(lab, "till-b").json()
    platform.provider.update_secret("mariadb-password", "till-b", b"it's \\ another")
    platform.wait_ready(namespace="till-b")
    assert eventually(lambda: sell(lab, "till-b").status_code == 200)
    assert sell(lab, "till-b").json() == before


def test_deploying_again_keeps_the_data_and_another_script_is_refused(lab: Lab, platform: Platform) -> None:
    application = stack_file.load(APPLICATION, {})
    before = sell(lab, "till-a").json()
    platform.deploy(application, "till-a", Route.DIRECT)
    assert sell(lab, "till-a").json() == before
    other = replace(application, scripts={"mariadb": "CREATE TABLE other (id INT);"})
    with pytest.raises(PlatformError, match=r"made with another mariadb\.sql than that of till; remove it first"):
        platform.deploy(other, "till-a", Route.DIRECT)


def test_a_store_goes_with_its_last_owner_and_leaves_nothing(lab: Lab, platform: Platform) -> None:
    mail, data = (datastores.folder(lab.state_folder, "till-a", name) for name in ("mail", "mariadb"))
    assert mail.is_dir() and data.is_dir()
    platform.remove_function("till", "till-a")
    assert eventually(lambda: "mariadb.till-a" not in platform.state().functions)
    assert not data.exists() and mail.is_dir()
    assert sell(lab, "till-b").status_code == 200
    platform.remove("till-a")
    assert not datastores.folder_of(lab.state_folder, "till-a").exists()
    platform.remove("till-b")
    assert list((lab.state_folder / "stores").iterdir()) == []
    assert not [one for one in platform.state().functions.values() if one.namespace in TENANTS]

"""A switch that hangs, or that somebody else changes, and what is said to be in force: with real switches and calls."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest
import requests

from testbed.model import addressing
from testbed.model.cluster import ClusterState, Route
from testbed.model.stack import stack_file
from testbed.network.lab import Lab
from testbed.platform.client.platform import Platform
from tests import waiting
from tests.lab.calls import Books, of_controller, request, still_answers, switches_agree
from tests.lab.conftest import CHECKOUT
from tests.lab.traffic import in_host, reaches

NAMESPACE, ELSEWHERE = "switches", "switches-wide"
CALLER, CALLEE = "chain-2", "chain-3"
EVENT_S = 30.0
FLUSHED_S = 4.0
"""Flushes come again until 3 s after the first."""
until = partial(waiting.until, within_s=EVENT_S)


@pytest.fixture(scope="module")
def platform(lab: Lab) -> Iterator[Platform]:
    """A chain of three on node2 alone, and one over both workers."""
    with lab.inside():
        platform = Platform(lab)
        application, _ = stack_file.select(
            stack_file.load(CHECKOUT / "functions/chain/stack.yaml", {}), "^chain-[1-3]$"
        )
        platform.deploy(application, NAMESPACE, Route.DIRECT, "node2")
        platform.deploy(application, ELSEWHERE, Route.DIRECT, "spread")
        yield platform
        for namespace in (NAMESPACE, ELSEWHERE):
            platform.remove(namespace)


def ofctl(lab: Lab, switch: str, *arguments: str) -> None:
    socket_path = lab.state_folder / "ovs" / switch / f"{switch}.mgmt"
    command = ["ovs-ofctl", "-O", "OpenFlow13", arguments[0], f"unix:{socket_path}", *arguments[1:]]
    subprocess.run(command, check=True, timeout=30)


@contextmanager
def hung(lab: Lab, switch: str) -> Iterator[None]:
    """The switch's daemon takes nothing for the block."""
    pid = str(lab.client.status()["components"][switch]["pid"])
    subprocess.run(lab.command("root", ["kill", "-STOP", pid]), check=True)
    try:
        yield
    finally:
        subprocess.run(lab.command("root", ["kill", "-CONT", pid]), check=True)


def host(state: ClusterState, function: str, namespace: str) -> str:
    return next(one.id for one in state.instances.values() if one.function_name == f"{function}.{namespace}")


def vip(state: ClusterState, function: str, namespace: str) -> str:
    return state.functions[f"{function}.{namespace}"].vip


def repaired(platform: Platform, node: int) -> int:
    return int(of_controller(platform, "/version").json()["switches"][str(node)]["repaired"])


@pytest.mark.parametrize("removed", ["del-flows", "del-groups", "del-meters"])
def test_what_was_removed_by_hand_is_put_back_and_counted(lab: Lab, platform: Platform, removed: str) -> None:
    state, before = platform.state(), repaired(platform, 2)
    caller, callee = host(state, CALLER, NAMESPACE), vip(state, CALLEE, NAMESPACE)
    assert reaches(lab, caller, callee)
    ofctl(lab, "s2", removed)
    until(lambda: repaired(platform, 2) > before, "the controller has seen it")
    assert switches_agree(platform)
    until(lambda: reaches(lab, caller, callee), "calls pass again")


def test_what_somebody_else_added_is_taken_away(lab: Lab, platform: Platform) -> None:
    before = repaired(platform, 2)
    ofctl(lab, "s2", "add-flow", "table=6,priority=65000,ip,actions=resubmit(,9)")
    until(lambda: repaired(platform, 2) == before + 1, "the row was found")
    assert switches_agree(platform)


def test_while_a_switch_hangs_the_other_nodes_scale_and_answer_first_calls(lab: Lab, platform: Platform) -> None:
    state = platform.state()
    gateway, path = addressing.vip(addressing.GATEWAY_ID), f"/function/chain-1.{NAMESPACE}"
    with hung(lab, "s3"):
        for replicas in (2, 1):
            platform.scale(CALLEE, NAMESPACE, replicas)
            platform.wait_ready(namespace=NAMESPACE)
        for function in ("chain-1", CALLEE):
            platform.scale(function, NAMESPACE, 0)
            platform.wait_ready(namespace=NAMESPACE)
        assert in_host(lab, "client", lambda: request(gateway, path)) == "200"
        assert in_host(lab, host(state, CALLER, NAMESPACE), lambda: request(vip(state, CALLEE, NAMESPACE))) == "200"
    until(lambda: switches_agree(platform), "s3 has all it has missed")


@contextmanager
def denied(platform: Platform, namespace: str, caller: str = CALLER) -> Iterator[dict[str, Any]]:
    """A deny for as long as the block lasts; how it was taken."""
    ends = {"from": caller, "to": f"chain-{int(caller[-1]) + 1}"}
    added = platform.add_policy({"name": "shut", "kind": "deny", "namespace": namespace, **ends})
    try:
        yield added
    finally:
        platform.remove_policy("shut")


def test_a_policy_is_not_in_force_while_a_switch_that_it_concerns_hangs(lab: Lab, platform: Platform) -> None:
    state = platform.state()
    wide = (one for one in state.instances.values() if one.namespace == ELSEWHERE and one.function != CALLEE)
    on_node3 = next(one for one in wide if one.node == 3)
    with hung(lab, "s3"), denied(platform, ELSEWHERE, on_node3.function) as added:
        assert added["state"].startswith("taken; node3's switch")
        assert platform.policies()[0]["state"].startswith("not in force everywhere: node3's switch")
    until(lambda: switches_agree(platform), "s3 has all it has missed")
    with denied(platform, ELSEWHERE, on_node3.function) as added:
        assert added["state"] == "in force on 1 call"


def test_nothing_is_in_force_while_the_controller_does_not_know_the_cluster(lab: Lab, platform: Platform) -> None:
    state = platform.state()
    caller, callee = host(state, CALLER, NAMESPACE), vip(state, CALLEE, NAMESPACE)
    before = lab.client.status()["components"]["controller"]["pid"]
    lab.client.keep_away("apiserver", 60)
    try:
        lab.client.restart("controller")
        until(lambda: lab.client.status()["components"]["controller"]["pid"] not in (None, before), "it is restarted")
        until(lambda: controller_answers(platform), "the controller answers")
        added = platform.add_policy(
            {"name": "shut", "kind": "deny", "namespace": NAMESPACE, "from": CALLER, "to": CALLEE}
        )
        assert added["state"].startswith("taken; no switch has it")
        assert platform.policies()[0]["state"].startswith("not in force: no switch has it")
        assert reaches(lab, caller, callee)  # which is why it must not be said
    finally:
        lab.client.restart("apiserver")
    try:
        until(lambda: platform.policies()[0]["state"] == "in force on 1 call", "the switches have it")
        assert not reaches(lab, caller, callee)
    finally:
        platform.remove_policy("shut")
    assert reaches(lab, caller, callee)


def controller_answers(platform: Platform) -> bool:
    try:
        return bool(of_controller(platform, "/version").json())
    except requests.RequestException:
        return False


def test_what_is_allowed_again_lives_on_and_counts_once(lab: Lab, platform: Platform) -> None:
    """The flush of a deny comes again for seconds; a scaling meanwhile must not bring it upon what is allowed."""
    state, books, count = platform.state(), Books(platform), 5
    caller, callee = host(state, CALLER, ELSEWHERE), vip(state, CALLEE, ELSEWHERE)
    with denied(platform, ELSEWHERE):
        pass

    def connect() -> list[socket.socket]:
        return [socket.create_connection((callee, addressing.FUNCTION_PORT), timeout=5) for _ in range(count)]

    connections = in_host(lab, caller, connect)
    try:
        ended = time.monotonic() + FLUSHED_S
        for replicas in (2, 1):
            platform.scale("chain-1", ELSEWHERE, replicas)
            platform.wait_ready(namespace=ELSEWHERE)
        while time.monotonic() < ended:
            assert all(still_answers(connection) for connection in connections)
        assert books.calls(f"{CALLER}.{ELSEWHERE}", f"{CALLEE}.{ELSEWHERE}", count) == count
    finally:
        for connection in connections:
            connection.close()

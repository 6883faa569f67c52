"""`testbed app`: with real packets exactly the call graph passes, and drawings show what was counted."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree as Xml

import pytest
import requests

from testbed.commands.app_matrix import try_matrix
from testbed.model import addressing
from testbed.model.application import Application
from testbed.model.cluster import Route
from testbed.model.stack import stack_file
from testbed.network.lab import Lab
from testbed.platform.client.platform import Platform
from tests.lab.conftest import CHECKOUT, command_line

TENANTS = {"shown-d": Route.DIRECT, "shown-g": Route.GATEWAY}
REQUESTS = 5
GATEWAY = f"http://{addressing.GATEWAY_MANAGEMENT_IP}:8080/function"


@pytest.fixture(scope="module")
def chain() -> Application:
    application, _ = stack_file.select(stack_file.load(CHECKOUT / "functions/chain/stack.yaml", {}), "^chain-[1-4]$")
    return application


@pytest.fixture(scope="module")
def platform(lab: Lab, chain: Application) -> Iterator[Platform]:
    with lab.inside():
        platform = Platform(lab)
        for tenant, route in TENANTS.items():
            platform.deploy(chain, tenant, route, "spread")
        platform.wait_ready()
        yield platform
        for tenant in TENANTS:
            platform.remove(tenant)


def test_the_drawing_shows_what_switches_and_gateway_counted(lab: Lab, platform: Platform, tmp_path: Path) -> None:
    for tenant in TENANTS:
        for _ in range(REQUESTS):
            assert requests.get(f"{GATEWAY}/chain-1.{tenant}", timeout=20).ok
    shown = command_line("app", "show", "chain", "--json", "--svg", str(tmp_path / "x.svg"), "--name", lab.name)
    assert shown.returncode == 0, shown.stderr
    graphs = {graph["namespace"]: graph for graph in json.loads(shown.stdout)}
    calls = {(one["caller"], one["callee"]): one for one in graphs["shown-d"]["calls"]}
    assert [calls[f"chain-{n}", f"chain-{n + 1}"]["calls"] for n in (1, 2, 3)] == [REQUESTS] * 3
    assert calls["chain-1", "chain-3"]["calls"] == 0
    by_gateway = {one["name"]: one["invocations"] for one in graphs["shown-g"]["functions"]}
    assert by_gateway == {f"chain-{n}": REQUESTS for n in (1, 2, 3, 4)}
    assert all(one["by_gateway"] and "calls" not in one for one in graphs["shown-g"]["calls"])
    vips = {function.vip for function in platform.state().functions.values() if function.namespace in TENANTS}
    texts = [element.text or "" for element in Xml.parse(tmp_path / "x.svg").iter()]
    assert all(any(vip in text for text in texts) for vip in vips)


def test_on_the_direct_route_exactly_the_call_graph_passes(lab: Lab, platform: Platform, chain: Application) -> None:
    platform.scale("chain-2", "shown-d", 2)
    platform.wait_ready()
    found = try_matrix(lab, chain, platform.state(), "shown-d")
    assert found.differences() == []
    assert {pair for pair, cell in found.cells.items() if cell.passes} == set(chain.calls())
    assert found.cells["chain-2", "chain-3"].tried == 2


def test_on_the_gateway_route_the_call_graph_binds_nobody(lab: Lab, platform: Platform, chain: Application) -> None:
    found = try_matrix(lab, chain, platform.state(), "shown-g")
    assert all(cell.by_gateway and not cell.through for cell in found.cells.values())
    undeclared = len(found.cells) - len(chain.calls())
    assert found.differences() == [
        f"{undeclared} pairs that the call graph does not name pass by the gateway, which forwards to any function"
    ]


def test_what_a_provider_opens_and_shuts_is_a_difference(lab: Lab, platform: Platform) -> None:
    rules = {"matrix-open": ("allow", "chain-4", "chain-2"), "matrix-shut": ("deny", "chain-1", "chain-3")}
    for name, (kind, source, target) in rules.items():
        body = {"name": name, "kind": kind, "namespace": "shown-d", "from": source, "to": target, "operator": False}
        platform.add_policy(body)
    try:
        tried = command_line("app", "matrix", "chain", "--namespace", "shown-d", "--json", "--name", lab.name)
    finally:
        for name in rules:
            platform.remove_policy(name)
    assert tried.returncode == 1, tried.stderr
    (found,) = json.loads(tried.stdout)
    assert sorted(found["differences"]) == [
        "chain-1 → chain-3 is in the call graph and 1 of 1 instances fail",
        "chain-4 → chain-2 passes and is not in the call graph",
    ]


def test_without_differences_the_command_says_so_and_exits_with_0(lab: Lab, platform: Platform) -> None:
    tried = command_line("app", "matrix", "chain", "--namespace", "shown-d", "--name", lab.name)
    assert tried.returncode == 0, tried.stderr
    assert "exactly the 5 calls of the call graph pass" in tried.stdout

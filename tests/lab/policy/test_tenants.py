"""What one tenant can do to another: on the direct route nothing; by the shared gateway what tokens do not stop.

Tenant A ("victim") and tenant B ("thief") have the same chain, each on both routes. B's attacks come from
B's own instances, as code in a function would make them.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest
import requests

from testbed.chaos.load import PROBE_PAUSE_S, Flood, Requests
from testbed.model import addressing
from testbed.model.application import Application
from testbed.model.cluster import ClusterState, Route
from testbed.model.stack import stack_file
from testbed.network.lab import Lab
from testbed.platform.client.platform import Platform
from tests.lab.conftest import CHECKOUT
from tests.lab.traffic import in_host, matrix, reaches, send_frames, syn_frame
from tests.waiting import until

TENANTS = {
    "victim": Route.DIRECT,
    "thief": Route.DIRECT,
    "victim-g": Route.GATEWAY,
    "thief-g": Route.GATEWAY,
}
GATEWAY = f"http://{addressing.vip(addressing.GATEWAY_ID)}:{addressing.FUNCTION_PORT}"
CONTROL_PLANE = [
    (addressing.CONTROL_PLANE_IP, addressing.APISERVER_PORT),
    (addressing.CONTROL_PLANE_IP, addressing.CONTROLLER_REST_PORT),
    (addressing.CONTROL_PLANE_IP, addressing.OPENFLOW_PORT),
    (addressing.CONTROL_PLANE_IP, addressing.SCALER_PORT),
    (addressing.GATEWAY_MANAGEMENT_IP, addressing.FUNCTION_PORT),
    (addressing.GATEWAY_MANAGEMENT_IP, addressing.GATEWAY_METRICS_PORT),
    (addressing.management_ip(2), 22),
]
FLOOD_PER_S = 3000.0
FLOOD_S = 4.0
EVENT_S = 60.0


def application(**annotations: str) -> Application:
    """A chain of two; `annotations` go to the second function."""
    chain, _ = stack_file.select(stack_file.load(CHECKOUT / "functions/chain/stack.yaml", {}), "^chain-[12]$")
    first, second = chain.functions
    named = {name.replace("_", "/"): value for name, value in annotations.items()}
    return replace(chain, functions=(first, replace(second, annotations={**second.annotations, **named})))


@pytest.fixture(scope="module")
def platform(lab: Lab) -> Iterator[Platform]:
    with lab.inside():
        platform = Platform(lab)
        for tenant, route in TENANTS.items():
            # What pauses B's second function is B's own doing: it stays at zero once it is there.
            paused = {"autoscaling.keda.sh_paused": "true"} if tenant == "thief" else {}
            platform.deploy(application(**paused), tenant, route, "spread")
        yield platform
        for tenant in TENANTS:
            platform.remove(tenant)


@pytest.fixture(scope="module")
def state(platform: Platform) -> ClusterState:
    return platform.state()


def hosts_of(state: ClusterState, *tenants: str) -> list[str]:
    return sorted(one.id for one in state.instances.values() if one.namespace in tenants)


def ask(lab: Lab, host: str, path: str, method: str = "GET", **options: object) -> requests.Response:
    """A request to the gateway by a program in `host`."""
    return in_host(lab, host, lambda: requests.request(method, GATEWAY + path, timeout=20, **options))  # type: ignore[arg-type]


# The direct route


def test_nothing_of_a_tenant_is_reached_from_another_on_the_direct_route(lab: Lab, state: ClusterState) -> None:
    """By vIP, by eIP, by gateway: from every instance of B on the direct route to everything that is A's."""
    of_victim = [function.vip for function in state.functions.values() if function.namespace.startswith("victim")]
    of_victim += [one.eip for one in state.instances.values() if one.namespace.startswith("victim")]
    targets = [*of_victim, addressing.vip(addressing.GATEWAY_ID), addressing.eip(1, 1)]
    passed = [pair for pair, answered in matrix(lab, hosts_of(state, "thief"), targets).items() if answered]
    assert passed == []


def test_no_function_reaches_apiserver_controller_scaler_or_management(lab: Lab, state: ClusterState) -> None:
    hosts = hosts_of(state, "thief", "thief-g")
    assert [(host, *address) for host in hosts for address in CONTROL_PLANE if reaches(lab, host, *address)] == []


def test_the_gateways_other_ports_are_closed_to_functions(lab: Lab, state: ClusterState) -> None:
    host = hosts_of(state, "thief-g")[0]
    assert reaches(lab, host, addressing.vip(addressing.GATEWAY_ID))
    ports = [addressing.GATEWAY_METRICS_PORT, addressing.APISERVER_PORT, 22]
    gateway = (addressing.vip(addressing.GATEWAY_ID), addressing.eip(1, 1))
    assert [(ip, port) for ip in gateway for port in ports if reaches(lab, host, ip, port)] == []


def drops(platform: Platform, reason: str) -> int:
    return sum(row["packets"] for row in platform.counters()["drops"] if row["reason"] == reason)


def calls_to(platform: Platform, callee: str) -> int:
    return sum(row["packets"] for row in platform.counters()["calls"] if row["callee"] == callee)


@pytest.mark.parametrize("lie", ["ip", "mac", "both"])
def test_who_pretends_to_be_another_tenant_is_dropped(
    lab: Lab, platform: Platform, state: ClusterState, lie: str
) -> None:
    """B sends what A's first function might send to A's second."""
    (thief,) = (one for one in state.instances.values() if one.function_name == "chain-1.thief")
    (victim,) = (one for one in state.instances.values() if one.function_name == "chain-1.victim")
    ip = victim.eip if lie in ("ip", "both") else thief.eip
    mac = addressing.mac(victim.eip if lie in ("mac", "both") else thief.eip)
    callee = "chain-2.victim"
    before, dropped = calls_to(platform, callee), drops(platform, "spoofed-source")
    frames = [syn_frame(mac, ip, state.functions[callee].vip, 30_000 + n) for n in range(20)]
    send_frames(lab, thief.id, frames)
    until(lambda: drops(platform, "spoofed-source") >= dropped + len(frames), "all counted as spoofed", EVENT_S)
    assert calls_to(platform, callee) == before


# By way of the gateway


@pytest.mark.parametrize("forged", [{}, {"X-Forwarded-For": "127.0.0.1", "X-Forwarded-Host": "gateway.openfaas"}])
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/system/secrets?namespace=victim"),
        ("GET", "/system/logs?name=chain-1&namespace=victim"),
        ("POST", "/system/scale-function/chain-1?namespace=victim"),
        ("GET", "/system/functions?namespace=victim"),
        ("DELETE", "/system/functions"),
    ],
)
def test_management_asks_for_the_operators_password(
    lab: Lab, state: ClusterState, method: str, path: str, forged: dict[str, str]
) -> None:
    """Secrets, logs, scaling: B's function gets none of it, and an address in a header is worth nothing."""
    body = json.dumps({"serviceName": "chain-1", "functionName": "chain-1", "namespace": "victim", "replicas": 0})
    answer = ask(lab, hosts_of(state, "thief-g")[0], path, method, data=body, headers=forged)
    assert answer.status_code == 401
    assert "victim" not in answer.text


@pytest.mark.parametrize("path", ["/tokens", "/state", "/watch", "/instances/chain-1.victim.1/secrets", "/activate"])
def test_what_is_internal_to_the_control_plane_has_no_way_through_the_gateway(
    lab: Lab, state: ClusterState, path: str
) -> None:
    assert ask(lab, hosts_of(state, "thief-g")[0], path).status_code == 404


def test_without_tokens_another_tenants_functions_answer_by_gateway(lab: Lab, state: ClusterState) -> None:
    """The paper's P3: the gateway cannot tell who calls. Ingress functions are public; A's internal one is not."""
    host = hosts_of(state, "thief-g")[0]
    assert ask(lab, host, "/function/chain-2.victim-g").status_code == 200
    assert ask(lab, host, "/function/chain-1.victim").status_code == 200


@pytest.mark.parametrize("source", ["own", "victim", "loopback"])
def test_a_direct_tenants_internal_function_is_unknown_to_the_gateway(
    lab: Lab, state: ClusterState, source: str
) -> None:
    eip = next(one.eip for one in state.instances.values() if one.function_name == "chain-1.victim")
    headers = {"own": {}, "victim": {"X-Forwarded-For": eip}, "loopback": {"X-Forwarded-For": "127.0.0.1"}}[source]
    answer = ask(lab, hosts_of(state, "thief-g")[0], "/function/chain-2.victim", headers=headers)
    assert answer.status_code == 404


# A flood


def punted(platform: Platform, function: str) -> int:
    """First packets of calls to the function that its callers' switches handed to the controller."""
    outcomes = ("held", "repeated", "passed", "overflowed")
    rows = [row for row in platform.counters()["holds"] if row["function"] == function]
    return sum(row[outcome] for row in rows for outcome in outcomes)


def test_under_a_punt_flood_another_tenant_loses_no_request(lab: Lab, platform: Platform, state: ClusterState) -> None:
    """B floods a function of its own that has no instance. A's calls, warm and cold, are all answered."""
    (thief,) = (one for one in state.instances.values() if one.function_name == "chain-1.thief")
    for tenant in ("thief", "victim"):
        platform.scale("chain-2", tenant, 0)
    platform.wait_ready()
    before = punted(platform, "chain-2.thief")
    vip = state.functions["chain-2.thief"].vip
    with Flood(lab.client, thief.id, thief.eip, [vip], FLOOD_PER_S) as flood:
        with Requests(lab.client, "chain-1.victim", pause_s=PROBE_PAUSE_S) as load:  # the first of them is cold
            time.sleep(FLOOD_S)
            assert platform.state().functions["chain-2.victim"].replicas == 1
        assert load.outcome.failures == {}
        assert load.outcome.answered > 10
    reached_controller = punted(platform, "chain-2.thief") - before
    assert 0 < reached_controller < flood.sent / 4
    platform.scale("chain-2", "thief", 1)
    platform.wait_ready()

"""Exactly the call graph's pairs reach each other; everything else is dropped where it starts, and counted."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from testbed.model import addressing
from testbed.model.cluster import ClusterState, Route
from testbed.model.stack import stack_file
from testbed.network.lab import Lab
from testbed.platform.client.platform import Platform
from tests.lab.conftest import CHECKOUT
from tests.lab.traffic import arp_frame, in_host, matrix, reaches, send_frames, syn_frame
from tests.waiting import last

LENGTH = 4
TENANTS = {"tenant-a": Route.DIRECT, "tenant-b": Route.DIRECT, "tenant-g": Route.GATEWAY}
GATEWAY_VIP = addressing.vip(addressing.GATEWAY_ID)
FRAMES = 20


@pytest.fixture(scope="module")
def platform(lab: Lab) -> Iterator[Platform]:
    with lab.inside():
        platform = Platform(lab)
        application, _ = stack_file.select(
            stack_file.load(CHECKOUT / "functions/chain/stack.yaml", {}), f"^chain-[1-{LENGTH}]$"
        )
        for tenant, route in TENANTS.items():
            platform.deploy(application, tenant, route, "spread")
        platform.wait_ready()
        yield platform
        for tenant in TENANTS:
            platform.remove(tenant)


@pytest.fixture(scope="module")
def state(platform: Platform) -> ClusterState:
    return platform.state()


def host_of(state: ClusterState, function: str) -> str:
    return next(instance.id for instance in state.instances.values() if instance.function_name == function)


def eip_of(state: ClusterState, function: str) -> str:
    return state.instances[host_of(state, function)].eip


def drops(platform: Platform, reason: str) -> int:
    return sum(row["packets"] for row in platform.counters()["drops"] if row["reason"] == reason)


def await_drops(platform: Platform, reason: str, at_least: int) -> int:
    """The counter, once it has reached `at_least` or 5 s have passed: switches report with a delay."""
    return last(lambda: drops(platform, reason), lambda count: count >= at_least, within_s=5)


def test_exactly_the_call_graph_passes(lab: Lab, platform: Platform, state: ClusterState) -> None:
    functions = state.functions
    expected = {
        (caller.full_name, callee.full_name): caller.namespace == callee.namespace
        and state.route(caller.namespace) is Route.DIRECT
        and callee.name in caller.calls
        for caller in functions.values()
        for callee in functions.values()
    }
    hosts = {host_of(state, name): name for name in functions}
    vips = {function.vip: name for name, function in functions.items()}
    seen = {(hosts[host], vips[vip]): passed for (host, vip), passed in matrix(lab, hosts, vips).items()}
    assert seen == expected
    assert sum(expected.values()) == sum(
        len(function.calls) for function in functions.values() if state.route(function.namespace) is Route.DIRECT
    )


def test_only_gateway_route_functions_reach_the_gateway(lab: Lab, state: ClusterState) -> None:
    hosts = [host_of(state, name) for name in state.functions]
    seen = matrix(lab, hosts, [GATEWAY_VIP])
    for (host, _), passed in seen.items():
        assert passed == (state.route(state.instances[host].namespace) is Route.GATEWAY), host


def test_the_gateway_reaches_ingress_functions_and_the_gateway_routes_functions(lab: Lab, state: ClusterState) -> None:
    for name, function in state.functions.items():
        allowed = function.ingress or state.route(function.namespace) is Route.GATEWAY
        assert reaches(lab, "gateway", function.vip) == allowed, name


def test_the_client_reaches_the_gateway_and_no_function(lab: Lab, state: ClusterState) -> None:
    assert reaches(lab, "client", GATEWAY_VIP)
    assert not any(matrix(lab, ["client"], [function.vip for function in state.functions.values()]).values())


@pytest.mark.parametrize("callee", ["chain-2.tenant-a", "chain-3.tenant-a", "chain-2.tenant-b", "chain-2.tenant-g"])
def test_no_endpoint_is_reached_past_its_vip(lab: Lab, platform: Platform, state: ClusterState, callee: str) -> None:
    before = drops(platform, "direct-to-eip")
    assert not reaches(lab, host_of(state, "chain-1.tenant-a"), eip_of(state, callee))
    assert await_drops(platform, "direct-to-eip", before + 1) > before


def test_other_ports_of_an_allowed_callee_are_closed(lab: Lab, platform: Platform, state: ClusterState) -> None:
    before = drops(platform, "not-in-call-graph")
    vip = state.functions["chain-2.tenant-a"].vip
    host = host_of(state, "chain-1.tenant-a")
    assert reaches(lab, host, vip)
    assert not any(reaches(lab, host, vip, port) for port in (22, 8081, 8082, 9090))
    assert await_drops(platform, "not-in-call-graph", before + 4) >= before + 4


@pytest.mark.parametrize("lie", ["ip", "mac", "both"])
def test_spoofed_sources_are_dropped_and_counted(lab: Lab, platform: Platform, state: ClusterState, lie: str) -> None:
    victim, evil = eip_of(state, "chain-1.tenant-a"), eip_of(state, "chain-4.tenant-b")
    ip = victim if lie in ("ip", "both") else evil
    mac = addressing.mac(victim if lie in ("mac", "both") else evil)
    before = drops(platform, "spoofed-source")
    vip = state.functions["chain-2.tenant-a"].vip
    frames = [syn_frame(mac, ip, vip, 20_000 + n) for n in range(FRAMES)]
    send_frames(lab, host_of(state, "chain-4.tenant-b"), frames)
    assert await_drops(platform, "spoofed-source", before + FRAMES) == before + FRAMES


@pytest.mark.parametrize("lie", ["sender-ip", "sender-mac", "ethernet-mac"])
def test_spoofed_arp_is_dropped_and_counted(lab: Lab, platform: Platform, state: ClusterState, lie: str) -> None:
    victim, evil = eip_of(state, "chain-1.tenant-a"), eip_of(state, "chain-4.tenant-b")
    own = addressing.mac(evil)
    frame = arp_frame(
        source_mac=addressing.mac(victim) if lie == "ethernet-mac" else own,
        sender_mac=addressing.mac(victim) if lie == "sender-mac" else own,
        sender_ip=victim if lie == "sender-ip" else evil,
        target_ip=state.functions["chain-2.tenant-a"].vip,
    )
    before = drops(platform, "spoofed-arp")
    send_frames(lab, host_of(state, "chain-4.tenant-b"), [frame] * FRAMES)
    assert await_drops(platform, "spoofed-arp", before + FRAMES) == before + FRAMES


@pytest.mark.parametrize("address", [addressing.CONTROL_PLANE_IP, addressing.management_ip(2)])
def test_control_plane_and_management_network_are_out_of_reach(
    lab: Lab, platform: Platform, state: ClusterState, address: str
) -> None:
    host, eip = host_of(state, "chain-1.tenant-g"), eip_of(state, "chain-1.tenant-g")
    assert not reaches(lab, host, address, addressing.APISERVER_PORT)
    before = drops(platform, "no-such-service")
    frames = [syn_frame(addressing.mac(eip), eip, address, 21_000 + n) for n in range(FRAMES)]
    send_frames(lab, host, frames)
    assert await_drops(platform, "no-such-service", before + FRAMES) == before + FRAMES


def test_a_host_has_no_way_around_its_switch(lab: Lab, state: ClusterState) -> None:
    """One interface besides lo, and no route but the data network's."""

    def interfaces() -> list[str]:
        lines = Path("/proc/thread-self/net/dev").read_text().splitlines()[2:]
        return sorted(line.split(":")[0].strip() for line in lines)

    for name in state.functions:
        assert in_host(lab, host_of(state, name), interfaces) == ["eth0", "lo"], name


def test_flow_digest_is_the_generators(platform: Platform) -> None:
    switches = platform.switches()
    assert sorted(switches) == ["1", "2", "3"]
    for number, switch in switches.items():
        assert switch["digest"] == switch["desired_digest"], number

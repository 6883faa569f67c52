"""A provider's own policies with real packets, and `trace` against what the packets do."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import pytest

from testbed.commands.trace_verb import ask_switch
from testbed.model import addressing
from testbed.model.cluster import ClusterState, Route
from testbed.model.errors import PlatformError
from testbed.model.stack import stack_file
from testbed.network.lab import Lab
from testbed.observe import tracing
from testbed.platform.client.platform import Platform
from tests.lab.calls import attempts, sniffed, still_answers, switches_agree
from tests.lab.conftest import CHECKOUT, command_line
from tests.lab.traffic import in_host, matrix, reaches, send_frames, syn_frame
from tests.waiting import eventually, last

T = TypeVar("T")
TENANTS = {"rules-a": Route.DIRECT, "rules-b": Route.DIRECT}
CALLER, CALLEE, OTHER = "chain-2", "chain-3", "chain-1"


@pytest.fixture(scope="module")
def platform(lab: Lab) -> Iterator[Platform]:
    with lab.inside():
        platform = Platform(lab)
        application, _ = stack_file.select(
            stack_file.load(CHECKOUT / "functions/chain/stack.yaml", {}), "^chain-[1-3]$"
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


@contextmanager
def policy(platform: Platform, **body: Any) -> Iterator[dict[str, Any]]:
    """A policy for as long as the block lasts."""
    added = platform.add_policy({"name": "tested", "namespace": "rules-a", **body})
    try:
        yield added
    finally:
        platform.remove_policy("tested")


def host(state: ClusterState, function: str, tenant: str = "rules-a") -> str:
    return next(one.id for one in state.instances.values() if one.function_name == f"{function}.{tenant}")


def vip(state: ClusterState, function: str, tenant: str = "rules-a") -> str:
    return state.functions[f"{function}.{tenant}"].vip


def settled(value: Callable[[], T], wanted: T) -> T:
    """The value, as soon as it is the wanted one, or as it is in the end."""
    return last(value, lambda found: found == wanted)


def everything(lab: Lab, state: ClusterState) -> dict[tuple[str, str], bool]:
    hosts = [one.id for one in state.instances.values()]
    return matrix(lab, hosts, [function.vip for function in state.functions.values()])


def test_an_allow_opens_exactly_one_pair(lab: Lab, platform: Platform, state: ClusterState) -> None:
    before = everything(lab, state)
    with policy(platform, kind="allow", **{"from": CALLEE, "to": OTHER}) as added:
        assert added["state"] == "in force on 1 call"
        opened = {**before, (host(state, CALLEE), vip(state, OTHER)): True}
        assert opened != before
        assert settled(lambda: everything(lab, state), opened) == opened
    assert settled(lambda: everything(lab, state), before) == before


def test_a_deny_closes_its_edge_and_ends_what_is_established(lab: Lab, platform: Platform, state: ClusterState) -> None:
    caller, address = host(state, CALLER), vip(state, CALLEE)

    def connect() -> socket.socket:
        return socket.create_connection((address, addressing.FUNCTION_PORT), timeout=1)

    with in_host(lab, caller, connect) as connection:
        assert still_answers(connection)
        before = everything(lab, state)
        with policy(platform, kind="deny", **{"from": CALLER, "to": CALLEE}):
            assert not still_answers(connection)
            closed = {**before, (caller, address): False}
            assert closed != before
            assert settled(lambda: everything(lab, state), closed) == closed
            assert eventually(lambda: platform.policies()[0]["hits"] > 0)
    assert eventually(lambda: reaches(lab, caller, address))


def test_a_rate_limit_lets_so_many_connections_begin(lab: Lab, platform: Platform, state: ClusterState) -> None:
    caller, address, other = host(state, CALLER), vip(state, CALLEE), host(state, OTHER)
    rate, count = 5, 60
    assert attempts(lab, caller, address, count) == count
    with policy(platform, kind="rate-limit", rate={"connections_per_s": rate}, **{"from": CALLER, "to": CALLEE}):
        limited = attempts(lab, caller, address, count)
        assert rate / 2 <= limited <= 3 * rate
        assert attempts(lab, other, address, count) == count  # another caller is not meant
        assert eventually(lambda: platform.policies()[0]["dropped"] >= count - 3 * rate)
    assert settled(lambda: attempts(lab, caller, address, count), count) == count


def test_a_limited_call_is_counted_once_a_connection_that_passed(
    lab: Lab, platform: Platform, state: ClusterState
) -> None:
    caller, address = host(state, CALLER), vip(state, CALLEE)

    def counted() -> int:
        pair = (f"{CALLER}.rules-a", f"{CALLEE}.rules-a")
        calls = platform.counters()["calls"]
        return sum(call["packets"] for call in calls if (call["caller"], call["callee"]) == pair)

    time.sleep(1.5)  # until the switches have reported what came before
    before = counted()
    with policy(platform, kind="rate-limit", rate={"connections_per_s": 5}, **{"from": CALLER, "to": CALLEE}):
        passed = attempts(lab, caller, address, 40)
        assert eventually(lambda: counted() >= before + passed)
        assert counted() == before + passed


def test_a_mirror_to_a_node_where_no_call_begins_says_so(platform: Platform, state: ClusterState) -> None:
    node = state.instances[host(state, CALLER)].node
    elsewhere = next(number for number in state.nodes if number != node)
    with policy(platform, kind="mirror", mirror_to=f"probe{elsewhere}", **{"from": CALLER, "to": CALLEE}) as added:
        assert added["state"].startswith(f"copies nothing: none of its calls begins on node{elsewhere}")


def test_a_mirror_shows_both_directions_of_a_call_and_does_not_disturb_it(
    lab: Lab, platform: Platform, state: ClusterState
) -> None:
    instance = state.instances[host(state, CALLER)]
    address, probe = vip(state, CALLEE), f"probe{instance.node}"
    with policy(platform, kind="mirror", mirror_to="probe", **{"from": CALLER, "to": CALLEE}):
        with sniffed(lab, probe, instance.eip) as seen:
            connection = in_host(
                lab, instance.id, lambda: socket.create_connection((address, addressing.FUNCTION_PORT), timeout=2)
            )
            with connection:
                assert still_answers(connection)
            assert eventually(lambda: any(flags & 0x01 for _, _, flags in seen))
            assert reaches(lab, host(state, OTHER), address)  # not the mirrored call
        assert eventually(lambda: platform.policies()[0]["hits"] >= len(seen))
    syns = [(source, target) for source, target, flags in seen if flags & 0x12 == 0x02]
    answers = [(source, target) for source, target, flags in seen if flags & 0x12 == 0x12]
    callees = {one.eip for one in state.instances.values() if one.function_name == f"{CALLEE}.rules-a"}
    assert [source for source, _ in syns] == [instance.eip]
    assert {target for _, target in syns} <= callees
    assert answers == [(address, instance.eip)]
    with sniffed(lab, probe, instance.eip) as seen:
        assert reaches(lab, instance.id, address)
    assert seen == []


@pytest.mark.parametrize("target", [f"{CALLEE}.rules-b", "*.rules-b"])
def test_a_tenants_policy_does_not_reach_another_tenant(lab: Lab, platform: Platform, target: str) -> None:
    tenant = Platform(lab, credential=platform.provider.credential("rules-a"))
    for more in ({}, {"operator": True}, {"namespace": "rules-b"}):
        with pytest.raises(PlatformError, match="a wider rule is for the lab's operator"):
            tenant.add_policy({"name": "wide", "kind": "deny", "namespace": "rules-a", "to": target, **more})
    with pytest.raises(PlatformError, match="outside namespace rules-a"):
        platform.add_policy({"name": "wide", "kind": "deny", "namespace": "rules-a", "to": target, "operator": False})
    assert platform.policies() == []


def test_an_operators_allow_joins_two_tenants(lab: Lab, platform: Platform, state: ClusterState) -> None:
    caller, address = host(state, CALLER), vip(state, CALLEE, "rules-b")
    assert not reaches(lab, caller, address)
    ends = {"from": CALLER, "to": f"{CALLEE}.rules-b"}
    with policy(platform, kind="allow", operator=True, **ends):
        assert reaches(lab, caller, address)


def test_a_name_is_taken_once_and_only_what_is_there_is_removed(platform: Platform) -> None:
    with policy(platform, kind="deny", **{"from": CALLEE}), pytest.raises(PlatformError, match="there is a policy"):
        platform.add_policy({"name": "tested", "kind": "deny", "namespace": "rules-a"})
    with pytest.raises(PlatformError, match="there is no policy tested; there are: none"):
        platform.remove_policy("tested")


def test_policies_outlive_the_controller(lab: Lab, platform: Platform, state: ClusterState) -> None:
    caller, address = host(state, CALLER), vip(state, CALLEE)
    with policy(platform, kind="deny", **{"from": CALLER, "to": CALLEE}):
        wanted = platform.policies()[0]["calls"]
        lab.client.restart("controller")
        assert not reaches(lab, caller, address)
        assert eventually(lambda: switches_agree(platform), 60), "the controller did not come back"
        assert platform.policies()[0]["calls"] == wanted
        assert not reaches(lab, caller, address)
    assert eventually(lambda: reaches(lab, caller, address))


# What trace says, packets do.


def traced(
    lab: Lab, platform: Platform, source: str, target: str, to_eip: bool = False, source_ip: str = ""
) -> tracing.Trace:
    state = platform.state()
    sender = tracing.speaker(state, source)
    packet = tracing.first_packet(sender, tracing.destination(state, target, to_eip), 8080, source_ip)
    return tracing.follow(sender, target, packet, lambda node, flow: ask_switch(lab, node, flow), platform.flows)


def test_trace_and_packets_agree(lab: Lab, platform: Platform, state: ClusterState) -> None:
    cases = [
        (CALLER, f"{CALLEE}.rules-a", vip(state, CALLEE), False, "allowed: call"),
        (CALLEE, f"{OTHER}.rules-a", vip(state, OTHER), False, "may not call this vIP"),
        (CALLER, f"{CALLEE}.rules-b", vip(state, CALLEE, "rules-b"), False, "may not call this vIP"),
        (CALLER, f"{CALLEE}.rules-a", state.instances[host(state, CALLEE)].eip, True, "past the vIP"),
        (CALLER, addressing.CONTROL_PLANE_IP, addressing.CONTROL_PLANE_IP, False, "what is no vIP"),
    ]
    for caller, target, address, to_eip, verdict in cases:
        trace = traced(lab, platform, f"{caller}.rules-a", target, to_eip)
        assert verdict in trace.verdict, (caller, target)
        assert trace.admitted == reaches(lab, host(state, caller), address), (caller, target)


def test_trace_follows_a_call_over_the_trunk_to_its_instance(lab: Lab, platform: Platform, state: ClusterState) -> None:
    result = command_line("trace", f"{CALLER}.rules-a", f"{CALLEE}.rules-a", "--json", "--name", lab.name)
    assert result.returncode == 0
    trace = json.loads(result.stdout)
    nodes = {state.instances[host(state, name)].node for name in (CALLER, CALLEE)}
    assert {step["node"] for step in trace["steps"]} == nodes
    assert trace["verdict"] == (
        f"allowed: call {CALLER}.rules-a → {CALLEE}.rules-a, sent to {host(state, CALLEE)} "
        f"on node{state.instances[host(state, CALLEE)].node}"
    )


def test_trace_and_packets_agree_on_a_lie(lab: Lab, platform: Platform, state: ClusterState) -> None:
    liar, victim = state.instances[host(state, CALLER, "rules-b")], state.instances[host(state, CALLER)]
    trace = traced(lab, platform, liar.id, f"{CALLEE}.rules-a", source_ip=victim.eip)
    assert not trace.admitted
    assert trace.verdict == f"denied on node{liar.node} in SpoofGuard: source IP or MAC is not the port's own"

    def spoofed() -> int:
        return sum(drop["packets"] for drop in platform.counters()["drops"] if drop["reason"] == "spoofed-source")

    before = spoofed()
    send_frames(lab, liar.id, [syn_frame(addressing.mac(liar.eip), victim.eip, vip(state, CALLEE), 20_000)])
    assert eventually(lambda: spoofed() > before)


def test_trace_names_the_policy_that_denies(lab: Lab, platform: Platform, state: ClusterState) -> None:
    with policy(platform, kind="deny", **{"from": CALLER, "to": CALLEE}):
        trace = traced(lab, platform, f"{CALLER}.rules-a", f"{CALLEE}.rules-a")
    assert not trace.admitted
    assert trace.verdict.endswith(f"{CALLER}.rules-a to {CALLEE}.rules-a: denied by policy tested")


def test_trace_of_a_name_that_nobody_has_says_so(lab: Lab, platform: Platform) -> None:
    result = command_line("trace", "chain-2", "chain-3.rules-a", "--name", lab.name)
    assert result.returncode == 2
    assert "no function, instance or host 'chain-2'; did you mean chain-2.rules-a or chain-2.rules-b?" in result.stderr

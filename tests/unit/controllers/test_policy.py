"""Who reaches whom, proved packet by packet on the table simulator."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given, settings

from controllers import pipeline as p
from controllers.desired.generator import Generator
from controllers.rows import UseMeter
from controllers.simulator import Network, Packet, arp, tcp
from testbed.model import addressing
from testbed.model.cluster import ClusterState, Phase, Role, Route
from tests.unit.controllers.clusters import HOSTS, D, G, clusters, delete, put, small
from tests.unit.controllers.frames import retransmitted


def network(state: ClusterState) -> Network:
    generator = Generator()
    generator.load(state)
    return Network.of(generator.desired)


def speakers(state: ClusterState) -> dict[str, tuple[int, str, str]]:
    """Name -> node, eIP, workload, of every host and instance."""
    hosts = {h.name: (h.node, h.eip, h.name) for h in state.hosts.values()}
    return hosts | {i.id: (i.node, i.eip, i.function_name) for i in state.instances.values()}


def vips(state: ClusterState) -> dict[str, str]:
    return {h.name: addressing.vip(h.id) for h in state.hosts.values()} | {
        f.full_name: f.vip for f in state.functions.values()
    }


def allowed(state: ClusterState, caller: str, callee: str) -> bool:  # noqa: PLR0911 - one return a rule
    """The rules in words, written down a second time."""
    roles = {h.name: h.role for h in HOSTS}
    functions = state.functions
    if caller in roles and callee in roles:
        if roles[callee] is Role.PROBE:
            return roles[caller] in (Role.CLIENT, Role.PROBE) and caller != callee
        return roles[caller] is Role.CLIENT and roles[callee] is Role.GATEWAY
    if callee in functions and functions[callee].store:
        owner = functions.get(caller)
        return bool(owner) and owner.namespace == functions[callee].namespace and functions[callee].name in owner.stores
    if caller == "gateway":
        return functions[callee].ingress or state.route(functions[callee].namespace) is Route.GATEWAY
    if caller in roles:
        return False
    source = functions[caller]
    if source.store:
        return False
    if state.route(source.namespace) is Route.GATEWAY:
        return callee == "gateway"
    if callee in roles:
        return False
    return functions[callee].namespace == source.namespace and functions[callee].name in source.calls


def ready(state: ClusterState, callee: str) -> set[str]:
    eips = {h.eip for h in state.hosts.values() if h.name == callee}
    return eips | {i.eip for i in state.instances.values() if i.function_name == callee and i.phase is Phase.READY}


def check_every_pair(state: ClusterState) -> None:
    for number, ((_, (node, eip, caller)), (callee, vip)) in enumerate(
        product(speakers(state).items(), vips(state).items())
    ):
        cluster = network(state) if number % 40 == 0 else cluster  # noqa: F821 - set in the first round
        port = state.functions[callee].port if callee in state.functions else addressing.FUNCTION_PORT
        outcome = cluster.send(tcp(node, eip, vip, sport=20_000 + number, dport=port))
        if not allowed(state, caller, callee):
            assert outcome.reason == "not-in-call-graph", (caller, callee)
        elif not ready(state, callee):
            assert outcome.held_by is not None, (caller, callee)
        else:
            assert outcome.port is not None, (caller, callee, outcome.reason)
            assert outcome.fields["ipv4_dst"] in ready(state, callee)
            assert outcome.fields["tcp_dst"] == port
            assert outcome.port == addressing.port_name(outcome.fields["ipv4_dst"])
            back = cluster.send(cluster.answer(outcome))
            assert (back.port, back.fields["ipv4_src"]) == (addressing.port_name(eip), vip), (caller, callee)


def test_exactly_the_allowed_pairs_connect_and_are_answered_from_the_vip() -> None:
    check_every_pair(small())


@settings(max_examples=25, deadline=None)
@given(clusters())
def test_exactly_the_allowed_pairs_connect_in_any_application(state: ClusterState) -> None:
    check_every_pair(state)


A, B, C = addressing.eip(2, 11), addressing.eip(3, 11), addressing.eip(2, 13)
CLIENT, GATEWAY = addressing.eip(1, 2), addressing.eip(1, 1)
VIP_B, VIP_GATEWAY = addressing.vip(257), addressing.vip(1)


@pytest.mark.parametrize(
    ("packet", "reason"),
    [
        (tcp(2, A, VIP_B, ipv4_src=C), "spoofed-source"),
        (tcp(2, A, VIP_B, eth_src=addressing.mac(C)), "spoofed-source"),
        (tcp(2, A, VIP_B, in_port=addressing.port_name(C)), "spoofed-source"),
        (tcp(2, A, VIP_B, in_port="n2p999"), "spoofed-source"),
        (tcp(3, A, B, in_port="t31"), "spoofed-source"),  # node2's host cannot come from node1
        (tcp(3, B, B, in_port="t32"), "spoofed-source"),  # nor node3's own from outside
        (arp(2, A, VIP_B, arp_spa=C), "spoofed-arp"),
        (arp(2, A, VIP_B, arp_sha=addressing.mac(C)), "spoofed-arp"),
        (arp(2, A, VIP_B, eth_src=addressing.mac(C)), "spoofed-arp"),
        (arp(2, A, "172.31.0.1"), "unanswered-arp"),
        (tcp(2, A, B), "direct-to-eip"),
        (tcp(2, A, addressing.eip(2, 12)), "direct-to-eip"),
        (tcp(1, GATEWAY, A), "direct-to-eip"),
        (tcp(2, A, VIP_B, dport=9090), "not-in-call-graph"),
        (tcp(2, A, VIP_GATEWAY), "not-in-call-graph"),  # the gateway is no way round a direct route
        (tcp(2, A, addressing.vip(260)), "not-in-call-graph"),  # another namespace
        (tcp(2, A, addressing.vip(4711)), "not-in-call-graph"),  # nobody's vIP
        (tcp(2, A, addressing.CONTROL_PLANE_IP), "no-such-service"),
        (tcp(2, A, VIP_B, ip_proto=17), "not-tcp"),
        (tcp(2, A, VIP_B, eth_type=0x86DD), "ipv6"),
        (tcp(2, A, VIP_B, eth_type=0x88CC), "other-protocol"),
    ],
)
def test_what_is_not_allowed_is_dropped_and_counted_for_what_it_is(packet: Packet, reason: str) -> None:
    assert network(small()).send(packet).reason == reason


def test_arp_for_any_vip_is_answered_with_the_virtual_mac() -> None:
    got = network(small()).send(arp(2, A, VIP_B))
    assert got.port == addressing.port_name(A)
    wanted = {"arp_op": 2, "arp_spa": VIP_B, "arp_sha": addressing.VIRTUAL_MAC, "arp_tpa": A}
    assert wanted.items() <= got.fields.items()
    assert got.fields["eth_dst"] == got.fields["arp_tha"] == addressing.mac(A)


def test_a_repeated_syn_reaches_the_same_instance_and_is_not_counted_again() -> None:
    cluster = network(small())
    syn = tcp(2, A, VIP_B)
    first, second = cluster.send(syn), cluster.send(retransmitted(syn))
    assert (first.node, first.port) == (second.node, second.port)
    policy = p.cookie(p.Category.POLICY, p.call_object(256, 257))
    assert cluster.hits[2, policy] == 1
    assert cluster.hits[2, p.cookie(p.Category.SERVICE, 257)] == 1


def test_an_established_connection_outlives_the_drain_of_its_instance_and_new_ones_avoid_it() -> None:
    state = small()
    generator = Generator()
    generator.load(state)
    cluster = Network.of(generator.desired)
    cluster.choose = lambda group: len(group.buckets) - 1
    first = cluster.send(tcp(2, A, VIP_B))
    assert first.fields["ipv4_dst"] == B
    cluster.send(cluster.answer(first))
    draining = state.instances["b.d.1"].__class__(**{**vars(state.instances["b.d.1"]), "phase": Phase.DRAINING})
    generator.apply(put(draining, 2))
    assert cluster.send(tcp(2, A, VIP_B)).fields["ipv4_dst"] == B
    assert cluster.send(tcp(2, A, VIP_B, sport=40_001)).fields["ipv4_dst"] == addressing.eip(2, 12)
    generator.apply(delete(draining, 3))
    assert cluster.send(tcp(2, A, VIP_B)).reason == "no-route"


def test_each_node_tracks_in_a_zone_of_its_own() -> None:
    cluster = network(small())
    cluster.choose = lambda group: len(group.buckets) - 1
    cluster.send(tcp(2, A, VIP_B))
    assert {zone for zone, _ in cluster.switches[2].connections} == {102}
    assert {zone for zone, _ in cluster.switches[3].connections} == {103}
    assert cluster.hits[3, p.cookie(p.Category.BASE, 0)] > 0


def awake(state: ClusterState, generator: Generator, version: int = 2) -> None:
    """The starting instance of c.d becomes ready."""
    starting = state.instances["c.d.1"]
    generator.apply(put(starting.__class__(**{**vars(starting), "phase": Phase.READY}), version))


VIP_C, C_CALLED = addressing.vip(258), p.cookie(p.Category.POLICY, p.call_object(257, 258))


def test_a_call_to_what_has_no_instance_is_held_uncounted_and_leaves_nothing_in_conntrack() -> None:
    cluster = network(small())
    syn = tcp(3, B, VIP_C)
    for packet in (syn, retransmitted(syn)):
        held = cluster.send(packet).held_by
        assert held is not None
        assert held.cookie == p.cookie(p.Category.HOLD, p.call_object(257, 258))
    assert cluster.hits[3, C_CALLED] == 0
    assert cluster.switches[3].connections == {}


def test_what_the_call_graph_does_not_name_is_not_held() -> None:
    cluster = network(small())
    assert cluster.send(tcp(2, A, VIP_C)).reason == "not-in-call-graph"
    assert cluster.send(tcp(3, B, VIP_C, dport=9090)).reason == "not-in-call-graph"


def test_a_held_call_that_is_released_reaches_the_instance_and_is_counted_once() -> None:
    state = small()
    generator = Generator()
    generator.load(state)
    cluster = Network.of(generator.desired)
    syn = tcp(3, B, VIP_C)
    held = cluster.send(syn)
    awake(state, generator)
    out = cluster.release(held, syn, p.DAG_POLICY.number)
    assert (out.node, out.port) == (2, addressing.port_name(C))
    back = cluster.send(cluster.answer(out))
    assert (back.port, back.fields["ipv4_src"]) == (addressing.port_name(B), VIP_C)
    assert cluster.hits[3, C_CALLED] == 1


def test_a_repeated_syn_that_is_released_late_is_not_counted_again_and_a_new_call_is() -> None:
    state = small()
    generator = Generator()
    generator.load(state)
    cluster = Network.of(generator.desired)
    syn, other = tcp(3, B, VIP_C), tcp(3, B, VIP_C, sport=40_001)
    held, also_held = cluster.send(syn), cluster.send(other)
    awake(state, generator)
    cluster.release(held, syn, p.DAG_POLICY.number)
    again = cluster.release(held, syn, p.CONNTRACK_ZONE.number)
    assert again.port == addressing.port_name(C)
    assert cluster.hits[3, C_CALLED] == 1
    assert cluster.release(also_held, other, p.CONNTRACK_ZONE.number).port == addressing.port_name(C)
    assert cluster.hits[3, C_CALLED] == 2


def test_a_call_that_is_taken_away_while_it_is_held_is_not_released() -> None:
    state = small()
    generator = Generator()
    generator.load(state)
    cluster = Network.of(generator.desired)
    syn = tcp(3, B, VIP_C)
    held = cluster.send(syn)
    caller = state.functions["b.d"]
    generator.apply(put(caller.__class__(**{**vars(caller), "calls": ()}), 2))
    awake(state, generator, 3)
    assert cluster.release(held, syn, p.DAG_POLICY.number).reason == "not-in-call-graph"


def test_the_rows_that_punt_outlive_the_time_without_instances() -> None:
    """Else a cached flow would be booked to the row that counts, as soon as they gave way to it."""
    state = small()
    generator = Generator()
    generator.load(state)
    holding = {key for key, row in generator.desired[3].rows.items() if row.priority == p.Priority.HOLD and key[0] == 6}
    awake(state, generator)
    assert holding
    assert holding <= generator.desired[3].rows.keys()
    assert not [row for row in generator.desired[3].rows.values() if row.table == 4 and row.priority == p.Priority.HOLD]


def test_connections_to_the_last_instance_outlive_its_drain() -> None:
    state = small()
    generator = Generator()
    generator.load(state)
    awake(state, generator)
    cluster = Network.of(generator.desired)
    first = cluster.send(tcp(3, B, VIP_C))
    cluster.send(cluster.answer(first))
    draining = state.instances["c.d.1"]
    generator.apply(put(draining.__class__(**{**vars(draining), "phase": Phase.DRAINING}), 3))
    assert cluster.send(tcp(3, B, VIP_C)).port == addressing.port_name(C)
    assert cluster.send(tcp(3, B, VIP_C, sport=40_001)).held_by is not None


def test_each_namespace_has_a_meter_and_the_gateways_calls_are_metered_as_the_callees() -> None:
    generator = Generator()
    generator.load(small())
    metered = {
        p.call_of(p.object_of(row.cookie)): action.meter
        for row in [*generator.desired[1].rows.values(), *generator.desired[2].rows.values()]
        for action in row.actions
        if isinstance(action, UseMeter) and p.category_of(row.cookie) is p.Category.HOLD
    }
    assert metered == {(1, 256): D, (1, 259): G, (1, 260): G, (256, 257): D, (257, 258): D}
    assert all(set(tables.meters) == {D, G} for tables in generator.desired.values())

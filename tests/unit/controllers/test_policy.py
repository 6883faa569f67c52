"""Who reaches whom, proved packet by packet on the table simulator."""

from __future__ import annotations

from itertools import product

import pytest
from clusters import HOSTS, clusters, delete, put, small
from hypothesis import given, settings
from simulator import Network, Packet, arp, retransmitted, tcp

from controllers import pipeline as p
from controllers.generator import Generator
from testbed import addressing
from testbed.model import ClusterState, Phase, Role, Route


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
    if caller == "gateway":
        return functions[callee].ingress or state.route(functions[callee].namespace) is Route.GATEWAY
    if caller in roles:
        return False
    source = functions[caller]
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
        outcome = cluster.send(tcp(node, eip, vip, sport=20_000 + number))
        if not allowed(state, caller, callee):
            assert outcome.reason == "not-in-call-graph", (caller, callee)
        elif not ready(state, callee):
            assert outcome.reason == "no-instance", (caller, callee)
        else:
            assert outcome.port is not None, (caller, callee, outcome.reason)
            assert outcome.fields["ipv4_dst"] in ready(state, callee)
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
        (tcp(3, B, addressing.vip(258)), "no-instance"),
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

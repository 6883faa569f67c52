"""A provider's own rules: what is refused, whom they reach, and that they reach nobody else."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controllers import pipeline as p
from controllers.desired.generator import Generator
from controllers.northbound.explain import Names, sentence
from controllers.northbound.policy_report import report
from controllers.policy.book import NameTaken, added
from controllers.policy.file import PolicyStore
from controllers.policy.rules import FIRST_METER, Policy, PolicyError, parse
from controllers.rows import UseMeter
from controllers.simulator import Network, Outcome, tcp
from controllers.switch.crew import Confirmation
from controllers.switch.flushing import Flush
from controllers.switch.reconcile import PutRow
from testbed.model import addressing
from testbed.model.cluster import ClusterState
from tests.unit.controllers.clusters import clusters, delete, put, small
from tests.unit.controllers.switch.crew_rig import Rig, running

A, B, B2, C = addressing.eip(2, 11), addressing.eip(3, 11), addressing.eip(2, 12), addressing.eip(2, 13)
VIP_A, VIP_B, VIP_C = addressing.vip(256), addressing.vip(257), addressing.vip(258)


def book(*bodies: dict[str, Any]) -> dict[str, Policy]:
    found: dict[str, Policy] = {}
    for body in bodies:
        policy = added(found, {"name": f"p{len(found)}", "namespace": "d", **body})
        found[policy.name] = policy
    return found


def generated(state: ClusterState, *bodies: dict[str, Any]) -> Generator:
    generator = Generator()
    generator.load(state)
    generator.set_policies(book(*bodies))
    return generator


def send(generator: Generator, source: str, destination: str) -> Outcome:
    return Network.of(generator.desired).send(tcp(addressing.node_of(source), source, destination))


ALLOW_A_A2 = {"kind": "allow", "from": "b", "to": "a"}
DENY_A_B = {"kind": "deny", "from": "a", "to": "b"}
LIMIT_A_B = {"kind": "rate-limit", "from": "a", "to": "b", "rate": {"connections_per_s": 5, "kbit_per_s": 800}}
MIRROR_A_B = {"kind": "mirror", "from": "a", "to": "b"}


# What is refused.


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ([], "a policy is a JSON object"),
        ({"name": "No"}, "\"name\" is 'No'"),
        ({"kind": "permit"}, "choose one of allow, deny, rate-limit, mirror"),
        ({"kind": "deny", "form": "a"}, "unknown field form"),
        ({"kind": "deny", "namespace": ""}, '"namespace" is missing'),
        ({"kind": "deny", "namespace": "A B"}, "cannot be the name of a namespace"),
        ({"kind": "deny", "operator": 1}, '"operator" is 1'),
        ({"kind": "deny", "from": 5}, '"from" is 5'),
        ({"kind": "deny", "from": "a b"}, "\"from\" is 'a b'"),
        (
            {"kind": "deny", "to": "a.g", "operator": False},
            "outside namespace d; a rule that reaches beyond a namespace",
        ),
        ({"kind": "allow", "from": "*.g", "operator": False}, "outside namespace d"),
        ({"kind": "allow", "from": "gateway", "operator": False}, "outside namespace d"),
        ({"kind": "deny", "from": "a", "to": "a.d"}, "a.d is both ends"),
        ({"kind": "deny", "rate": {"kbit_per_s": 5}}, '"rate" belongs to the kind rate-limit'),
        ({"kind": "rate-limit"}, '"rate" is None'),
        ({"kind": "rate-limit", "rate": {"per_s": 5}}, "connections_per_s"),
        ({"kind": "rate-limit", "rate": {"connections_per_s": 0}}, "give a whole number from 1"),
        ({"kind": "rate-limit", "rate": {"connections_per_s": True}}, "give a whole number from 1"),
        ({"kind": "deny", "mirror_to": "probe2"}, '"mirror_to" belongs to the kind mirror'),
        ({"kind": "mirror", "mirror_to": "gateway"}, "or client"),
    ],
)
def test_a_wrong_policy_is_refused_in_one_sentence(body: Any, says: str) -> None:
    if isinstance(body, dict):
        body = {"name": "n", "namespace": "d", **body}
    with pytest.raises(PolicyError) as refusal:
        parse(body, 1)
    assert says in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_name_is_taken_once_and_numbers_are_used_again() -> None:
    policies = book(DENY_A_B, MIRROR_A_B)
    with pytest.raises(NameTaken, match="there is a policy p0 already"):
        added(policies, {"name": "p0", "namespace": "d", "kind": "deny"})
    del policies["p0"]
    assert added(policies, {"name": "x", "namespace": "d", "kind": "deny"}).number == 1


def test_a_policy_in_json_is_the_policy_again() -> None:
    for policy in book(DENY_A_B, LIMIT_A_B, {**MIRROR_A_B, "mirror_to": "client"}, {"kind": "allow"}).values():
        assert parse(policy.to_json(), policy.number) == policy


def test_saved_policies_are_there_again_and_a_broken_file_is_set_aside(tmp_path: Path) -> None:
    store, policies = PolicyStore(tmp_path / "policies.json"), book(DENY_A_B, LIMIT_A_B)
    assert store.load() == {}
    store.save(policies)
    assert store.load() == policies
    assert [path.name for path in tmp_path.iterdir()] == ["policies.json"]
    (tmp_path / "policies.json").write_text("{")
    assert store.load() == {}
    assert (tmp_path / "policies.unreadable").exists()


# Whom they reach.


def test_an_allow_opens_exactly_its_pair() -> None:
    plain, opened = generated(small()), generated(small(), {"kind": "allow", "from": "a", "to": "b"}, ALLOW_A_A2)
    assert send(plain, B, VIP_A).reason == "not-in-call-graph"
    assert send(opened, B, VIP_A).port == addressing.port_name(A)
    for source, target in ((A, VIP_C), (C, VIP_A), (C, VIP_B), (B, addressing.vip(259)), (B, A)):
        assert send(opened, source, target).reason == send(plain, source, target).reason
    assert send(opened, B, VIP_A).port is not None


def test_an_allowed_call_to_a_function_without_an_instance_is_held_and_a_denied_one_is_not() -> None:
    allow, deny = {"kind": "allow", "from": "a", "to": "c"}, {"kind": "deny", "from": "b", "to": "c"}
    generator = generated(small(), allow, deny)
    held = send(generator, A, VIP_C)
    assert held.held_by is not None
    assert p.category_of(held.held_by.cookie) is p.Category.HOLD
    assert generator.allows(256, 258)
    assert send(generator, B, VIP_C).reason == "denied-by-policy"
    assert not generator.allows(257, 258)


def test_a_call_of_the_call_graph_keeps_its_row_and_counter_under_an_allow() -> None:
    rows = generated(small(), {"kind": "allow", "from": "a", "to": "b"}).desired[2].rows.values()
    assert [row for row in rows if p.category_of(row.cookie) is p.Category.ALLOW] == []


def test_a_deny_wins_over_an_allow_and_an_allow_over_the_call_graph() -> None:
    assert send(generated(small(), DENY_A_B), A, VIP_B).reason == "denied-by-policy"
    assert send(generated(small(), ALLOW_A_A2, {"kind": "deny", "from": "b"}), B, VIP_A).reason == "denied-by-policy"
    assert send(generated(small(), {"kind": "deny"}), A, VIP_B).reason == "denied-by-policy"


def test_a_limit_or_a_mirror_admits_nothing() -> None:
    for body in ({"kind": "mirror"}, {"kind": "rate-limit", "rate": {"connections_per_s": 1}}):
        assert send(generated(small(), body), B, VIP_A).reason == "not-in-call-graph"


def test_an_operator_reaches_across_namespaces_and_to_the_gateway() -> None:
    across = generated(small(), {"kind": "allow", "from": "a.d", "to": "b.g", "operator": True, "namespace": ""})
    assert send(across, A, addressing.vip(260)).port == addressing.port_name(addressing.eip(3, 12))
    shut = generated(small(), {"kind": "deny", "from": "gateway", "to": "a", "operator": True})
    assert send(shut, addressing.eip(1, 1), VIP_A).reason == "denied-by-policy"


def test_new_connections_are_metered_before_the_call_is_counted_and_packets_at_the_end() -> None:
    generator = generated(small(), LIMIT_A_B)
    tables = generator.desired[2]
    metered = {
        row.table: action
        for row in tables.rows.values()
        for action in row.actions
        if isinstance(action, UseMeter) and action.meter >= FIRST_METER
    }
    assert metered == {p.CONNTRACK_ZONE.number: UseMeter(65_538), p.OUTPUT.number: UseMeter(65_539)}
    assert {id_: meter.rate for id_, meter in tables.meters.items() if id_ >= FIRST_METER} == {65_538: 5, 65_539: 800}
    cluster = Network.of(generator.desired)
    first = cluster.send(tcp(2, A, VIP_B))
    cluster.send(cluster.answer(first))
    call = p.call_object(256, 257)
    assert cluster.hits[2, p.cookie(p.Category.LIMIT, call)] == 1
    assert cluster.hits[2, p.cookie(p.Category.POLICY, call)] == 1
    assert cluster.hits[2, p.cookie(p.Category.PACKETS, call)] == 2


def test_of_several_limits_the_lowest_holds() -> None:
    low = {**LIMIT_A_B, "rate": {"connections_per_s": 2}}
    rules = generated(small(), LIMIT_A_B, low, {**low, "rate": {"connections_per_s": 9}}).policies.rules[256, 257]
    assert (rules.connection_meter, rules.packet_meter) == (65_540, 65_539)


@pytest.mark.parametrize("bucket", [0, 1])
def test_a_mirror_copies_both_directions_of_a_call_once_and_delivers_them(bucket: int) -> None:
    cluster = Network.of(generated(small(), MIRROR_A_B).desired)
    cluster.choose = lambda _: bucket
    there = cluster.send(tcp(2, A, VIP_B))
    back = cluster.send(cluster.answer(there))
    assert there.fields["ipv4_dst"] == (B2, B)[bucket]
    assert (back.port, back.fields["ipv4_src"]) == (addressing.port_name(A), VIP_B)
    assert [(node, port, fields["tcp_dst"]) for node, port, fields in cluster.copies] == [
        (2, "n2p3", 8080),
        (2, "n2p3", 40_000),
    ]


def test_a_mirror_to_a_named_host_copies_on_its_node() -> None:
    for host, copies in (("probe2", 1), ("probe3", 0), ("client", 0)):
        cluster = Network.of(generated(small(), {**MIRROR_A_B, "mirror_to": host}).desired)
        assert cluster.send(tcp(2, A, VIP_B)).port is not None
        assert len(cluster.copies) == copies, host


# That they reach nobody else.

NAMES = [f"f{k}" for k in range(4)]
BODIES = st.fixed_dictionaries(
    {"kind": st.sampled_from(["allow", "deny", "rate-limit", "mirror"])},
    optional={"from": st.sampled_from([*NAMES, "*"]), "to": st.sampled_from([*NAMES, "*"])},
)


POLICIES = (p.Category.ALLOW, p.Category.DENY, p.Category.LIMIT, p.Category.PACKETS)


def completed(bodies: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Valid policies of namespace t."""
    rate = {"rate": {"connections_per_s": 1, "kbit_per_s": 9}}
    valid = [body for body in bodies if body.get("from", "*") == "*" or body.get("from") != body.get("to")]
    return [{**body, "namespace": "t", **(rate if body["kind"] == "rate-limit" else {})} for body in valid]


@settings(max_examples=40, deadline=None)
@given(clusters(), st.lists(BODIES, min_size=1, max_size=4))
def test_without_operator_no_packet_of_others_fares_differently(
    state: ClusterState, bodies: list[dict[str, Any]]
) -> None:
    bodies = completed(bodies)
    plain, ruled = generated(state), generated(state, *bodies)
    hosts = [(h.node, h.eip, "") for h in state.hosts.values()]
    speakers = hosts + [(i.node, i.eip, i.namespace) for i in state.instances.values()]
    targets = [(addressing.vip(h.id), "") for h in state.hosts.values()]
    targets += [(f.vip, f.namespace) for f in state.functions.values()] + [(eip, "") for _, eip, _ in speakers]
    for (node, eip, caller), (address, callee) in product(speakers, targets):
        if caller == callee == "t":
            continue
        before, after = Network.of(plain.desired), Network.of(ruled.desired)
        packet = tcp(node, eip, address)
        assert before.send(packet) == after.send(packet), (eip, address)
        assert after.copies == []
        assert not any(p.category_of(cookie) in POLICIES for _, cookie in after.hits)


@settings(max_examples=30, deadline=None)
@given(clusters(), clusters(), st.lists(BODIES, max_size=3))
def test_policies_follow_functions_event_by_event(
    before: ClusterState, after: ClusterState, bodies: list[dict[str, Any]]
) -> None:
    bodies = [
        {**b, "namespace": "t", **({"rate": {"kbit_per_s": 9}} if b["kind"] == "rate-limit" else {})} for b in bodies
    ]
    bodies = [b for b in bodies if b.get("from", "*") == "*" or b.get("from") != b.get("to")]
    generator, state, version = generated(before, *bodies), before, before.version
    values = [*after.deployments.values(), *after.functions.values(), *after.instances.values()]
    gone = [*before.instances.values(), *before.functions.values()]
    for event in [*(delete(value, 0) for value in gone), *(put(value, 0) for value in values)]:
        version += 1
        generator.apply({**event, "version": version})
        state = state.apply({**event, "version": version})
        assert generator.desired == generated(state, *bodies).desired
    generator.set_policies({})
    assert generator.desired == generated(state).desired


def policed(rig: Rig, *bodies: dict[str, Any]) -> Rig:
    """The small cluster, running under these policies."""
    rig.fleet.set_policies(book(*bodies))
    return running(rig, small())


def set_policies(rig: Rig, *bodies: dict[str, Any]) -> None:
    rig.fleet.set_policies(book(*bodies))
    rig.work()


def flushes(rig: Rig) -> list[Flush]:
    return [flush for channel in rig.channels.values() for flush in channel.flushes]


def test_a_new_deny_ends_the_connections_of_its_call_and_its_removal_ends_none(rig: Rig) -> None:
    policed(rig)
    set_policies(rig, DENY_A_B)
    assert Flush(2, source=A, destination=VIP_B) in rig.channels[2].flushes
    assert rig.channels[3].flushes == [Flush(3, source=A, destination=B, late=True)]
    before = len(flushes(rig))
    set_policies(rig)
    assert len(flushes(rig)) == before


def test_who_may_call_nobody_any_more_loses_all_connections_at_once(rig: Rig) -> None:
    running(rig, with_two_calls())
    set_policies(rig, {"kind": "deny", "from": "a"})
    assert set(rig.channels[2].flushes) == {Flush(2, source=A)}


def test_who_may_still_call_somebody_loses_the_connections_of_forbidden_calls_alone(rig: Rig) -> None:
    running(rig, with_two_calls())
    set_policies(rig, {"kind": "deny", "from": "a"}, {"kind": "allow", "from": "a", "to": "b.g", "operator": True})
    assert {(flush.source, flush.destination) for flush in rig.channels[2].flushes} == {(A, VIP_B), (A, VIP_C)}


def with_two_calls() -> ClusterState:
    """The small cluster, where a calls b and c."""
    state = small()
    a = replace(state.functions["a.d"], calls=("b", "c"))
    return replace(state, functions={**state.functions, a.full_name: a})


def test_a_removed_allow_ends_the_connections_of_its_call(rig: Rig) -> None:
    policed(rig, ALLOW_A_A2)
    set_policies(rig)
    assert {(f.source, f.destination) for f in flushes(rig) if not f.late} == {(B, VIP_A), (B2, VIP_A)}


def test_a_call_that_the_call_graph_takes_over_from_an_allow_lives_on(rig: Rig) -> None:
    policed(rig, ALLOW_A_A2)
    b = small().functions["b.d"]
    rig.deal(put(replace(b, calls=("c", "a")), 2))
    assert flushes(rig) == []
    rows = [c.row for channel in rig.channels.values() for c in channel.changes if isinstance(c, PutRow)]
    assert p.Category.POLICY in {p.category_of(row.cookie) for row in rows}


def confirmed(_: Any) -> Confirmation:
    return Confirmation()


def test_a_policy_waits_for_its_functions_and_says_so() -> None:
    generator = generated(
        small(), {"kind": "deny", "from": "nobody", "to": "b"}, DENY_A_B, {"kind": "mirror", "to": "a"}
    )
    names = Names(generator.index.workloads, generator.index.ports, generator.policies.behind())
    found = report(list(generator.policies.book.values()), generator.policies, generator.index, names, {}, confirmed)
    assert [policy["state"] for policy in found] == [
        "waits: nobody.d is not deployed",
        "in force on 1 call",
        "nothing to do: no call that it means is allowed, or another policy denies it",
    ]
    assert found[1]["calls"] == [{"caller": "a.d", "callee": "b.d"}]
    assert [policy["hits"] for policy in found] == [0, 0, 0]


@pytest.mark.parametrize(
    ("capture", "state"),
    [
        ("probe", "in force on 1 call"),
        ("probe2", "in force on 1 call"),
        ("probe3", "copies nothing: none of its calls begins on node3, and copies cross no trunk"),
        ("probe9", "waits: there is no probe9"),
    ],
)
def test_a_mirror_says_whether_it_copies_anything(capture: str, state: str) -> None:
    generator = generated(small(), {**MIRROR_A_B, "mirror_to": capture})
    names = Names(generator.index.workloads, generator.index.ports, generator.policies.behind())
    (found,) = report(list(generator.policies.book.values()), generator.policies, generator.index, names, {}, confirmed)
    assert found["state"] == state


def test_every_row_of_a_policy_says_whose_it_is() -> None:
    generator = generated(small(), LIMIT_A_B, MIRROR_A_B, ALLOW_A_A2, {"kind": "deny", "from": "b", "to": "c"})
    names = Names(generator.index.workloads, generator.index.ports, generator.policies.behind())
    rows = [row for row in generator.desired[2].rows.values() if (p.category_of(row.cookie) or 0) >= p.Category.ALLOW]
    assert sorted({sentence(row, names) for row in rows}) == [
        "Allows b.d to call a.d, by policy p2; counts the calls' connections",
        "Drops and counts new connections of b.d to c.d: denied by policy p3",
        "Lets new connections of a.d to b.d go on, as many as policy p0 lets",
        "Meters and copies packets of a.d's calls to b.d, both directions, by policy p0, p1",
    ]

"""What several policies say together: exactly what the rules in words do, at the cost of what a change touches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controllers.desired.generator import Generator
from controllers.intents import Call, IntentIndex
from controllers.policy.book import Rules, added
from controllers.policy.rules import EVERY, Kind, Policy
from controllers.rows import MeterUnit
from testbed.model import addressing
from testbed.model.cluster import ClusterState, Deployment, Function, Phase, Route
from tests.unit.controllers.clusters import clusters, delete, function, instance, put, state

# The rules in words, written down a second time: every policy over every pair.


def judged(policies: list[Policy], index: IntentIndex) -> tuple[dict[Call, Rules], dict[str, set[Call]]]:
    """What is said of each call, and the calls that each policy has a part in."""
    graph = index.intents().calls
    means = {policy.name: pairs(policy, index) for policy in policies}
    allowed = {call for p in policies if p.kind is Kind.ALLOW for call in means[p.name] if call not in graph}
    denied = {call for p in policies if p.kind is Kind.DENY for call in means[p.name] if call in graph | allowed}
    touched = {
        Kind.ALLOW: allowed,
        Kind.DENY: denied,
        Kind.RATE_LIMIT: (graph | allowed) - denied,
        Kind.MIRROR: (graph | allowed) - denied,
    }
    parts = {policy.name: means[policy.name] & touched[policy.kind] for policy in policies}
    rules = {}
    for call in {call for calls in parts.values() for call in calls}:
        meters = [m for p in policies if call in parts[p.name] for m in p.meters()]
        by_unit = {unit: [m for m in meters if m.unit is unit] for unit in {m.unit for m in meters}}
        lowest = {
            unit: min(of_unit, key=lambda m: m.rate).id for unit, of_unit in by_unit.items()
        }  # of equals, the first
        captures = sorted({p.mirror_to for p in policies if call in parts[p.name] and p.mirror_to})
        limits = lowest.get(MeterUnit.PACKETS), lowest.get(MeterUnit.KBIT)
        rules[call] = Rules(call in allowed, call in denied, *limits, tuple(captures))
    return rules, parts


def pairs(policy: Policy, index: IntentIndex) -> set[Call]:
    callers, callees = (members(end, index.state) for end in (policy.source, policy.target))
    return {(a, b) for a in callers for b in callees if a != b}


def members(end: str, of: ClusterState) -> set[int]:
    if end.startswith(EVERY):
        namespace = end.removeprefix(f"{EVERY}.")
        return {f.id for f in of.functions.values() if f.namespace == namespace and not f.store}
    return {one.id for name, one in {**of.functions, **of.hosts}.items() if name == end}


NAMES = ["f0", "f1", "f2", "mariadb", "*", "*.u", "f0.u", "gateway"]
RATES = [{"connections_per_s": 3}, {"kbit_per_s": 9}, {"connections_per_s": 2, "kbit_per_s": 5}]
BODIES = st.fixed_dictionaries(
    {
        "kind": st.sampled_from([kind.value for kind in Kind]),
        "from": st.sampled_from(NAMES),
        "to": st.sampled_from(NAMES),
        "rate": st.sampled_from(
            [{"connections_per_s": 3}, {"kbit_per_s": 9}, {"connections_per_s": 2, "kbit_per_s": 5}]
        ),
    }
).filter(lambda body: body["from"] != body["to"] or body["from"].startswith("*"))


def book(bodies: list[dict[str, Any]]) -> dict[str, Policy]:
    found: dict[str, Policy] = {}
    for body in bodies:
        kept = {key: value for key, value in body.items() if key != "rate" or body["kind"] == "rate-limit"}
        policy = added(found, {"name": f"p{len(found)}", "namespace": "t", "operator": True, **kept})
        found[policy.name] = policy
    return found


def check(generator: Generator) -> None:
    rules, parts = judged(list(generator.policies.book.values()), generator.index)
    assert generator.policies.rules == rules
    assert {name: set(generator.policies.calls_of(name)) for name in generator.policies.book} == parts


@settings(max_examples=40, deadline=None)
@given(clusters(), st.lists(BODIES, max_size=5), st.data())
def test_whatever_comes_and_goes_the_policies_say_what_the_rules_in_words_do(
    cluster: ClusterState, bodies: list[dict[str, Any]], data: st.DataObject
) -> None:
    generator, version = Generator(), 1
    generator.load(ClusterState(nodes=cluster.nodes, hosts=cluster.hosts))
    policies = book(bodies)
    objects = [*cluster.deployments.values(), *cluster.functions.values(), *cluster.instances.values()]
    steps: list[Any] = [*((put, one) for one in objects), *policies.values()]
    for turn in (steps, [*((delete, one) for one in objects), *policies.values()]):
        for step in data.draw(st.permutations(turn)):
            if isinstance(step, Policy):
                held: Mapping[str, Policy] = generator.policies.book
                here = {name: one for name, one in held.items() if name != step.name}
                generator.set_policies(here if step.name in held else {**here, step.name: step})
            else:
                version += 1
                generator.apply(step[0](step[1], version))
            check(generator)
    assert generator.policies.rules == {}


@pytest.mark.parametrize("kind", ["deny", "mirror"])
def test_of_a_call_that_the_call_graph_gives_up_nothing_is_said_any_more(kind: str) -> None:
    functions = chain(3)
    generator = ruled(functions, [{"kind": kind, "from": "*", "to": "*"}])
    assert (256, 257) in generator.policies.rules
    generator.apply(put(replace(functions[0], calls=()), 2))
    assert set(generator.policies.rules) == {(257, 258)}
    check(generator)


# What a change costs, in calls judged.

EVERYTHING = [
    {"kind": kind, "from": "*", "to": "*", "rate": {"kbit_per_s": 9}} for kind in ("deny", "rate-limit", "mirror")
]


def chain(length: int) -> list[Function]:
    """f0 -> f1 -> f2 -> …, in one namespace."""
    return [function("t", f"f{k}", 256 + k, calls=[f"f{k + 1}"] if k + 1 < length else []) for k in range(length)]


def ruled(functions: list[Function], bodies: list[dict[str, Any]]) -> Generator:
    instances = [instance(one, 1, 1 + number % 3, 11 + number) for number, one in enumerate(functions)]
    deployment = Deployment("t", Route.DIRECT, id=addressing.FIRST_NAMESPACE_ID)
    generator = Generator()
    generator.load(state([deployment], functions, instances))
    generator.set_policies(book(bodies))
    return generator


def cost(generator: Generator, *events: dict[str, Any]) -> int:
    before = generator.policies.judged
    for event in events:
        generator.apply(event)
    return generator.policies.judged - before


@pytest.mark.parametrize("length", [10, 40])
def test_a_change_costs_the_calls_it_touches_however_many_functions_and_policies_there_are(length: int) -> None:
    functions = chain(length)
    generator = ruled(functions, EVERYTHING * 5)
    last = functions[-1]
    own = instance(last, 1, 1 + (length - 1) % 3, 10 + length)
    assert cost(generator, put(instance(last, 2, 2, 200), 2)) == 0
    assert cost(generator, put(instance(last, 2, 2, 200, Phase.DRAINING), 3)) == 0
    assert cost(generator, delete(own, 4), delete(last, 5)) == 1  # its caller's call
    assert cost(generator, put(last, 6)) == 1


@pytest.mark.parametrize("length", [10, 40])
def test_a_policy_for_everything_costs_the_calls_there_are_and_its_removal_as_many(length: int) -> None:
    generator = ruled(chain(length), EVERYTHING)
    calls = length - 1
    before = generator.policies.judged
    policies = dict(generator.policies.book)
    generator.set_policies({**policies, "one": added(policies, {"name": "one", "namespace": "t", "kind": "deny"})})
    assert generator.policies.judged - before == calls
    generator.set_policies(policies)
    assert generator.policies.judged - before == 2 * calls


def test_an_allow_for_everything_costs_a_new_function_its_own_pairs() -> None:
    functions = chain(20)
    generator = ruled(functions[:-1], [{"kind": "allow", "from": "*", "to": "*"}])
    assert cost(generator, put(functions[-1], 2)) == 2 * 19

"""The faults that `testbed chaos` knows: what each takes, and what its target stands for."""

from __future__ import annotations

import pytest

from testbed.chaos.faults import FAULTS, Target, TargetKind, expectations, must_hold, named, resolve
from testbed.chaos.injection import callee_vips
from testbed.model.cluster import ClusterState, Function, Instance, Phase
from testbed.model.errors import UsageError

COMPONENTS = ("controller", "agent2", "s2", "s2-ovsdb")
TRUNKS = ((1, 2), (2, 3))


def function(name: str, number: int, *calls: str, replicas: int = 1) -> Function:
    return Function(
        name=name, namespace="a", id=number, image="i:1", vip=f"10.96.1.{number}", replicas=replicas, calls=calls
    )


def instance(name: str, number: int, phase: Phase) -> Instance:
    return Instance(
        id=f"{name}.a.{number}", function=name, namespace="a", node=2, eip=f"10.202.0.{number}", phase=phase
    )


FUNCTIONS = [function("one", 1, "two", "three"), function("two", 2), function("three", 3, replicas=0)]
INSTANCES = [instance("one", 1, Phase.READY), instance("two", 1, Phase.NOT_READY), instance("two", 2, Phase.READY)]
STATE = ClusterState(
    version=1, functions={one.full_name: one for one in FUNCTIONS}, instances={one.id: one for one in INSTANCES}
)


@pytest.mark.parametrize(
    ("fault", "name", "target"),
    [
        ("kill", "controller", Target(TargetKind.COMPONENT, "controller")),
        ("kill", "two.a.1", Target(TargetKind.INSTANCE, "two.a.1")),
        ("hang", "two.a", Target(TargetKind.INSTANCE, "two.a.2")),
        ("down", "node3-node2", Target(TargetKind.TRUNK, "node2-node3")),
        ("lossy", "s1-s2", Target(TargetKind.TRUNK, "node1-node2")),
        ("overload", "one.a", Target(TargetKind.FUNCTION, "one.a")),
        ("flood", "one.a", Target(TargetKind.INSTANCE, "one.a.1")),
    ],
)
def test_a_target_by_name(fault: str, name: str, target: Target) -> None:
    assert resolve(FAULTS[fault], name, COMPONENTS, TRUNKS, STATE) == target


@pytest.mark.parametrize(
    ("fault", "name", "words"),
    [
        ("stop", "one.a", "there are: agent2, controller, s2, s2-ovsdb"),
        ("down", "node1-node3", "there are: node1-node2, node2-node3"),
        ("down", "trunk", "there are: node1-node2, node2-node3"),
        ("overload", "three", "there are: one.a, three.a, two.a"),
        ("flood", "three.a", "there are: one.a.1"),
        ("kill", None, "needs a target: a component"),
    ],
)
def test_what_is_no_target_is_answered_with_what_there_is(fault: str, name: str | None, words: str) -> None:
    with pytest.raises(UsageError) as refused:
        resolve(FAULTS[fault], name, COMPONENTS, TRUNKS, STATE)
    assert words in str(refused.value)


def test_an_unknown_fault_is_answered_with_the_known_ones() -> None:
    with pytest.raises(UsageError, match="there is no fault 'explode'") as refused:
        named("explode")
    assert all(name in str(refused.value) for name in FAULTS)


def test_every_fault_and_target_has_a_sentence_that_must_hold() -> None:
    components = ["controller", "apiserver", "scaler", "gateway", "agent12", "s2", "s2-ovsdb"]
    sentences = {must_hold(FAULTS["kill"], Target(TargetKind.COMPONENT, name)) for name in components}
    assert len(sentences) == len(components)
    assert sentences < {sentence for _, sentence in expectations()}
    for fault in FAULTS.values():
        for kind in fault.targets:
            assert must_hold(fault, Target(kind, "node1-node2")), fault.name


def test_a_trunk_names_its_nodes() -> None:
    assert Target(TargetKind.TRUNK, "node2-node13").nodes == (2, 13)


def test_a_flood_goes_to_callees_without_an_instance_if_there_are_any() -> None:
    assert callee_vips(STATE, "one.a.1") == ["10.96.1.3"]
    assert callee_vips(STATE, "two.a.1") == []
    awake = ClusterState(
        version=1, functions={**STATE.functions, "three.a": function("three", 3)}, instances=STATE.instances
    )
    assert callee_vips(awake, "one.a.1") == ["10.96.1.2", "10.96.1.3"]

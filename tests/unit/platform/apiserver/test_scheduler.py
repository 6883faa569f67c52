"""How many instances, where, and which of them go first."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from testbed.model import addressing
from testbed.model.cluster import Function, Instance, Phase
from testbed.model.errors import PlatformError
from testbed.platform.apiserver.scheduler import next_eip, next_id, plan

NODES = (1, 2, 3)


def function(replicas: int, nodes: str = "", revision: int = 1) -> Function:
    annotations = {"directfaas/node": nodes} if nodes else {}
    return Function("t", "f", 256, "10.96.1.0", "i", replicas, annotations=annotations, revision=revision)


def instance(serial: int, node: int = 2, phase: Phase = Phase.READY, revision: int = 1) -> Instance:
    return Instance(f"f.t.{serial}", "t", "f", node, addressing.eip(node, serial), phase, revision)


def test_missing_instances_go_to_the_worker_with_the_fewest() -> None:
    assert plan(function(3), [], NODES, {2: 5, 3: 1}).create == (3, 2, 3)
    assert plan(function(2), [instance(1, node=3)], NODES, {2: 9, 3: 1}).create == (2,)


def test_an_annotation_is_followed_round_and_round_whatever_the_load() -> None:
    assert plan(function(3, "node3,node2"), [], NODES, {3: 50}).create == (3, 2, 3)
    assert plan(function(2, "node2"), [], NODES, {2: 50}).create == (2, 2)


def test_surplus_drains_what_serves_nobody_then_the_fullest_node_then_the_newest() -> None:
    instances = [instance(1), instance(2, node=3), instance(3), instance(4, phase=Phase.NOT_READY, node=3)]
    assert plan(function(3), instances, NODES, {}).drain == ("f.t.4",)
    assert plan(function(1), instances, NODES, {}).drain == ("f.t.4", "f.t.3", "f.t.2")


def test_draining_instances_do_not_count() -> None:
    instances = [instance(1, phase=Phase.DRAINING), instance(2)]
    assert plan(function(2), instances, NODES, {}).create == (3,)
    assert plan(function(0), instances, NODES, {}).drain == ("f.t.2",)


def test_an_update_makes_new_instances_before_it_drains_old_ones() -> None:
    old = [instance(1), instance(2)]
    first = plan(function(2, revision=2), old, NODES, {})
    assert (len(first.create), first.drain) == (2, ())
    new = [instance(3, phase=Phase.READY, revision=2), instance(4, phase=Phase.PENDING, revision=2)]
    assert plan(function(2, revision=2), old + new, NODES, {}).drain == ("f.t.2",)
    new = [instance(3, revision=2), instance(4, revision=2)]
    assert plan(function(2, revision=2), old + new, NODES, {}).drain == ("f.t.2", "f.t.1")


@given(
    st.integers(0, 6),
    st.lists(st.tuples(st.sampled_from([2, 3]), st.sampled_from(Phase), st.sampled_from([1, 2])), max_size=12),
)
def test_a_plan_reaches_the_wanted_replicas_and_then_rests(replicas: int, have: list[tuple[int, Phase, int]]) -> None:
    wanted = function(replicas, revision=2)
    instances = {f"f.t.{n}": instance(n, *one) for n, one in enumerate(have, 1)}
    for _ in range(3):
        result = plan(wanted, list(instances.values()), NODES, {})
        assert not set(result.drain) - instances.keys()
        for drained in result.drain:
            assert instances[drained].phase is not Phase.DRAINING
            del instances[drained]
        instances = {
            key: Instance(one.id, "t", "f", one.node, one.eip, Phase.READY, one.revision)
            for key, one in instances.items()
            if one.phase is not Phase.DRAINING
        }
        for number, node in enumerate(result.create, 100 + len(instances)):
            instances[f"f.t.{number}"] = instance(number, node, Phase.READY, 2)
    assert [one.revision for one in instances.values()] == [2] * replicas
    assert not any(plan(wanted, list(instances.values()), NODES, {}).drain)


def test_addresses_and_ids_go_round_before_one_is_used_again() -> None:
    assert next_eip(2, {"10.202.0.1", "10.202.0.2"}, 1) == ("10.202.0.3", 3)
    assert next_eip(2, {"10.202.0.1"}, addressing.LAST_ID + 1) == ("10.202.0.2", 2)
    assert next_eip(2, set(), 500) == ("10.202.1.244", 500)
    assert next_id({256, 257}, 256) == 258
    assert next_id({256}, addressing.LAST_ID + 1) == 257


def test_running_out_of_ids_is_said() -> None:
    with pytest.raises(PlatformError) as caught:
        next_id(range(1, addressing.LAST_ID + 1), 300)
    assert str(caught.value) == "the lab has run out of function ids; remove functions that are not in use"


def test_many_replicas_are_spread_evenly() -> None:
    assert Counter(plan(function(40), [], NODES, {}).create) == {2: 20, 3: 20}

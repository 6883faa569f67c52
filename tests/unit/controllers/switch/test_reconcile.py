"""Reconciliation: the changes lead from actual to desired, in a safe order."""

from __future__ import annotations

from copy import deepcopy

from hypothesis import given, settings
from hypothesis import strategies as st

from controllers.desired.generator import Generator
from controllers.rows import Row, Tables, ToGroup, match
from controllers.switch.reconcile import (
    DeleteGroup,
    DeleteMeter,
    DeleteRow,
    PutGroup,
    PutMeter,
    PutRow,
    apply,
    reconcile,
)
from testbed.model.cluster import ClusterState
from tests.unit.controllers.clusters import clusters, small


def desired(state: ClusterState, node: int = 2) -> Tables:
    generator = Generator()
    generator.load(state)
    return generator.desired[node]


def groups_used(tables: Tables) -> set[int]:
    return {a.group for row in tables.rows.values() for a in row.actions if isinstance(a, ToGroup)}


@settings(max_examples=25, deadline=None)
@given(clusters(), clusters(), st.sampled_from((1, 2, 3)))
def test_the_changes_turn_what_is_into_what_should_be(before: ClusterState, after: ClusterState, node: int) -> None:
    actual, wanted = desired(before, node), desired(after, node)
    apply(actual, reconcile(wanted, actual))
    assert actual == wanted
    assert reconcile(wanted, actual) == ()


@settings(max_examples=25, deadline=None)
@given(clusters(), clusters(), st.sampled_from((1, 2, 3)))
def test_no_row_ever_uses_a_group_that_is_not_there(before: ClusterState, after: ClusterState, node: int) -> None:
    actual, wanted = desired(before, node), desired(after, node)
    for change in reconcile(wanted, actual):
        apply(actual, (change,))
        assert groups_used(actual) <= actual.groups.keys()


@settings(max_examples=25, deadline=None)
@given(clusters(), clusters(), st.sampled_from((1, 2, 3)))
def test_an_instance_leaves_its_groups_before_its_rows_go(before: ClusterState, after: ClusterState, node: int) -> None:
    ordered = reconcile(desired(after, node), desired(before, node))
    kinds = [type(change) for change in ordered]
    order = (PutMeter, PutGroup, PutRow, DeleteRow, DeleteGroup, DeleteMeter)
    assert kinds == sorted(kinds, key=order.index)


def test_unknown_rows_are_swept() -> None:
    wanted = desired(small())
    actual = deepcopy(wanted)
    stranger = Row(6, 300, match(eth_type=0x800), (), 0xBAD)
    actual.rows[stranger.key] = stranger
    assert reconcile(wanted, actual) == (DeleteRow(stranger),)


def test_only_a_row_that_keeps_its_cookie_keeps_its_counters() -> None:
    old = Row(7, 200, match(eth_type=0x800), (), 1)
    same, other = Row(7, 200, old.match, (ToGroup(1),), 1), Row(7, 200, old.match, (ToGroup(1),), 2)
    assert reconcile(Tables.of([same]), Tables.of([old])) == (PutRow(same, keep_counters=True),)
    assert reconcile(Tables.of([other]), Tables.of([old])) == (PutRow(other, keep_counters=False),)


def test_the_digest_knows_no_order_and_sees_every_difference() -> None:
    tables = desired(small())
    rows, groups, meters = tables.rows.values(), tables.groups.values(), tables.meters.values()
    backwards = Tables.of(reversed(rows), reversed(groups), reversed(meters))
    assert tables.digest() == backwards.digest()
    for key in tables.rows:
        less = Tables({k: v for k, v in tables.rows.items() if k != key}, tables.groups, tables.meters)
        assert less.digest() != tables.digest()
    assert Tables(tables.rows, {}, tables.meters).digest() != tables.digest()
    assert Tables(tables.rows, tables.groups, {}).digest() != tables.digest()

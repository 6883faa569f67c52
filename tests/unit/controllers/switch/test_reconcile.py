"""Reconciliation: the changes lead from actual to desired, in a safe order, and name what to flush."""

from __future__ import annotations

from copy import deepcopy

from hypothesis import given, settings
from hypothesis import strategies as st

from controllers import pipeline as p
from controllers.desired.generator import Generator
from controllers.rows import Row, Tables, ToGroup, match
from controllers.switch.fleet import Fleet, Stage
from controllers.switch.reconcile import (
    Change,
    DeleteGroup,
    DeleteMeter,
    DeleteRow,
    Flush,
    PutGroup,
    PutMeter,
    PutRow,
    apply,
    reconcile,
)
from testbed.model import addressing
from testbed.model.cluster import ClusterState, Phase
from tests.unit.controllers.clusters import clusters, delete, put, small, snapshot


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


# The fleet: switches that came and went, ports that are not there yet, stages.


def all_ports(fleet: Fleet, node: int) -> dict[str, int]:
    names = sorted({name for row in fleet.desired(node).rows.values() for name in row.ports()})
    return {name: number for number, name in enumerate(names, start=1)}


def running(state: ClusterState) -> tuple[Fleet, dict[int, Tables]]:
    """A fleet whose switches were empty and hold what they were told."""
    fleet = Fleet()
    fleet.events([snapshot(state)])
    switches = {node: Tables() for node in state.nodes}
    for node in state.nodes:
        fleet.connected(node, all_ports(fleet, node))
        obey(switches, fleet.read(node, Tables(), 0))
    return fleet, switches


def obey(switches: dict[int, Tables], stages: tuple[Stage, ...]) -> None:
    for stage in stages:
        for node, batch in stage.items():
            apply(switches[node], batch.changes)


def changes(stages: tuple[Stage, ...]) -> list[Change]:
    return [change for stage in stages for batch in stage.values() for change in batch.changes]


def flushed(stages: tuple[Stage, ...]) -> list[Flush]:
    return [flush for stage in stages for batch in stage.values() for flush in batch.flushes]


@settings(max_examples=40, deadline=None)
@given(clusters(), st.data())
def test_switches_follow_every_event(state: ClusterState, data: st.DataObject) -> None:
    fleet, switches = running(state)
    values = [*state.functions.values(), *state.instances.values(), *state.deployments.values()]
    taken = data.draw(st.lists(st.sampled_from(values), unique_by=id, max_size=6))
    version = state.version
    for make in (delete, put):
        for value in taken:
            version += 1
            obey(switches, fleet.events([make(value, version)]))
            for node in state.nodes:
                assert switches[node] == fleet.switches[node].wanted(fleet.desired(node))


def test_nothing_is_changed_before_there_is_a_snapshot() -> None:
    fleet = Fleet()
    fleet.connected(2, {})
    full = desired(small())
    assert fleet.read(2, deepcopy(full), 3) == ()
    assert fleet.ports(2, {"n2p11": 1}) == ()


def test_a_restarted_controller_sends_only_the_difference() -> None:
    state = small()
    _, switches = running(state)
    restarted = Fleet()
    restarted.events([snapshot(state)])
    restarted.connected(2, all_ports(restarted, 2))
    assert restarted.read(2, deepcopy(switches[2]), 7) == ()
    assert restarted.switches[2].round == 8


def test_rows_wait_for_their_port_and_follow_it() -> None:
    fleet, switches = running(small())
    ports = all_ports(fleet, 2)
    obey(switches, fleet.ports(2, {k: v for k, v in ports.items() if k != "n2p11"}))
    assert fleet.switches[2].held_back(fleet.desired(2)) == 3
    obey(switches, fleet.ports(2, {**ports, "n2p11": 77}))
    assert fleet.switches[2].held_back(fleet.desired(2)) == 0
    assert {dict(row.match).get("in_port") for row in switches[2].rows.values()} >= {77}
    assert switches[2] == fleet.switches[2].wanted(fleet.desired(2))


def test_a_removed_instance_is_forgotten_by_every_zone() -> None:
    state = small()
    fleet, _ = running(state)
    gone = state.instances["b.d.2"]
    stages = fleet.events([delete(gone, 2)])
    early = {f for f in flushed(stages) if not f.late}
    assert early == {f for n in (1, 2, 3) for f in (Flush(n, source=gone.eip), Flush(n, replier=gone.eip))}
    last = stages[-1]
    assert last[2].flushes == (Flush(2, source=gone.eip, late=True), Flush(2, replier=gone.eip, late=True))


def test_a_removed_call_is_forgotten_where_it_begins_and_then_where_it_ends() -> None:
    state = small()
    fleet, _ = running(state)
    caller = state.functions["a.d"]
    stages = fleet.events([put(caller.__class__(**{**vars(caller), "calls": ()}), 2)])
    a, b = state.instances["a.d.1"].eip, state.instances["b.d.1"].eip
    assert stages[0][2].flushes == (Flush(2, source=a, destination=addressing.vip(257)),)
    assert stages[-1][3].flushes == (Flush(3, source=a, destination=b, late=True),)


def test_what_was_removed_while_a_switch_was_away_is_flushed_when_it_is_back() -> None:
    state = small()
    fleet, switches = running(state)
    fleet.disconnected(1)
    gone = state.instances["b.d.2"]
    fleet.events([delete(gone, 2)])
    fleet.connected(1, all_ports(fleet, 1))
    assert Flush(1, replier=gone.eip) in flushed(fleet.read(1, switches[1], 1))


def test_a_controller_that_was_away_flushes_what_left_meanwhile() -> None:
    state = small()
    _, switches = running(state)
    gone = state.instances["b.d.2"]
    after = state.apply(delete(gone, 2))
    restarted = Fleet()
    restarted.events([snapshot(after)])
    restarted.connected(2, {**all_ports(restarted, 2)})
    assert Flush(2, replier=gone.eip) in flushed(restarted.read(2, switches[2], 1))


def test_draining_flushes_nothing() -> None:
    state = small()
    fleet, _ = running(state)
    draining = state.instances["b.d.2"]
    stages = fleet.events([put(draining.__class__(**{**vars(draining), "phase": Phase.DRAINING}), 2)])
    assert flushed(stages) == []
    assert all(isinstance(change, PutGroup) for change in changes(stages))


def test_where_a_call_arrives_changes_before_where_it_begins() -> None:
    state = small()
    fleet, _ = running(state)
    new = state.instances["b.d.1"]
    new = new.__class__(**{**vars(new), "id": "b.d.9", "eip": addressing.eip(3, 99)})
    fleet.switches[3].ports["n3p99"] = 99
    stages = fleet.events([put(new, 2)])
    assert [sorted(stage) for stage in stages] == [[3], [2]]
    assert p.Category.FORWARDING in {p.category_of(c.row.cookie) for c in stages[0][3].changes if isinstance(c, PutRow)}

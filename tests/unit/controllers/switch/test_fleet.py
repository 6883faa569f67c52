"""The fleet: switches that came and went, ports that are not there yet, and what waits for another switch."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from controllers import pipeline as p
from controllers.desired.generator import Generator
from controllers.rows import Group, Tables
from controllers.switch.flushing import Flush
from controllers.switch.reconcile import PutGroup, PutRow
from controllers.switch.worker import RETRY_S
from testbed.model import addressing
from testbed.model.cluster import ClusterState, Instance, Phase
from tests.unit.controllers.clusters import clusters, delete, put, small, snapshot
from tests.unit.controllers.switch.crew_rig import FakeChannel, Rig, rigged, running

DENY = {"name": "shut", "kind": "deny", "namespace": "d", "from": "a", "to": "b"}


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(state=clusters(), data=st.data())
def test_switches_follow_every_event(monkeypatch: pytest.MonkeyPatch, state: ClusterState, data: st.DataObject) -> None:
    with rigged(monkeypatch) as made:
        rig = running(made, state)
        values = [*state.functions.values(), *state.instances.values(), *state.deployments.values()]
        taken = data.draw(st.lists(st.sampled_from(values), unique_by=id, max_size=6))
        version = state.version
        for make in (delete, put):
            for value in taken:
                version += 1
                rig.deal(make(value, version))
                assert all(rig.is_as_desired(node) for node in state.nodes)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(state=clusters(), data=st.data())
def test_switches_that_are_slow_in_any_order_end_as_desired(
    monkeypatch: pytest.MonkeyPatch, state: ClusterState, data: st.DataObject
) -> None:
    with rigged(monkeypatch) as made:
        rig = running(made, state)
        values = [*state.functions.values(), *state.instances.values(), *state.deployments.values()]
        version = state.version
        for value in data.draw(st.lists(st.sampled_from(values), unique_by=id, max_size=6)):
            for make in (delete, put):
                version += 1
                rig.fleet.event(make(value, version))
                for node in data.draw(st.lists(st.sampled_from((1, 2, 3)), unique=True)):
                    rig.crew.workers[node].step()
        rig.work()
        assert all(rig.is_as_desired(node) for node in state.nodes)
        assert rig.fleet.generator.withheld == set()
        assert rig.applied == version
        fresh = Generator()
        fresh.load(rig.fleet.generator.index.state)
        assert {node: rig.fleet.desired(node) for node in state.nodes} == fresh.desired


def test_nothing_is_changed_before_there_is_a_snapshot(rig: Rig) -> None:
    generator = Generator()
    generator.load(small())
    channel = rig.connect(FakeChannel(2, {}, deepcopy(generator.desired[2])))
    rig.set_ports(2, {"n2p11": 1})
    assert (channel.log, channel.held, rig.applied) == ([], generator.desired[2], 0)


def test_a_restarted_controller_sends_only_the_difference(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    state = small()
    running(rig, state)
    held = deepcopy(rig.channels[2].held)
    with rigged(monkeypatch) as restarted:
        restarted.deal(snapshot(state))
        channel = restarted.connect(FakeChannel(2, restarted.all_ports(2), held))
        assert channel.log == []
        assert restarted.fleet.switches[2].round == 2


def test_rows_wait_for_their_port_and_follow_it(small_rig: Rig) -> None:
    rig, ports = small_rig, small_rig.all_ports(2)
    rig.set_ports(2, {k: v for k, v in ports.items() if k != "n2p11"})
    assert rig.fleet.switches[2].held_back(rig.fleet.desired(2)) == 3
    rig.set_ports(2, {**ports, "n2p11": 77})
    assert rig.fleet.switches[2].held_back(rig.fleet.desired(2)) == 0
    assert {dict(row.match).get("in_port") for row in rig.channels[2].held.rows.values()} >= {77}
    assert rig.is_as_desired(2)


# What is forgotten


def test_a_removed_instance_is_forgotten_by_every_zone(small_rig: Rig) -> None:
    gone = small().instances["b.d.2"]
    small_rig.deal(delete(gone, 2))
    flushed = {node: {f for f in channel.flushes if not f.late} for node, channel in small_rig.channels.items()}
    assert flushed == {n: {Flush(n, source=gone.eip), Flush(n, replier=gone.eip)} for n in (1, 2, 3)}
    late = {flush for channel in small_rig.channels.values() for flush in channel.flushes if flush.late}
    assert late == {Flush(2, source=gone.eip, late=True), Flush(2, replier=gone.eip, late=True)}


def test_an_instance_whose_port_goes_first_is_forgotten_too(small_rig: Rig) -> None:
    """As the node agent does it: the sandbox, then the instance. With the port its rows went, when it was still one."""
    gone, ports = small().instances["b.d.2"], small_rig.channels[2].numbers
    small_rig.set_ports(2, {name: n for name, n in ports.items() if name != addressing.port_name(gone.eip)})
    assert all(channel.flushes == [] for channel in small_rig.channels.values())
    small_rig.deal(delete(gone, 2))
    for node, channel in small_rig.channels.items():
        assert {Flush(node, source=gone.eip), Flush(node, replier=gone.eip)} <= set(channel.flushes)


def test_what_may_still_be_on_its_way_is_forgotten_when_every_switch_has_confirmed(small_rig: Rig) -> None:
    gone = small().instances["a.g.1"]  # on node2, called by the gateway on node1
    small_rig.fleet.event(delete(gone, 2))
    small_rig.work(2)
    assert not any(flush.late for flush in small_rig.channels[2].flushes)
    small_rig.work(1)
    small_rig.work(2)
    assert any(flush.late for flush in small_rig.channels[2].flushes)


def test_a_removed_call_is_forgotten_where_it_begins_and_then_where_it_ends(small_rig: Rig) -> None:
    state = small()
    small_rig.deal(put(replace(state.functions["a.d"], calls=()), 2))
    a, b = state.instances["a.d.1"].eip, state.instances["b.d.1"].eip
    assert Flush(2, source=a, destination=addressing.vip(257)) in small_rig.channels[2].flushes
    assert small_rig.channels[3].flushes == [Flush(3, source=a, destination=b, late=True)]


def test_what_was_removed_while_a_switch_was_away_is_flushed_when_it_is_back(small_rig: Rig) -> None:
    gone, away = small().instances["b.d.2"], small_rig.channels[1]
    small_rig.disconnect(away)
    small_rig.deal(delete(gone, 2))
    back = small_rig.connect(FakeChannel(1, away.numbers, away.held))
    assert Flush(1, replier=gone.eip) in back.flushes


def test_a_controller_that_was_away_flushes_what_left_meanwhile(
    small_rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone, before = small().instances["b.d.2"], small_rig.channels[2]
    with rigged(monkeypatch) as restarted:
        restarted.deal(snapshot(small().apply(delete(gone, 2))))
        back = restarted.connect(FakeChannel(2, before.numbers, before.held))
        assert Flush(2, replier=gone.eip) in back.flushes


def test_draining_flushes_nothing(small_rig: Rig) -> None:
    small_rig.deal(put(replace(small().instances["b.d.2"], phase=Phase.DRAINING), 2))
    assert all(channel.flushes == [] for channel in small_rig.channels.values())
    changes = [change for channel in small_rig.channels.values() for change in channel.changes]
    assert changes
    assert all(isinstance(change, PutGroup) for change in changes)


def test_what_is_allowed_again_is_not_forgotten(small_rig: Rig) -> None:
    """A flush comes again and again, until long after the call may have been allowed and begun anew."""
    a = small().functions["a.d"]
    small_rig.deal(put(replace(a, calls=()), 2))
    before = len(small_rig.channels[2].flushes)
    small_rig.deal(put(a, 3))
    for _ in range(5):
        small_rig.later(1)
    assert len(small_rig.channels[2].flushes) == before


def test_what_is_allowed_again_before_it_was_forgotten_is_let_be(small_rig: Rig) -> None:
    a = small().functions["a.d"]
    small_rig.fleet.event(put(replace(a, calls=()), 2))
    small_rig.work(2)  # node3's late flush waits for the others
    small_rig.fleet.event(put(a, 3))
    small_rig.work()
    assert small_rig.channels[3].flushes == []


def test_an_eip_that_has_a_new_owner_keeps_its_connections(small_rig: Rig) -> None:
    gone = small().instances["b.d.2"]
    small_rig.deal(delete(gone, 2))
    before = {node: len(channel.flushes) for node, channel in small_rig.channels.items()}
    small_rig.deal(put(replace(gone, id="b.d.7"), 3))
    small_rig.later(0.2)
    assert {node: len(channel.flushes) for node, channel in small_rig.channels.items()} == before


def test_steady_changes_leave_room_for_flushes_and_audits(small_rig: Rig) -> None:
    rig, one, worker = small_rig, small().instances["b.d.1"], small_rig.crew.workers[2]
    rig.deal(delete(small().instances["a.g.1"], 2))
    flushed, reads = len(rig.channels[2].flushes), rig.channels[2].reads
    for version in range(3, 103):
        rig.fleet.event(put(replace(one, phase=Phase.NOT_READY if version % 2 else Phase.READY), version))
        worker.step()
        rig.clock.now_s += 0.1
    assert len(rig.channels[2].flushes) > flushed
    assert rig.channels[2].reads > reads


def test_many_flushes_let_changes_go_first(small_rig: Rig) -> None:
    switch = small_rig.fleet.switches[2]
    for number in range(100):
        switch.owed.add(Flush(2, source=addressing.eip(3, 1000 + number)), 0, small_rig.clock())
    worker = small_rig.crew.workers[2]
    assert worker.step()
    small_rig.fleet.event(put(replace(small().instances["b.d.2"], phase=Phase.DRAINING), 2))
    assert worker.step()
    flushed_before = len(small_rig.channels[2].flushes)
    assert isinstance(small_rig.channels[2].log[-1], PutGroup)
    small_rig.work()
    assert 0 < flushed_before < len(small_rig.channels[2].flushes) == 100


# What waits for another switch


def starting(version: int, phase: Phase = Phase.READY, node: int = 3) -> tuple[Instance, dict[str, object]]:
    """A new instance of b.d, and the event that tells of it."""
    first = small().instances["b.d.1"]
    new = replace(first, id="b.d.9", node=node, eip=addressing.eip(node, 99), phase=phase)
    return new, put(new, version)


def endpoints(group: Group) -> set[str | None]:
    return {bucket.endpoint for bucket in group.buckets}


def test_an_instance_is_chosen_only_when_its_own_switch_delivers_to_it(small_rig: Rig) -> None:
    rig = small_rig
    new, event = starting(2)
    rig.set_ports(3, {**rig.channels[3].numbers, "n3p99": 99})
    rig.fleet.event(event)
    rig.work(1, 2)
    assert new.eip not in endpoints(rig.channels[2].held.groups[257])
    rig.work(3)
    rig.work()
    assert new.eip in endpoints(rig.channels[2].held.groups[257])
    delivering = [c for c in rig.channels[3].changes if isinstance(c, PutRow)]
    assert p.Category.FORWARDING in {p.category_of(change.row.cookie) for change in delivering}


def test_an_instance_is_chosen_when_its_switch_turns_out_to_deliver_to_it(small_rig: Rig) -> None:
    """It took the bundle, but its barrier did not come in time."""
    rig = small_rig
    new, event = starting(2)
    rig.set_ports(3, {**rig.channels[3].numbers, "n3p99": 99})
    rig.channels[3].silent = 1
    rig.deal(event)
    assert new.eip not in endpoints(rig.channels[2].held.groups[257])
    rig.later(RETRY_S)
    assert new.eip in endpoints(rig.channels[2].held.groups[257])


def test_an_instance_that_got_ready_while_the_controller_started_is_chosen(
    small_rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the snapshot, and before its own switch was read."""
    one = small().instances["b.d.1"]
    before = small().apply(put(replace(one, phase=Phase.NOT_READY), 2))
    with rigged(monkeypatch) as restarted:
        restarted.deal(snapshot(before))
        restarted.fleet.event(put(one, 3))
        for node, channel in small_rig.channels.items():
            restarted.connect(FakeChannel(node, restarted.all_ports(node), channel.held))
        assert one.eip in endpoints(restarted.channels[2].held.groups[257])


def test_a_snapshot_in_between_leaves_nothing_withheld(small_rig: Rig) -> None:
    _, event = starting(2)
    small_rig.fleet.event(event)
    small_rig.fleet.event(snapshot(small().apply(event)))
    fresh = Generator()
    fresh.load(small_rig.fleet.generator.index.state)
    assert small_rig.fleet.desired(2) == fresh.desired[2]


def test_an_instance_that_leaves_before_its_switch_knew_it_is_forgotten(small_rig: Rig) -> None:
    new, event = starting(2)
    small_rig.fleet.event(event)
    assert small_rig.fleet.generator.withheld == {new.eip}
    small_rig.deal(delete(new, 3))
    assert small_rig.fleet.generator.withheld == set()


def test_a_switch_that_hangs_holds_up_no_other(small_rig: Rig) -> None:
    """Its worker waits; the others take what there is, and an instance elsewhere is chosen at once."""
    rig = small_rig
    new, event = starting(2, node=2)
    rig.set_ports(2, {**rig.channels[2].numbers, "n2p99": 99})
    rig.fleet.event(event)
    rig.work(1, 2)
    assert new.eip in endpoints(rig.channels[2].held.groups[257])
    assert (rig.fleet.reached(2).version, rig.fleet.reached(1).version) == (2, 2)
    rig.fleet.event(put(replace(small().instances["b.d.1"], phase=Phase.NOT_READY), 3))
    rig.work(1, 2)
    assert rig.fleet.reached(2).version == 3
    rig.work()
    assert rig.is_as_desired(3)


def test_a_version_is_confirmed_at_once_where_it_changes_nothing(small_rig: Rig) -> None:
    small_rig.fleet.event(put(replace(small().instances["b.d.1"], phase=Phase.NOT_READY), 2))
    assert small_rig.fleet.reached(1).version == (2 if not small_rig.crew.workers[1].switch.is_touched else 1)
    assert small_rig.fleet.reached(2).version == 1
    small_rig.work(2)
    assert small_rig.fleet.reached(2).version == 2


# What somebody else changes


@pytest.mark.parametrize("what", ["rows", "groups", "meters"])
def test_what_was_removed_by_hand_is_put_back_and_counted(small_rig: Rig, what: str) -> None:
    held: Tables = small_rig.channels[2].held
    removed = list(getattr(held, what))[::2]
    for key in removed:
        del getattr(held, what)[key]
    small_rig.later(4)
    assert small_rig.is_as_desired(2)
    assert small_rig.fleet.switches[2].repaired == len(removed)
    assert [small_rig.fleet.switches[node].repaired for node in (1, 3)] == [0, 0]


def test_what_a_stranger_put_there_is_swept_and_counted(small_rig: Rig) -> None:
    row = next(iter(small_rig.channels[2].held.rows.values()))
    stranger = replace(row, priority=9, cookie=0xBAD)
    small_rig.channels[2].held.rows[stranger.key] = stranger
    small_rig.later(4)
    assert small_rig.is_as_desired(2)
    assert small_rig.fleet.switches[2].repaired == 1


def test_a_change_on_its_way_is_no_drift(small_rig: Rig) -> None:
    small_rig.fleet.event(put(replace(small().instances["b.d.2"], phase=Phase.DRAINING), 2))
    small_rig.later(4)
    assert small_rig.is_as_desired(2)
    assert [switch.repaired for switch in small_rig.fleet.switches.values()] == [0, 0, 0]

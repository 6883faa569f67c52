"""Workers and their crew with switches that are values: versions, failures, reconnects, what is confirmed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from controllers import sdn
from controllers.policy.book import Book, added
from controllers.rows import Row, Tables, match
from controllers.switch.crew import BACK_WITHIN_S, CONFIRMED_WITHIN_S, SILENT_S, Confirmation
from controllers.switch.debts import FLUSH_AGAIN_S
from controllers.switch.flushing import Flush
from controllers.switch.worker import RETRY_S
from testbed.model.cluster import Phase
from tests.unit.controllers.clusters import delete, put, small, snapshot
from tests.unit.controllers.switch.crew_rig import FakeChannel, Rig


def readiness(version: int, phase: Phase = Phase.NOT_READY) -> dict[str, Any]:
    return put(replace(small().instances["b.d.1"], phase=phase), version)


def shut() -> Book:
    policy = added({}, {"name": "shut", "kind": "deny", "namespace": "d", "from": "a", "to": "b"})
    return {policy.name: policy}


def test_a_version_is_applied_when_every_connected_switch_has_it(small_rig: Rig) -> None:
    assert small_rig.applied == 1
    small_rig.fleet.event(readiness(2))
    assert small_rig.applied == 1
    small_rig.work()
    assert small_rig.applied == 2
    assert all(small_rig.is_as_desired(node) for node in small_rig.channels)


def test_a_switch_that_connects_before_the_snapshot_is_left_alone_until_then(rig: Rig) -> None:
    stranger = Row(10, 200, match(), (), 0)
    channel = rig.connect(FakeChannel(2, {}, Tables.of([stranger])))
    assert (channel.batches, list(channel.held.rows.values()), rig.applied) == ([], [stranger], 0)
    rig.deal(snapshot(small()))
    assert rig.is_as_desired(2)
    assert rig.applied == 1


def test_a_refused_change_is_not_applied_until_the_switch_was_read_again(small_rig: Rig) -> None:
    small_rig.channels[2].fails = 1
    small_rig.deal(readiness(2))
    assert small_rig.applied == 0
    small_rig.later(RETRY_S)
    assert small_rig.applied == 2
    assert small_rig.is_as_desired(2)


def test_a_switch_that_does_not_answer_when_read_is_dropped(small_rig: Rig) -> None:
    small_rig.channels[2].fails = 1
    small_rig.deal(readiness(2))
    small_rig.channels[2].closed = True
    small_rig.later(RETRY_S)
    assert not small_rig.crew.workers[2].step()
    assert small_rig.applied == 0


def test_an_empty_switch_that_comes_back_gets_its_rows_at_once(small_rig: Rig) -> None:
    gone = small_rig.channels[3]
    small_rig.disconnect(gone)
    small_rig.deal(readiness(2))
    assert small_rig.applied == 2  # of those that are connected
    small_rig.connect(FakeChannel(3, gone.numbers))
    assert small_rig.is_as_desired(3)


def test_a_late_goodbye_of_an_old_connection_changes_nothing(small_rig: Rig) -> None:
    old = small_rig.channels[3]
    fresh = small_rig.connect(FakeChannel(3, old.numbers))
    small_rig.disconnect(old)
    assert small_rig.crew.workers[3].channel is fresh  # type: ignore[comparison-overlap]
    assert small_rig.is_as_desired(3)


def test_events_that_wait_together_become_one_change(small_rig: Rig) -> None:
    measured = small_rig.fleet.latencies.measurements
    before = len(measured)
    small_rig.deal(readiness(2), readiness(3, Phase.READY), readiness(4))
    assert (len(small_rig.channels[2].batches), len(measured)) == (1, before + 1)
    last = small_rig.crew.latencies()[-1]
    assert (last["version"], last["events"], last["messages"]) == (4, 3, 1)


def test_what_a_slow_switch_has_missed_is_one_bundle(small_rig: Rig) -> None:
    for version, phase in enumerate((Phase.NOT_READY, Phase.READY, Phase.NOT_READY, Phase.DRAINING), start=2):
        small_rig.fleet.event(readiness(version, phase))
        small_rig.work(1, 3)
    assert small_rig.channels[2].batches == []
    small_rig.work(2)
    assert len(small_rig.channels[2].batches) == 1
    assert small_rig.is_as_desired(2)


def test_a_change_ends_with_the_last_switch_that_it_concerns(small_rig: Rig) -> None:
    before = len(small_rig.fleet.latencies.measurements)
    gone = small().instances["b.d.1"]
    small_rig.fleet.event(delete(gone, 2))
    small_rig.work(1, 2)
    assert len(small_rig.fleet.latencies.measurements) == before
    small_rig.work(3)
    (measured,) = list(small_rig.fleet.latencies.measurements)[before:]
    assert (measured.version, measured.events) == (2, 1)
    assert measured.messages == sum(len(batch) for channel in small_rig.channels.values() for batch in channel.batches)


def test_flushes_are_repeated_because_ovs_may_admit_the_connection_again(small_rig: Rig) -> None:
    gone = small().instances["b.d.1"]
    small_rig.deal(delete(gone, 2))
    once = list(small_rig.channels[3].flushes)
    assert Flush(3, source=gone.eip) in once
    waited_s = 0.0
    for times, after_s in enumerate(FLUSH_AGAIN_S, start=2):
        small_rig.later(after_s - waited_s - 0.01)
        assert len(small_rig.channels[3].flushes) == len(once) * (times - 1)
        small_rig.later(0.02)
        waited_s = after_s + 0.01
        assert small_rig.channels[3].flushes == once * times
    small_rig.later(60)
    assert small_rig.channels[3].flushes == once * (1 + len(FLUSH_AGAIN_S))


def test_a_switch_that_does_not_take_a_repeated_flush_is_read_again(small_rig: Rig) -> None:
    small_rig.deal(delete(small().instances["b.d.1"], 2))
    small_rig.channels[3].fails = 1
    small_rig.later(FLUSH_AGAIN_S[0] + 0.01)
    assert small_rig.applied == 0
    small_rig.later(RETRY_S)
    assert small_rig.applied == 2


# What is confirmed


@pytest.fixture
def patience(monkeypatch: pytest.MonkeyPatch, small_rig: Rig) -> list[float]:
    """How long was waited at most, each time; time then passes, and workers work."""
    waited: list[float] = []

    def wait(_: Any, seconds: float) -> None:
        waited.append(seconds)
        small_rig.later(min(seconds, 0.5))

    monkeypatch.setattr(sdn.hub.Event, "wait", wait)
    return waited


def test_policies_are_confirmed_once_every_switch_concerned_has_them(small_rig: Rig, patience: list[float]) -> None:
    for channel in small_rig.channels.values():
        channel.fails = 1
    assert small_rig.crew.set_policies(shut()) == Confirmation()
    assert patience[0] == CONFIRMED_WITHIN_S
    assert all(small_rig.is_as_desired(node) for node in small_rig.channels)


def test_a_policy_is_not_confirmed_while_what_it_forbids_goes_on(small_rig: Rig) -> None:
    small_rig.fleet.set_policies(shut())
    worker, revision = small_rig.crew.workers[2], small_rig.fleet.now.revision
    assert worker.step()
    assert small_rig.fleet.reached(2).revision == revision
    assert not small_rig.fleet.holds_policies(2)
    assert worker.step()
    assert small_rig.fleet.holds_policies(2)


def test_a_policy_is_not_confirmed_before_its_flush_whatever_else_happens(small_rig: Rig) -> None:
    """A change between the policy and the worker's turn goes into one bundle with it."""
    small_rig.fleet.set_policies(shut())
    small_rig.fleet.event(readiness(2))
    assert small_rig.crew.workers[2].step()
    assert small_rig.channels[2].flushes == []
    assert not small_rig.fleet.holds_policies(2)


def test_a_policy_that_is_in_force_stays_so_while_other_things_change(small_rig: Rig) -> None:
    small_rig.fleet.set_policies(shut())
    assert not small_rig.crew.in_force((2,)).is_complete
    small_rig.work()
    small_rig.fleet.event(readiness(2))
    assert small_rig.crew.in_force((2,)) == Confirmation()


def test_a_switch_that_hangs_has_not_confirmed_anything(
    small_rig: Rig, patience: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(small_rig.crew.workers[2], "step", lambda: False)
    assert small_rig.crew.set_policies(shut()) == Confirmation(silent=(2,))
    assert sum(seconds > 0 for seconds in patience) == CONFIRMED_WITHIN_S / 0.5
    assert small_rig.crew.in_force((1, 3)) == Confirmation()
    assert small_rig.crew.in_force((1, 2, 3)) == Confirmation(silent=(2,))


def test_a_switch_that_is_away_is_not_waited_for_long_and_named(small_rig: Rig, patience: list[float]) -> None:
    small_rig.disconnect(small_rig.channels[2])
    assert small_rig.crew.set_policies(shut()) == Confirmation(away=(2,))
    assert patience[0] == BACK_WITHIN_S


def test_a_switch_that_a_policy_does_not_concern_is_not_waited_for(small_rig: Rig) -> None:
    small_rig.disconnect(small_rig.channels[1])
    small_rig.fleet.set_policies(shut())
    small_rig.work()
    assert small_rig.crew.in_force((2,)) == Confirmation()


def test_nothing_is_confirmed_before_the_cluster_is_known(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sdn.hub.Event, "wait", lambda _, seconds: rig.later(seconds))
    assert rig.crew.set_policies(shut()) == Confirmation(known=False)


def test_policies_that_came_before_the_cluster_was_known_are_confirmed_by_all_of_it(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wait(_: Any, seconds: float) -> None:
        if not rig.fleet.has_snapshot:
            rig.deal(snapshot(small()))
            for node in (1, 3):
                rig.connect(FakeChannel(node, rig.all_ports(node)))
        rig.later(seconds)

    monkeypatch.setattr(sdn.hub.Event, "wait", wait)
    assert rig.crew.set_policies(shut()) == Confirmation(away=(2,))


def test_a_switch_is_silent_for_as_long_as_it_owes_an_answer(small_rig: Rig) -> None:
    assert small_rig.crew.silent_s(2) == 0
    small_rig.channels[2].fails = 9
    small_rig.deal(readiness(2))
    small_rig.clock.now_s += 4
    assert small_rig.crew.silent_s(2) == 4
    small_rig.channels[2].fails = 0
    small_rig.work()
    assert small_rig.crew.silent_s(2) == 0
    small_rig.disconnect(small_rig.channels[2])
    small_rig.clock.now_s += 2
    assert small_rig.crew.silent_s(2) == 2


def test_the_silence_of_a_switch_goes_on_when_its_connection_is_given_up(small_rig: Rig) -> None:
    small_rig.channels[2].fails = 9
    small_rig.deal(readiness(2))
    small_rig.clock.now_s += 4
    small_rig.disconnect(small_rig.channels[2])
    small_rig.clock.now_s += 2
    assert small_rig.crew.silent_s(2) == 6


# The digest


def test_a_digest_is_that_of_the_tables_as_they_are(small_rig: Rig) -> None:
    actual, desired = small_rig.crew.digests()[2]
    assert actual == desired
    small_rig.channels[2].held.rows.popitem()
    assert small_rig.crew.digests()[2] != (desired, desired)
    small_rig.channels[2].closed = True
    assert small_rig.crew.digests()[2] == (None, desired)


def test_what_is_applied_is_said_without_a_switch_that_hangs(small_rig: Rig) -> None:
    """Or every instance that is drained would wait for it."""
    small_rig.channels[2].fails = 9
    small_rig.deal(readiness(2))
    assert small_rig.crew.applied == 0
    small_rig.clock.now_s += SILENT_S + 0.1
    assert small_rig.crew.applied == 2


def test_a_worker_that_is_woken_does_not_read_tables(small_rig: Rig) -> None:
    before = small_rig.channels[2].reads
    small_rig.deal(*(readiness(version) for version in range(2, 12)))
    assert small_rig.channels[2].reads == before

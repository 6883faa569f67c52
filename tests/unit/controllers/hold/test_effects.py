"""Hold-and-release as the switches' workers take part in it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from controllers import pipeline as p
from controllers import sdn
from controllers.northbound.counters import counters
from controllers.northbound.explain import Names
from controllers.northbound.metrics import exposition
from controllers.rows import OutputPort, Resubmit, SetField
from controllers.switch.worker import RETRY_S
from testbed.model import addressing, segments
from testbed.model.cluster import Phase
from tests.unit.controllers.clusters import delete, put, small
from tests.unit.controllers.frames import syn
from tests.unit.controllers.switch.crew_rig import FakeChannel, Rig

SYN = syn(addressing.eip(3, 11), addressing.vip(258), 40_000, 7)
HELD_CALL = p.cookie(p.Category.HOLD, p.call_object(257, 258))


@pytest.fixture
def questions(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The functions that the scaler is asked for, instead of asking it."""
    asked: list[Any] = []
    monkeypatch.setattr(sdn.hub, "spawn", lambda _, callee: asked.append(callee))
    return asked


def c_is(phase: Phase, version: int) -> dict[str, Any]:
    return put(replace(small().instances["c.d.1"], phase=phase), version)


def punted(rig: Rig, frame: bytes = SYN) -> None:
    rig.holding.punted(3, p.with_round(HELD_CALL, 1), {"in_port": 2}, frame)


def tables_of(channel: FakeChannel) -> list[int]:
    return [action.table for packet in channel.packets for action in packet.actions if isinstance(action, Resubmit)]


def test_held_calls_go_in_the_bundle_that_opens_the_function(small_rig: Rig, questions: list[Any]) -> None:
    channels, holding = small_rig.channels, small_rig.holding
    punted(small_rig)
    assert (questions, channels[3].packets) == ([258], [])
    (statistics,) = holding.statistics()
    assert (statistics["function"], statistics["now"], statistics["held"]) == ("c.d", 1, 1)
    small_rig.deal(c_is(Phase.READY, 2))
    (packet,) = channels[3].packets
    assert (packet.frame, packet.in_port) == (SYN, 2)
    assert packet.actions == (SetField("reg0", 1), SetField("reg1", 257), Resubmit(p.DAG_POLICY.number))
    (statistics,) = holding.statistics()
    assert (statistics["now"], statistics["released"]) == (0, 1)
    page = exposition(counters({}, Names({}, {}), [statistics]), [], {}, 3, {}).decode()
    assert 'directfaas_holds_total{function="c.d",outcome="released"} 1.0' in page


def test_what_a_stale_flow_punts_afterwards_goes_on_at_once(small_rig: Rig, questions: list[Any]) -> None:
    channels = small_rig.channels
    small_rig.deal(c_is(Phase.READY, 2))
    punted(small_rig)
    assert (questions, tables_of(channels[3])) == ([], [p.CONNTRACK_ZONE.number])
    small_rig.deal(c_is(Phase.DRAINING, 3))
    punted(small_rig)
    assert (questions, len(channels[3].packets)) == ([258], 1)


def test_calls_stay_held_until_the_instances_own_switch_has_its_rows(small_rig: Rig, questions: list[Any]) -> None:
    channels = small_rig.channels
    punted(small_rig)
    numbers = small_rig.channels[2].numbers
    port = addressing.port_name(small().instances["c.d.1"].eip)
    small_rig.set_ports(2, {name: number for name, number in numbers.items() if name != port})
    small_rig.deal(c_is(Phase.READY, 2))
    assert channels[3].packets == []
    small_rig.set_ports(2, numbers)
    assert tables_of(channels[3]) == [p.DAG_POLICY.number]


def test_calls_are_held_while_the_instances_own_switch_is_away(small_rig: Rig, questions: list[Any]) -> None:
    channels = small_rig.channels
    small_rig.deal(c_is(Phase.READY, 2))
    small_rig.disconnect(channels[2])
    punted(small_rig)
    assert (channels[3].packets, small_rig.holding.holds.now(258)) == ([], 1)
    small_rig.connect(FakeChannel(2, channels[2].numbers, channels[2].held))
    assert tables_of(channels[3]) == [p.CONNTRACK_ZONE.number]


def test_calls_whose_bundle_was_refused_are_released_when_the_switch_was_read_again(
    small_rig: Rig, questions: list[Any]
) -> None:
    channels, holding = small_rig.channels, small_rig.holding
    punted(small_rig)
    channels[3].fails = 1
    small_rig.deal(c_is(Phase.READY, 2))
    assert (channels[3].packets, holding.holds.now(258)) == ([], 1)
    small_rig.later(RETRY_S)
    assert tables_of(channels[3]) == [p.CONNTRACK_ZONE.number]


def test_a_switch_that_hangs_keeps_no_call_of_others_waiting(small_rig: Rig, questions: list[Any]) -> None:
    """Nor an instance on a node that hangs: it is not chosen while another can be."""
    punted(small_rig)
    small_rig.fleet.event(c_is(Phase.READY, 2))
    small_rig.work(3)
    assert tables_of(small_rig.channels[3]) == [p.DAG_POLICY.number]


@pytest.mark.parametrize("gone", ["function", "call"])
def test_calls_to_what_is_removed_are_reset(small_rig: Rig, questions: list[Any], gone: str) -> None:
    channels = small_rig.channels
    punted(small_rig)
    functions = small().functions
    event = delete(functions["c.d"], 2) if gone == "function" else put(replace(functions["b.d"], calls=()), 2)
    small_rig.deal(event)
    assert [packet.actions for packet in channels[3].packets] == [(OutputPort(2),)]
    assert channels[3].packets[0].frame == segments.reset(SYN)


def test_a_punt_by_no_row_of_ours_is_ignored(small_rig: Rig, questions: list[Any]) -> None:
    channels, holding = small_rig.channels, small_rig.holding
    holding.punted(3, p.cookie(p.Category.DROP, 1), {"in_port": 2}, SYN)
    assert (questions, channels[3].packets, holding.holds.busy) == ([], [], False)


def test_a_controller_that_does_not_know_the_cluster_yet_resets_nobody(rig: Rig, questions: list[Any]) -> None:
    channel = rig.connect(FakeChannel(3, {}))
    punted(rig)
    assert (questions, channel.packets, rig.holding.holds.busy) == ([], [], False)

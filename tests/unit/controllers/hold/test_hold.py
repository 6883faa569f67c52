"""Held calls: each is released once or reset, never both and never neither; places, repeats, questions."""

from __future__ import annotations

from collections.abc import Iterable
from copy import deepcopy

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from controllers import pipeline as p
from controllers.hold import machine
from controllers.hold.machine import Activate, Effect, Holds, Punt, Release, Reset, Standing
from testbed.model import addressing, segments
from tests.unit.controllers.frames import frame, syn

CLOSED, OPEN, GONE = Standing.CLOSED, Standing.OPEN, Standing.GONE
CALLER, CALLEE, NODE, PORT = 256, 257, 2, 4
SOURCE, VIP = addressing.eip(NODE, 11), addressing.vip(CALLEE)


def punt(sport: int = 40_000, seq: int = 1, *, callee: int = CALLEE, node: int = NODE, counted: bool = False) -> Punt:
    source = addressing.eip(node, 11)
    return Punt(node, PORT, CALLER, callee, syn(source, addressing.vip(callee), sport, seq), counted)


def resets(effects: Iterable[Effect]) -> list[Reset]:
    return [effect for effect in effects if isinstance(effect, Reset)]


def test_the_first_held_call_asks_for_an_instance_and_later_ones_do_not() -> None:
    holds = Holds()
    assert holds.punted(punt(1), CLOSED, 0.0) == [Activate(CALLEE)]
    assert holds.punted(punt(2), CLOSED, 0.1) == []
    assert holds.punted(punt(1, callee=258), CLOSED, 0.1) == [Activate(258)]


def test_held_calls_go_with_the_bundle_that_opens_the_function_judged_anew() -> None:
    holds = Holds()
    first, second, elsewhere = punt(1), punt(2), punt(3, node=3)
    for one in (first, second, elsewhere):
        holds.punted(one, CLOSED, 0.0)
    assert holds.opening(NODE, CALLEE) == [Release(first, p.DAG_POLICY.number), Release(second, p.DAG_POLICY.number)]
    holds.confirmed(NODE)
    assert (holds.counts[CALLEE].released, holds.now(CALLEE)) == (2, 1)


def test_a_syn_sent_again_takes_the_place_of_the_first_and_is_one_call() -> None:
    holds = Holds()
    holds.punted(punt(), CLOSED, 0.0)
    again = Punt(NODE, PORT, CALLER, CALLEE, frame(SOURCE, VIP, 40_000, segments.SYN, seq=1, options=4))
    assert holds.punted(again, CLOSED, 1.0) == []
    (release,) = holds.opening(NODE, CALLEE)
    assert release.punt == again
    assert (holds.counts[CALLEE].held, holds.counts[CALLEE].repeated) == (1, 1)


def test_another_call_from_the_same_port_is_another_call() -> None:
    holds = Holds()
    holds.punted(punt(seq=1), CLOSED, 0.0)
    holds.punted(punt(seq=2), CLOSED, 1.0)
    assert (holds.now(CALLEE), holds.counts[CALLEE].held, holds.counts[CALLEE].expired) == (1, 2, 1)


def test_what_its_row_has_counted_already_is_not_led_past_that_row_again() -> None:
    holds = Holds()
    holds.punted(punt(counted=True), CLOSED, 0.0)
    holds.punted(punt(), CLOSED, 1.0)  # sent again, held before it is counted: still the same call
    (release,) = holds.opening(NODE, CALLEE)
    assert release.table == p.SERVICE_LB.number


def test_what_arrives_when_the_function_can_be_reached_passes_by_way_of_conntrack() -> None:
    holds = Holds()
    late = punt()
    assert holds.punted(late, OPEN, 0.0) == [Release(late, p.CONNTRACK_ZONE.number)]
    assert (holds.busy, holds.counts[CALLEE].passed, holds.counts[CALLEE].held) == (False, 1, 0)


def test_a_bundle_that_failed_leaves_its_calls_held_and_the_next_goes_without_them() -> None:
    holds = Holds()
    one = punt()
    holds.punted(one, CLOSED, 0.0)
    holds.opening(NODE, CALLEE)
    holds.failed(NODE)
    assert holds.opening(NODE, CALLEE) == []
    assert holds.settle(lambda _: OPEN) == [Release(one, p.CONNTRACK_ZONE.number)]
    assert holds.counts[CALLEE].released == 1


def test_a_syn_that_comes_again_while_its_bundle_fails_is_one_call() -> None:
    holds = Holds()
    holds.punted(punt(), CLOSED, 0.0)
    holds.opening(NODE, CALLEE)
    holds.punted(punt(), CLOSED, 1.0)
    holds.failed(NODE)
    counts = holds.counts[CALLEE]
    assert (holds.now(CALLEE), counts.held, counts.repeated) == (1, 1, 1)


def test_time_passes_for_a_call_whose_bundle_is_on_its_way_and_fails() -> None:
    holds = Holds()
    holds.punted(punt(), CLOSED, 0.0)
    holds.opening(NODE, CALLEE)
    assert holds.busy
    holds.failed(NODE)
    assert len(resets(holds.tick(machine.EXPIRY_S))) == 1
    assert not holds.busy


def test_a_call_that_waits_too_long_is_reset() -> None:
    holds = Holds()
    holds.punted(punt(1), CLOSED, 0.0)
    holds.punted(punt(2), CLOSED, 5.0)
    holds.punted(punt(1), CLOSED, 9.0)  # sending again does not prolong it
    assert resets(holds.tick(machine.EXPIRY_S - 0.1)) == []
    (reset,) = resets(holds.tick(machine.EXPIRY_S))
    assert reset.frame == segments.reset(punt(1).frame)
    assert (holds.now(CALLEE), holds.counts[CALLEE].expired) == (1, 1)


def test_a_refusal_resets_what_is_held_and_for_a_while_what_comes() -> None:
    holds = Holds()
    holds.punted(punt(1), CLOSED, 0.0)
    holds.punted(punt(2), CLOSED, 0.0)
    assert len(resets(holds.answered(CALLEE, 409, 0.1))) == 2
    assert len(resets(holds.punted(punt(3), CLOSED, 0.2))) == 1
    assert holds.punted(punt(4), CLOSED, 0.1 + machine.REFUSED_S) == [Activate(CALLEE)]
    assert (holds.counts[CALLEE].reset, holds.now(CALLEE)) == (3, 1)


@pytest.mark.parametrize(
    ("status", "after_s"),
    [(None, machine.RETRY_S), (500, machine.RETRY_S), (404, machine.RETRY_S), (202, machine.ASK_AGAIN_S)],
)
def test_the_scaler_is_asked_again_while_calls_are_held(status: int | None, after_s: float) -> None:
    holds = Holds()
    holds.punted(punt(), CLOSED, 0.0)
    assert holds.tick(20 * after_s)[:-1] == []  # the first question is still out, so nothing but the expiry
    holds = Holds()
    holds.punted(punt(), CLOSED, 0.0)
    assert holds.answered(CALLEE, status, 0.0) == []
    assert holds.tick(after_s - 0.1) == []
    assert holds.tick(after_s) == [Activate(CALLEE)]
    assert holds.tick(after_s + 0.1) == []


def test_a_function_that_returned_to_zero_is_asked_for_again() -> None:
    holds = Holds()
    holds.punted(punt(1), CLOSED, 0.0)
    holds.answered(CALLEE, 202, 0.0)
    holds.opening(NODE, CALLEE)
    holds.confirmed(NODE)
    assert holds.punted(punt(2), CLOSED, 1.0) == [Activate(CALLEE)]


def test_the_call_for_which_there_is_no_place_is_dropped_and_leaves_no_trace() -> None:
    holds = Holds()
    for sport in range(machine.HELD_PER_FUNCTION):
        holds.punted(punt(sport), CLOSED, 0.0)
    assert holds.punted(punt(1000), CLOSED, 0.0) == []
    assert holds.punted(punt(1000, callee=258), CLOSED, 0.0) == [Activate(258)]
    counts = holds.counts[CALLEE]
    assert (holds.now(CALLEE), counts.held, counts.overflowed) == (64, 64, 1)


def test_calls_to_what_is_gone_are_reset_held_or_not() -> None:
    holds = Holds()
    holds.punted(punt(1), CLOSED, 0.0)
    assert len(resets(holds.settle(lambda _: GONE))) == 1
    assert len(resets(holds.punted(punt(2), GONE, 0.0))) == 1
    assert (holds.busy, holds.counts[CALLEE].reset) == (False, 1)


def test_only_a_first_segment_is_held() -> None:
    holds = Holds()
    rest = Punt(NODE, PORT, CALLER, CALLEE, frame(SOURCE, VIP, 40_000, segments.ACK, ack=9))
    assert len(resets(holds.punted(rest, CLOSED, 0.0))) == 1
    assert holds.punted(Punt(NODE, PORT, CALLER, CALLEE, b"\0" * 60), CLOSED, 0.0) == []
    assert not holds.busy


@settings(max_examples=60, stateful_step_count=40, deadline=None)
class AnyOrder(RuleBasedStateMachine):
    """Whatever happens in whatever order, with conntrack as the switches have it."""

    def __init__(self) -> None:
        super().__init__()
        self.holds = Holds()
        self.now_s = 0.0
        self.open: set[tuple[int, int]] = set()
        self.gone: set[int] = set()
        self.asked: list[int] = []
        self.given: dict[tuple[int, int, int, int], int] = {}  # call -> how often DagPolicy counted it
        self.known: set[tuple[int, int, int]] = set()  # conntrack: node, callee, port

    @initialize()
    def nothing_is_held(self) -> None:
        assert not self.holds.busy

    def standing(self, punt: Punt) -> Standing:
        if punt.callee in self.gone:
            return GONE
        return OPEN if (punt.node, punt.callee) in self.open else CLOSED

    def key(self, punt: Punt) -> tuple[int, int, int, int]:
        segment = segments.read(punt.frame)
        assert segment is not None
        return punt.node, punt.callee, segment.connection[1], segment.seq

    def perform(self, effects: Iterable[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, Activate):
                self.asked.append(effect.callee)
            elif isinstance(effect, Release):
                self.released(effect)

    def released(self, release: Release) -> None:
        call = self.key(release.punt)
        if release.table == p.CONNTRACK_ZONE.number and call[:3] in self.known:
            return  # a repeated SYN, as conntrack sees it
        self.known.add(call[:3])
        self.given[call] = self.given.get(call, 0) + 1

    @rule(node=st.sampled_from([2, 3]), callee=st.sampled_from([257, 258]), sport=st.integers(1, 70))
    def a_syn_is_punted(self, node: int, callee: int, sport: int) -> None:
        if (node, callee, sport) not in self.known or (node, callee) in self.open:
            one = punt(sport, sport, callee=callee, node=node)
            self.perform(self.holds.punted(one, self.standing(one), self.now_s))

    @rule(node=st.sampled_from([2, 3]), callee=st.sampled_from([257, 258]), works=st.booleans())
    def a_bundle_opens(self, node: int, callee: int, works: bool) -> None:
        releases = self.holds.opening(node, callee)
        if works:
            self.open.add((node, callee))
            self.perform(releases)
            self.holds.confirmed(node)
        else:
            self.holds.failed(node)
        self.perform(self.holds.settle(self.standing))

    @rule(node=st.sampled_from([2, 3]), callee=st.sampled_from([257, 258]))
    def it_closes(self, node: int, callee: int) -> None:
        self.open.discard((node, callee))
        self.known = {entry for entry in self.known if entry[:2] != (node, callee)}
        self.given = {call: n for call, n in self.given.items() if call[:2] != (node, callee)}

    @rule(callee=st.sampled_from([257, 258]), there=st.booleans())
    def a_function_goes_or_comes(self, callee: int, there: bool) -> None:
        (self.gone.discard if there else self.gone.add)(callee)
        self.perform(self.holds.settle(self.standing))

    @rule(status=st.sampled_from([None, 202, 404, 409, 500]))
    def the_scaler_answers(self, status: int | None) -> None:
        if self.asked:
            self.perform(self.holds.answered(self.asked.pop(0), status, self.now_s))

    @rule(seconds=st.sampled_from([0.1, 1.0, 4.0]))
    def time_passes(self, seconds: float) -> None:
        self.now_s += seconds
        self.perform(self.holds.tick(self.now_s))

    @invariant()
    def the_books_balance(self) -> None:
        for callee, counts in self.holds.counts.items():
            now = self.holds.now(callee)
            assert counts.held == now + counts.released + counts.reset + counts.expired
            assert now <= machine.HELD_PER_FUNCTION

    @invariant()
    def no_call_is_counted_twice(self) -> None:
        assert set(self.given.values()) <= {1}

    @invariant()
    def whatever_is_held_has_been_asked_for(self) -> None:
        """Or will be, before long."""
        held = {callee for callee in self.holds.counts if self.holds.now(callee)} - set(self.asked)
        if held:
            later = deepcopy(self.holds)
            asked = {e.callee for e in later.tick(self.now_s + machine.ASK_AGAIN_S) if isinstance(e, Activate)}
            assert {callee for callee in held if later.now(callee)} <= asked

    def teardown(self) -> None:
        self.perform(self.holds.tick(self.now_s + machine.EXPIRY_S + 1))
        assert not self.holds.busy


TestAnyOrder = AnyOrder.TestCase

"""What the subjects that need a lab conclude from what they saw there; the lab itself is not needed for that."""

from __future__ import annotations

import socket
import struct

import pytest

from bench.outcome import Outcome
from bench.rigs import openflow
from bench.subjects import activation, changes, flood, sandboxes
from bench.subjects.activation import ColdCall
from bench.subjects.flood import Window

MS = 1_000_000
TIMINGS = {"decided_ns": 10 * MS, "sandbox_ns": 22 * MS, "process_ns": 25 * MS, "ready_ns": 300 * MS}


def value(outcome: Outcome, name: str) -> float:
    estimate = outcome.figures[name][0]
    assert estimate is not None
    return estimate.value


def test_a_cold_call_counts_from_readiness() -> None:
    outcome = Outcome()
    calls = {
        "direct": [ColdCall(5 * MS, (300 + ms) * MS, TIMINGS) for ms in (10, 20, 30)],
        "gateway": [ColdCall(5 * MS, 340 * MS, TIMINGS)],
    }
    activation.conclude(outcome, calls, seed=1)
    assert value(outcome, "activation-direct") == pytest.approx(20)
    assert value(outcome, "activation-gateway") == pytest.approx(40)
    assert value(outcome, "activation-lost") == 0
    assert outcome.series["direct: decided to sandbox"]["p50"] == 12
    assert outcome.series["direct: call to answer"]["p50"] == 315
    assert outcome.problems == []


def test_a_cold_call_without_an_answer_is_lost_and_says_why() -> None:
    outcome = Outcome()
    calls = {"direct": [ColdCall(0, 310 * MS, TIMINGS), ColdCall(0, None, {}, "timed out")], "gateway": []}
    activation.conclude(outcome, calls, seed=1)
    assert value(outcome, "activation-lost") == 1
    assert outcome.problems == ["a first call by the direct route: timed out"]


def test_an_instance_that_does_not_say_when_it_was_ready_is_a_problem() -> None:
    outcome = Outcome()
    activation.conclude(outcome, {"direct": [ColdCall(0, 310 * MS, {})], "gateway": []}, seed=1)
    assert outcome.figures["activation-direct"][0] is None
    assert outcome.problems == ["1 instances did not say when they were ready"]


def test_a_flood_is_judged_by_what_the_other_tenant_lost() -> None:
    outcome = Outcome()
    calm = [Window([1.0, 1.0, 1.0], 0, {"controller": 0.01, "s2": 0.1})] * 2
    flooded = [Window([2.0, 3.0, 4.0], 1, {"controller": 0.3, "s2": 0.5}, 5000)] * 2
    flood.conclude(outcome, calm, flooded, seed=1)
    assert value(outcome, "flood-lost") == 2
    assert value(outcome, "flood-p50") == pytest.approx(3)
    assert value(outcome, "flood-controller") == pytest.approx(30)
    assert [row[:3] for row in outcome.tables[0]["rows"]] == [["without", 6, 1.0], ["with the flood", 6, 3.0]]


def test_the_flooding_tenants_function_is_one_that_nobody_wakes() -> None:
    application = flood.culprit()
    assert application.function("chain-2").annotations["autoscaling.keda.sh/paused"] == "true"
    assert application.calls() == (("chain-1", "chain-2"),)


def test_growth_of_a_sandbox_is_a_slope_in_microseconds() -> None:
    estimate = sandboxes.slope([5.0 + 0.02 * n for n in range(50)], seed=1)
    assert estimate.value == pytest.approx(20)
    assert estimate.low == pytest.approx(20)


def test_a_ratio_of_quantiles_has_an_interval_around_it() -> None:
    bare = [1.0 + 0.01 * n for n in range(100)]
    estimate = changes.ratio_of_quantiles([2 * one for one in bare], bare, 0.5, seed=1)
    assert estimate.value == pytest.approx(2)
    assert estimate.low is not None and estimate.high is not None
    assert 1.7 < estimate.low < 2 < estimate.high < 2.3


def test_the_bare_clients_bundle_is_whole_messages() -> None:
    """Each says its own length, so that a switch finds the next."""
    here, there = socket.socketpair()
    switch = openflow.Switch.__new__(openflow.Switch)
    switch._socket, switch._bundle = here, 0
    switch.send_bundle()
    data, kinds = there.recv(65536), []
    while data:
        _, kind, length, _ = struct.unpack("!BBHI", data[:8])
        kinds.append(kind)
        data = data[length:]
    assert kinds == [openflow.EXPERIMENTER] * 3 + [openflow.BARRIER_REQUEST]

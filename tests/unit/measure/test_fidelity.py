"""Each check finds what it is there for, and only that."""

import pytest

from testbed.measure import fidelity
from testbed.measure.calibration import TrunkTimes
from testbed.measure.fidelity import Finding, Verdict, worst


def round_trips(median_ms, fast_ms=None, local_ms=0.3):
    """Three trunks with these round trips."""
    trunks = ((1, 2), (1, 3), (2, 3))
    fast = median_ms - 0.1 if fast_ms is None else fast_ms
    return TrunkTimes(local_ms, dict.fromkeys(trunks, median_ms), dict.fromkeys(trunks, fast))


def with_trunk(times, trunk, median_ms, fast_ms):
    """The same, but for one trunk."""
    return TrunkTimes(times.local_rtt_ms, {**times.rtt_ms, trunk: median_ms}, {**times.fast_ms, trunk: fast_ms})


AT_ZERO, AT_HALF = round_trips(0.5), round_trips(1.5)


def probe(calibrated, probed, *, busy_then=False, busy_now=False):
    return fidelity.check_probe("x", "after", calibrated, probed, busy_then=busy_then, busy_now=busy_now)


def calibration(delay_ms, calibrated, at_zero, *, busy=False):
    return fidelity.check_calibration("node2", delay_ms, calibrated, at_zero, busy=busy)


def test_the_verdict_is_that_of_the_worst_finding():
    degraded = Finding(Verdict.DEGRADED, "a", "", "")
    invalid = Finding(Verdict.INVALID, "b", "", "")
    assert worst([]) is Verdict.PASS
    assert worst([degraded]) is Verdict.DEGRADED
    assert worst([degraded, invalid, degraded]) is Verdict.INVALID


def test_links_as_planned_pass_and_a_wrong_one_is_named():
    assert fidelity.check_links("x", 0.5, {(1, 2): 0.5, (1, 3): 0.5}) == []
    (finding,) = fidelity.check_links("x", 0.5, {(1, 2): 1.5, (1, 3): 0.5})
    assert finding.verdict is Verdict.INVALID
    assert "trunk 1-2 reads back 1.5 ms one way where 0.5 ms was planned" in finding.sentence


@pytest.mark.parametrize(("moved_ms", "findings"), [(0.1, 0), (-0.1, 0), (0.2, 1), (-0.2, 1), (2.0, 1)])
def test_a_probe_may_lie_within_015_ms_of_a_short_calibration(moved_ms, findings):
    probed = with_trunk(AT_HALF, (1, 3), 1.5 + moved_ms, 1.4 + moved_ms)
    assert len(probe(AT_HALF, probed)) == findings


def test_a_probe_may_lie_within_a_tenth_of_a_long_calibration():
    long = round_trips(10.0)
    assert probe(long, with_trunk(long, (1, 2), 10.9, 10.8)) == []
    assert len(probe(long, with_trunk(long, (1, 2), 11.1, 11.0))) == 1


def test_noise_degrades_and_another_delay_invalidates():
    (noisy,) = probe(AT_HALF, with_trunk(AT_HALF, (1, 2), 2.4, 1.45))
    assert noisy.verdict is Verdict.DEGRADED
    assert noisy.sentence.endswith("fast ones 1.45 and 1.40 ms")
    (moved,) = probe(AT_HALF, with_trunk(AT_HALF, (1, 2), 2.4, 2.3))
    assert moved.verdict is Verdict.INVALID


@pytest.mark.parametrize(
    ("fast_moved_ms", "busy", "verdict"),
    [
        (+1.0, {"busy_now": True}, Verdict.DEGRADED),
        (-1.0, {"busy_now": True}, Verdict.INVALID),  # a busy machine makes nothing shorter
        (-1.0, {"busy_then": True}, Verdict.DEGRADED),
        (+1.0, {"busy_then": True}, Verdict.INVALID),
    ],
)
def test_others_on_the_machine_explain_longer_round_trips_and_no_shorter_ones(fast_moved_ms, busy, verdict):
    moved = with_trunk(AT_HALF, (1, 2), 1.5 + fast_moved_ms, 1.4 + fast_moved_ms)
    (finding,) = probe(AT_HALF, moved, **busy)
    assert finding.verdict is verdict


def test_calibration_may_add_switching_cost_but_no_other_delay():
    assert calibration(0.5, AT_HALF, AT_ZERO) == []
    (finding,) = calibration(0.5, with_trunk(AT_HALF, (1, 2), 2.5, 2.4), AT_ZERO)
    assert finding.verdict is Verdict.INVALID
    assert "adds 2.00 ms to a round trip (allowed: 0.85 to 1.45 ms)" in finding.sentence
    (noisy,) = calibration(0.5, with_trunk(AT_HALF, (1, 2), 2.5, 1.45), AT_ZERO)
    assert noisy.verdict is Verdict.DEGRADED
    slow = round_trips(1.7)
    assert [finding.verdict for finding in calibration(0, slow, slow)] == [Verdict.DEGRADED] * 3


def test_a_delay_shorter_than_configured_is_invalid_too():
    findings = calibration(0.5, round_trips(1.0), AT_ZERO)
    assert [finding.verdict for finding in findings] == [Verdict.INVALID] * 3


def test_others_on_the_machine_degrade_and_do_not_invalidate():
    assert fidelity.check_cpu("x", competing=0.05, steal=0.0) == []
    assert [finding.verdict for finding in fidelity.check_cpu("x", 0.6, 0.2)] == [Verdict.DEGRADED] * 2


def test_a_few_failed_requests_degrade_and_many_invalidate():
    assert fidelity.check_requests("x", 300, 0) == []
    assert fidelity.check_requests("x", 300, 3)[0].verdict is Verdict.DEGRADED
    assert fidelity.check_requests("x", 300, 4)[0].verdict is Verdict.INVALID


def test_late_starts_cold_instances_and_lost_upcalls_are_found():
    assert fidelity.check_slip("x", 0.3) == []
    assert fidelity.check_slip("x", 3.0)[0].verdict is Verdict.DEGRADED
    assert fidelity.check_cold("x", 0) == []
    assert fidelity.check_cold("x", 1)[0].verdict is Verdict.INVALID
    assert fidelity.check_upcalls("x", None) == fidelity.check_upcalls("x", 0) == []
    assert fidelity.check_upcalls("x", 4)[0].verdict is Verdict.DEGRADED


def test_a_connection_too_many_is_named_with_what_the_oracle_says():
    (finding,) = fidelity.check_connections("x", [("chain-1.a", "gateway", "10", 11)])
    assert finding.verdict is Verdict.INVALID
    assert finding.sentence == "chain-1.a → gateway: 11 connections where the oracle says 10"


def test_flows_must_be_the_generators_on_every_connected_switch():
    good = {"connected": True, "digest": "a", "desired_digest": "a"}
    assert fidelity.check_digests("", {"1": good, "2": good}) == []
    assert len(fidelity.check_digests("", {"1": {**good, "digest": "b"}, "2": {"connected": False}})) == 2


def test_claims_that_need_spare_cores_look_at_the_busiest_moment():
    assert fidelity.spare_cores([0.9, 0.5])
    assert not fidelity.spare_cores([0.9, 0.2])
    assert not fidelity.spare_cores([])

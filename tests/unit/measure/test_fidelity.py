"""Each check finds what it is there for, and only that."""

import pytest

from testbed.measure import fidelity
from testbed.measure.fidelity import Finding, Verdict, worst

TRUNKS_AT_HALF = {(1, 2): 1.2, (1, 3): 1.25, (2, 3): 1.22}
TRUNKS_AT_ZERO = {(1, 2): 0.2, (1, 3): 0.22, (2, 3): 0.2}


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
    probed = {**TRUNKS_AT_HALF, (1, 3): 1.25 + moved_ms}
    assert len(fidelity.check_probe("x", "before", TRUNKS_AT_HALF, probed)) == findings


def test_a_probe_may_lie_within_a_tenth_of_a_long_calibration():
    assert fidelity.check_probe("x", "after", {(1, 2): 10.0}, {(1, 2): 10.9}) == []
    assert len(fidelity.check_probe("x", "after", {(1, 2): 10.0}, {(1, 2): 11.1})) == 1


def test_calibration_may_add_switching_cost_but_no_other_delay():
    assert fidelity.check_calibration(0.5, TRUNKS_AT_HALF, TRUNKS_AT_ZERO) == []
    (finding,) = fidelity.check_calibration(0.5, {**TRUNKS_AT_HALF, (1, 2): 2.2}, TRUNKS_AT_ZERO)
    assert finding.verdict is Verdict.INVALID
    assert "wanted: 1 ±0.15 ms" in finding.sentence
    (finding,) = fidelity.check_calibration(0, {(1, 2): 1.4}, {(1, 2): 1.4})
    assert finding.verdict is Verdict.DEGRADED


def test_a_delay_shorter_than_configured_is_invalid_too():
    (finding,) = fidelity.check_calibration(0.5, {(1, 2): 0.7}, {(1, 2): 0.2})
    assert finding.verdict is Verdict.INVALID


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
    (finding,) = fidelity.check_connections("x", [("chain-1.a", "gateway", 10, 11)])
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

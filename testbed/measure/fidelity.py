"""Should this run be believed? Checks of what was planned against what was observed, and a verdict.

Pure. Every check returns findings; none is silent about what it allowed. PASS: nothing to say.
DEGRADED: believe the size, mind the noise. INVALID: something that the result stands on was not as
planned; such numbers are not drawn.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from enum import Enum
from typing import Any, Protocol

Trunk = tuple[int, int]

PROBE_TOLERANCE_MS = 0.15
PROBE_TOLERANCE_SHARE = 0.10
FAST_FACTOR = 2
READ_BACK_TOLERANCE_MS = 0.0015  # netem reads back in whole microseconds, rounded down: 0.5 ms as 0.499
WAKE_COST_MS = 0.3
"""Most that waiting may cost beside the delay itself: a CPU that has slept through it wakes late, by 0.1 ms each way
on a virtual machine. Calibration measures it, the wire model counts it, and both numbers are printed."""
BASE_COST_LIMIT_MS = 1.0
"""Most that a trunk with delay 0 may add to a round trip: two more switches, natively some 0.3 ms."""
COMPETING_LIMIT = 0.15
"""Share of the machine that others may use: above it latencies are partly theirs."""
STEAL_LIMIT = 0.10
"""Share of the CPU time wanted that a hypervisor may take away."""
IDLE_GATE = 0.35
"""Idle share below which claims that need spare cores are not concluded (Mininet-HiFi's rerun of Hedera)."""
SLIP_LIMIT_MS = 1.0
FAILED_LIMIT = 0.01


class RoundTrips(Protocol):
    """Round trips across trunks in ms: medians, and 2nd percentiles (see `calibration.TrunkTimes`)."""

    @property
    def local_rtt_ms(self) -> float: ...
    @property
    def rtt_ms(self) -> Mapping[Trunk, float]: ...
    @property
    def fast_ms(self) -> Mapping[Trunk, float]: ...


class Verdict(str, Enum):
    """How far a result may be believed; `rank` orders from good to bad."""

    PASS = "PASS"
    DEGRADED = "DEGRADED"
    INVALID = "INVALID"

    @property
    def rank(self) -> int:
        return list(Verdict).index(self)


@dataclass(frozen=True)
class Finding:
    """One thing that is not as planned. `scope`: the cell or phase it touches; empty for the whole run."""

    verdict: Verdict
    check: str
    scope: str
    sentence: str

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "verdict": self.verdict.value}


def worst(findings: Iterable[Finding]) -> Verdict:
    """The verdict that findings add up to; PASS when there are none."""
    return max((finding.verdict for finding in findings), key=lambda verdict: verdict.rank, default=Verdict.PASS)


def tolerance_ms(reference_ms: float) -> float:
    """How far a probe may lie from this run's calibration."""
    return max(PROBE_TOLERANCE_MS, PROBE_TOLERANCE_SHARE * reference_ms)


def check_links(scope: str, planned_delay_ms: float, read_back_ms: Mapping[Trunk, float]) -> list[Finding]:
    """One-way delays read back from the trunks must equal the plan, to the microsecond that netem reports."""
    return [
        Finding(
            Verdict.INVALID,
            "links",
            scope,
            f"trunk {a}-{b} reads back {delay_ms:g} ms one way where {planned_delay_ms:g} ms was planned",
        )
        for (a, b), delay_ms in sorted(read_back_ms.items())
        if abs(delay_ms - planned_delay_ms) > READ_BACK_TOLERANCE_MS
    ]


def check_probe(
    scope: str, moment: str, calibrated: RoundTrips, probed: RoundTrips, *, busy_then: bool, busy_now: bool
) -> list[Finding]:
    """Round trips across trunks, before or after a measurement, must be those of the run's calibration.

    A median that moved without another delay behind it is noise (DEGRADED): fast round trips stayed, or
    others used the machine, at calibration (`busy_then`) or now (`busy_now`), which makes round trips longer
    and never shorter. Anything else means that the trunk is not the one that was calibrated (INVALID).
    """
    findings = []
    for trunk, reference_ms in sorted(calibrated.rtt_ms.items()):
        median_ms, allowed_ms = probed.rtt_ms[trunk], tolerance_ms(reference_ms)
        if abs(median_ms - reference_ms) <= allowed_ms:
            continue
        fast_ms, fast_reference_ms = probed.fast_ms[trunk], calibrated.fast_ms[trunk]
        noise = is_noise(fast_ms - fast_reference_ms, tolerance_ms(fast_reference_ms), busy_now, busy_then)
        sentence = (
            f"trunk {trunk[0]}-{trunk[1]} had a round trip of {median_ms:.2f} ms {moment} and {reference_ms:.2f} ms at "
            f"calibration (allowed: ±{allowed_ms:.2f} ms)"
            + (f"; fast ones {fast_ms:.2f} and {fast_reference_ms:.2f} ms" if noise else "")
        )
        verdict = Verdict.DEGRADED if noise else Verdict.INVALID
        findings.append(Finding(verdict, "trunk round trip", scope, sentence))
    return findings


def is_noise(fast_moved_ms: float, allowed_ms: float, longer_explained: bool, shorter_explained: bool) -> bool:
    """Can a machine's mood explain how far fast round trips moved? They may always move by twice the tolerance."""
    if abs(fast_moved_ms) <= FAST_FACTOR * allowed_ms:
        return True
    return longer_explained if fast_moved_ms > 0 else shorter_explained


def calibration_scope(placement: str, delay_ms: float) -> str:
    """What a finding about a calibration is about."""
    return f"{placement}, delay {delay_ms:g} ms"


def check_calibration(
    placement: str, delay_ms: float, calibrated: RoundTrips, at_zero: RoundTrips, *, busy: bool
) -> list[Finding]:
    """A configured one-way delay d must add 2d, and at most WAKE_COST_MS more, to what a trunk takes at d = 0.

    What a trunk takes at d = 0 is the cost of its switches: it belongs to the wire model and is bounded
    here only against absurdity. Noise and a wrong delay are told apart as in `check_probe`; `busy`: others
    used the machine during calibration, at whichever delay.
    """
    findings = []
    scope, wanted_ms = calibration_scope(placement, delay_ms), 2 * delay_ms
    allowed_ms = tolerance_ms(wanted_ms)
    for trunk, rtt_ms in sorted(calibrated.rtt_ms.items()):
        name = f"trunk {trunk[0]}-{trunk[1]}"
        base_ms = at_zero.rtt_ms[trunk] - at_zero.local_rtt_ms
        if delay_ms == 0 and base_ms > BASE_COST_LIMIT_MS:
            sentence = f"{name} adds {base_ms:.2f} ms to a round trip with no delay configured"
            findings.append(Finding(Verdict.DEGRADED, "calibration", scope, sentence))
        added_ms = rtt_ms - at_zero.rtt_ms[trunk]
        if -allowed_ms <= added_ms - wanted_ms <= allowed_ms + WAKE_COST_MS:
            continue
        fast_added_ms = calibrated.fast_ms[trunk] - at_zero.fast_ms[trunk]
        noise = is_noise(fast_added_ms - wanted_ms, allowed_ms, busy, busy)
        sentence = (
            f"{delay_ms:g} ms one way on {name} adds {added_ms:.2f} ms to a round trip "
            f"(allowed: {wanted_ms - allowed_ms:.2f} to {wanted_ms + allowed_ms + WAKE_COST_MS:.2f} ms)"
            + (f"; {fast_added_ms:.2f} ms to a fast one" if noise else "")
        )
        findings.append(Finding(Verdict.DEGRADED if noise else Verdict.INVALID, "calibration", scope, sentence))
    return findings


def check_cpu(scope: str, competing: float, steal: float) -> list[Finding]:
    """Others must leave the machine alone. Shares 0..1, as `cpu.CpuShares` has them."""
    findings = []
    if competing > COMPETING_LIMIT:
        sentence = f"other programs used {competing:.0%} of the machine's CPU (allowed: {COMPETING_LIMIT:.0%})"
        findings.append(Finding(Verdict.DEGRADED, "competing CPU", scope, sentence))
    if steal > STEAL_LIMIT:
        sentence = f"the hypervisor took {steal:.0%} of the CPU time that was wanted (allowed: {STEAL_LIMIT:.0%})"
        findings.append(Finding(Verdict.DEGRADED, "stolen CPU", scope, sentence))
    return findings


def is_busy(competing: float, steal: float) -> bool:
    """Did others use more of the machine than a measurement can bear? Shares 0..1."""
    return bool(check_cpu("", competing, steal))


def spare_cores(idle_shares: Iterable[float]) -> bool:
    """Was the machine idle enough, all the time, for claims that need spare cores?"""
    return min(idle_shares, default=0.0) >= IDLE_GATE


def check_slip(scope: str, slip_p99_ms: float) -> list[Finding]:
    """The load generator must start requests when it meant to."""
    if slip_p99_ms <= SLIP_LIMIT_MS:
        return []
    sentence = f"1 in 100 requests started {slip_p99_ms:.2f} ms or more after its time (allowed: {SLIP_LIMIT_MS:g} ms)"
    return [Finding(Verdict.DEGRADED, "generator slip", scope, sentence)]


def check_requests(scope: str, issued: int, failed: int) -> list[Finding]:
    """Every request must be answered, and rightly; more than one in a hundred that is not spoils the rest."""
    if not failed:
        return []
    sentence = f"{failed} of {issued} requests failed or were answered wrongly"
    verdict = Verdict.INVALID if failed > FAILED_LIMIT * issued else Verdict.DEGRADED
    return [Finding(verdict, "failed requests", scope, sentence)]


def check_cold(scope: str, cold: int) -> list[Finding]:
    """No measured request may have met an instance's first invocation."""
    if not cold:
        return []
    return [Finding(Verdict.INVALID, "cold starts", scope, f"{cold} measured requests met a cold instance")]


def check_connections(scope: str, inexact: Iterable[tuple[str, str, str, int]]) -> list[Finding]:
    """Connections must be as the oracle says. `inexact`: caller, callee, expected in words, counted, where not."""
    return [
        Finding(
            Verdict.INVALID,
            "connection oracle",
            scope,
            f"{caller} → {callee}: {counted} connections where the oracle says {expected}",
        )
        for caller, callee, expected, counted in inexact
    ]


def check_digests(scope: str, switches: Mapping[str, Mapping[str, Any]]) -> list[Finding]:
    """Each switch's flows must be the generator's, and the switch connected."""
    findings = []
    for node, switch in sorted(switches.items()):
        if not switch.get("connected"):
            sentence = f"the switch of node{node} is not connected to the controller"
            findings.append(Finding(Verdict.INVALID, "flow digest", scope, sentence))
        elif switch["digest"] != switch["desired_digest"]:
            sentence = f"the flows on node{node} are not the generator's"
            findings.append(Finding(Verdict.INVALID, "flow digest", scope, sentence))
    return findings


def check_upcalls(scope: str, lost: int | None) -> list[Finding]:
    """The switches must have lost no upcall. None: this datapath does not say."""
    if not lost:
        return []
    return [Finding(Verdict.DEGRADED, "lost upcalls", scope, f"the switches lost {lost} packets to full upcall queues")]

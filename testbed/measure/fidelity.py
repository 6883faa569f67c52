"""Should this run be believed? Checks of what was planned against what was observed, and a verdict.

Pure. Every check returns findings; none is silent about what it allowed. PASS: nothing to say.
DEGRADED: believe the size, mind the noise. INVALID: something that the result stands on was not as
planned; such numbers are not drawn.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from enum import Enum
from typing import Any

Trunk = tuple[int, int]

PROBE_TOLERANCE_MS = 0.15
PROBE_TOLERANCE_SHARE = 0.10
BASE_COST_LIMIT_MS = 1.0
"""Most that a trunk with delay 0 may add to a round trip: two more switches, natively some 0.3 ms."""
COMPETING_LIMIT = 0.15
"""Share of the machine that others may use: above it latencies are partly theirs."""
STEAL_LIMIT = 0.05
IDLE_GATE = 0.35
"""Idle share below which claims that need spare cores are not concluded (Mininet-HiFi's rerun of Hedera)."""
SLIP_LIMIT_MS = 1.0
FAILED_LIMIT = 0.01


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
    """One-way delays read back from the trunks must equal the plan (to 1 µs)."""
    return [
        Finding(
            Verdict.INVALID,
            "links",
            scope,
            f"trunk {a}-{b} reads back {delay_ms:g} ms one way where {planned_delay_ms:g} ms was planned",
        )
        for (a, b), delay_ms in sorted(read_back_ms.items())
        if abs(delay_ms - planned_delay_ms) > 0.001
    ]


def check_probe(
    scope: str, moment: str, calibrated_ms: Mapping[Trunk, float], probed_ms: Mapping[Trunk, float]
) -> list[Finding]:
    """Round trips across trunks, before or after a measurement, must be those of the run's calibration."""
    return [
        Finding(
            Verdict.INVALID,
            "trunk round trip",
            scope,
            f"trunk {a}-{b} had a round trip of {probed_ms[a, b]:.2f} ms {moment} and {reference_ms:.2f} ms at "
            f"calibration (allowed: ±{tolerance_ms(reference_ms):.2f} ms)",
        )
        for (a, b), reference_ms in sorted(calibrated_ms.items())
        if abs(probed_ms[a, b] - reference_ms) > tolerance_ms(reference_ms)
    ]


def check_calibration(
    delay_ms: float, added_ms: Mapping[Trunk, float], added_at_zero_ms: Mapping[Trunk, float]
) -> list[Finding]:
    """A configured one-way delay d must add 2d to a round trip, over what the trunk costs at d = 0."""
    findings = []
    for (a, b), added in sorted(added_ms.items()):
        base_ms, wanted_ms = added_at_zero_ms[a, b], 2 * delay_ms
        if base_ms > BASE_COST_LIMIT_MS:
            sentence = f"trunk {a}-{b} adds {base_ms:.2f} ms to a round trip with no delay configured"
            findings.append(Finding(Verdict.DEGRADED, "calibration", f"delay {delay_ms:g} ms", sentence))
        if abs(added - base_ms - wanted_ms) > tolerance_ms(wanted_ms):
            sentence = (
                f"{delay_ms:g} ms one way on trunk {a}-{b} adds {added - base_ms:.2f} ms to a round trip "
                f"(wanted: {wanted_ms:g} ±{tolerance_ms(wanted_ms):.2f} ms)"
            )
            findings.append(Finding(Verdict.INVALID, "calibration", f"delay {delay_ms:g} ms", sentence))
    return findings


def check_cpu(scope: str, competing: float, steal: float) -> list[Finding]:
    """Others must leave the machine alone. Shares of its whole capacity, 0..1."""
    findings = []
    if competing > COMPETING_LIMIT:
        sentence = f"other programs used {competing:.0%} of the machine's CPU (allowed: {COMPETING_LIMIT:.0%})"
        findings.append(Finding(Verdict.DEGRADED, "competing CPU", scope, sentence))
    if steal > STEAL_LIMIT:
        sentence = f"the hypervisor took {steal:.0%} of the machine's CPU away (allowed: {STEAL_LIMIT:.0%})"
        findings.append(Finding(Verdict.DEGRADED, "stolen CPU", scope, sentence))
    return findings


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


def check_connections(scope: str, inexact: Iterable[tuple[str, str, int, int]]) -> list[Finding]:
    """Connections must equal the oracle. `inexact`: caller, callee, expected, counted, where they differ."""
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

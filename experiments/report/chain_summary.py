"""The chain-length experiment's results as rows and sentences: summary.csv, summary.json, and their claims.

Pure. It says the same things in the same words to the terminal, the report and the files.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from experiments.analysis.breakdown import mean_hop_ms
from experiments.analysis.wire import Connection
from experiments.chain_plan import DIRECT_ARM, GATEWAY_ARM, ChainConfig, delay_meaning
from experiments.chain_results import Analysis, CellResult, Control, PhaseResult
from testbed.measure.fidelity import IDLE_GATE, Verdict

PAPER_SAVED_MS = 24.0
PAPER_LENGTH = 6
PAPER_DELAY_MS = 0.5
PAPER_MEAN_PCT = {0.0: 24.4, 0.5: 30.9}
PAPER_CALLS = 3
"""Calls in each of the three chains that the paper averages over: one function calls three others."""


@dataclass(frozen=True)
class SummaryRow:
    """One cell. Times in ms, shares in percent; an empty value (None) was not concluded."""

    length: int
    delay_ms: float
    delay_meaning: str
    placement: str
    connection: str
    gateway_upstream: str
    gateway_p50_ms: float | None
    direct_p50_ms: float | None
    saved_ms: float | None
    saved_pct: float | None
    ci_low_ms: float | None
    ci_high_ms: float | None
    model_ms: float
    blocks: int
    verdict: str
    ratio: float | None
    ratio_ci_low: float | None
    ratio_ci_high: float | None
    gateway_p95_ms: float | None
    direct_p95_ms: float | None
    saved_p95_ms: float | None
    saved_p95_ci_low_ms: float | None
    saved_p95_ci_high_ms: float | None
    gateway_p99_ms: float | None
    direct_p99_ms: float | None
    p_value_holm: float | None
    requests_per_route: int
    offered: int
    issued: int
    completed: int
    failed: int
    connections_exact: bool
    connections_hold: bool
    removed_hops: int


def row_of(config: ChainConfig, result: CellResult) -> SummaryRow:
    """A cell's row. Numbers of an INVALID cell are left empty: they are in the raw data and nowhere else."""
    comparison = result.comparison if result.verdict is not Verdict.INVALID else None
    p50, p95 = (comparison.p50, comparison.p95) if comparison else (None, None)
    return SummaryRow(
        length=result.cell.length,
        delay_ms=result.cell.phase.delay_ms,
        delay_meaning=delay_meaning(result.cell.phase.delay_ms),
        placement=result.cell.phase.placement,
        connection=config.connection,
        gateway_upstream=result.cell.phase.upstream,
        gateway_p50_ms=rounded(p50 and p50.first_ms),
        direct_p50_ms=rounded(p50 and p50.second_ms),
        saved_ms=rounded(p50 and p50.saved_ms),
        saved_pct=rounded(p50 and 100 * (1 - p50.ratio), 2),
        ci_low_ms=rounded(p50 and p50.interval.low),
        ci_high_ms=rounded(p50 and p50.interval.high),
        model_ms=round(result.model_ms, 4),
        blocks=result.comparison.blocks if result.comparison else 0,
        verdict=result.verdict.value,
        ratio=rounded(p50 and p50.ratio),
        ratio_ci_low=rounded(p50 and p50.ratio_interval.low),
        ratio_ci_high=rounded(p50 and p50.ratio_interval.high),
        gateway_p95_ms=rounded(p95 and p95.first_ms),
        direct_p95_ms=rounded(p95 and p95.second_ms),
        saved_p95_ms=rounded(p95 and p95.saved_ms),
        saved_p95_ci_low_ms=rounded(p95 and p95.interval.low),
        saved_p95_ci_high_ms=rounded(p95 and p95.interval.high),
        gateway_p99_ms=rounded(comparison and comparison.p99_first_ms),
        direct_p99_ms=rounded(comparison and comparison.p99_second_ms),
        p_value_holm=None if comparison is None or math.isnan(result.p_holm) else float(f"{result.p_holm:.3g}"),
        requests_per_route=result.comparison.requests if result.comparison else 0,
        offered=result.counts.offered,
        issued=result.counts.issued,
        completed=result.counts.completed,
        failed=result.counts.failed,
        connections_exact=all(pair.exact for pair in result.connections),
        connections_hold=all(pair.holds for pair in result.connections),
        removed_hops=result.cell.length - 1,
    )


def rounded(value: Any, digits: int = 4) -> float | None:
    """A number with a sensible number of digits; None stays None."""
    return None if value is None else round(float(value), digits)


def summary(config: ChainConfig, analysis: Analysis, manifest: dict[str, Any]) -> dict[str, Any]:
    """Everything that summary.json holds: the terminal prints it and the report is made of it."""
    return {
        "experiment": manifest["experiment"],
        "profile": config.profile,
        "seed": config.seed,
        "plant": config.plant,
        "datapath": manifest.get("datapath"),
        "started": manifest.get("started"),
        "commit": manifest.get("commit"),
        "machine": manifest.get("machine"),
        "verdict": analysis.verdict.value,
        "reasons": reasons(analysis),
        "rows": [asdict(row_of(config, result)) for result in ordered(analysis.cells)],
        "slopes": [slope_row(result) for result in analysis.phases],
        "controls": [control_row(control) for control in analysis.controls],
        "calibration": calibration_rows(analysis),
        "parts": [part_row(part) for part in analysis.parts],
        "hops": [
            {**asdict(hop), "forward_ms": round(hop.forward_ms, 4), "back_ms": round(hop.back_ms, 4)}
            for hop in analysis.hops
        ],
        "hop_means": hop_means(config, analysis),
        "paper": paper_rows(config, analysis),
        "placements": {name: dict(nodes) for name, nodes in analysis.placements.items()},
        "cpu": [
            {"phase": result.phase.name, **{key: round(share, 4) for key, share in asdict(result.cpu).items()}}
            for result in analysis.phases
        ],
        "connection": config.connection,
        "connections_exact": all(pair.exact for result in analysis.cells for pair in result.connections),
        "connections_hold": all(pair.holds for result in analysis.cells for pair in result.connections),
        "calls_seen": asdict(analysis.seen),
        "concluded": concluded(config, analysis),
        "not_concluded": not_concluded(config, analysis),
    }


def ordered(cells: Sequence[CellResult]) -> list[CellResult]:
    """Cells as people read them, not as they were run."""
    return sorted(
        cells, key=lambda one: (one.cell.phase.placement, one.cell.phase.upstream != "pooled", one.cell.phase.delay_ms,
                                one.cell.length)
    )  # fmt: skip


def reasons(analysis: Analysis) -> list[dict[str, Any]]:
    """Findings, the gravest first; what several cells share is told once."""
    graded = sorted(analysis.findings, key=lambda finding: -finding.verdict.rank)
    return [finding.to_json() for finding in graded]


def slope_row(result: PhaseResult) -> dict[str, Any]:
    shown = result.slope if result.verdict is not Verdict.INVALID else None
    return {
        "placement": result.phase.placement,
        "gateway_upstream": result.phase.upstream,
        "delay_ms": result.phase.delay_ms,
        "saved_ms_per_hop": rounded(shown and shown.ms_per_hop),
        "ci_low_ms": rounded(shown and shown.interval.low),
        "ci_high_ms": rounded(shown and shown.interval.high),
        "intercept_ms": rounded(shown and shown.intercept_ms),
        "r_squared": rounded(shown and shown.r_squared),
        "model_ms_per_hop": rounded(result.model_ms_per_hop),
        "verdict": result.verdict.value,
    }


def control_row(control: Control) -> dict[str, Any]:
    return {
        "control": control.kind,
        "cell": control.cell.name,
        "difference_ms": rounded(control.difference_ms),
        "ci_low_ms": rounded(control.interval.low),
        "ci_high_ms": rounded(control.interval.high),
        "margin_ms": rounded(control.margin_ms),
        "answer": control.answer.value,
    }


def part_row(part: Any) -> dict[str, Any]:
    return {
        "placement": part.setting.placement,
        "gateway_upstream": part.setting.upstream,
        "delay_ms": part.setting.delay_ms,
        "saved_ms_per_hop": rounded(part.saved_ms),
        "wire_ms": rounded(part.wire_ms),
        "gateway_ms": rounded(part.gateway_ms),
        "setup_ms": rounded(part.setup_ms),
        "rest_ms": rounded(part.rest_ms),
    }


def calibration_rows(analysis: Analysis) -> list[dict[str, Any]]:
    """Configured beside effective delay, for each trunk."""
    return [
        {
            "placement": placement,
            "delay_ms": delay_ms,
            "trunk": f"{a}-{b}",
            "configured_round_trip_ms": 2 * delay_ms,
            "added_round_trip_ms": rounded(added_ms),
            "added_over_no_delay_ms": rounded(added_ms - analysis.calibration[placement, 0.0].added_ms[a, b]),
            "round_trip_ms": rounded(times.rtt_ms[a, b]),
            "local_round_trip_ms": rounded(times.local_rtt_ms),
        }
        for (placement, delay_ms), times in sorted(analysis.calibration.items())
        for (a, b), added_ms in sorted(times.added_ms.items())
    ]


def hop_means(config: ChainConfig, analysis: Analysis) -> list[dict[str, Any]]:
    """Mean hop times of the longest chain of each phase, by route, from the functions' own records."""
    rows = []
    for result in ordered(analysis.cells):
        means = [mean_hop_ms(analysis.hops, result.cell.slug, arm.name) for arm in (GATEWAY_ARM, DIRECT_ARM)]
        if result.cell.length != config.longest or result.verdict is Verdict.INVALID or None in means:
            continue
        gateway, direct = (mean for mean in means if mean)
        rows.append({
            "cell": result.cell.name,
            "gateway_forward_ms": rounded(gateway[0]), "gateway_back_ms": rounded(gateway[1]),
            "direct_forward_ms": rounded(direct[0]), "direct_back_ms": rounded(direct[1]),
            "saved_ms": rounded(sum(gateway) - sum(direct)),
        })  # fmt: skip
    return rows


def paper_rows(config: ChainConfig, analysis: Analysis) -> list[dict[str, Any]]:
    """The paper's numbers beside ours, wherever this run has the cell.

    0.5 ms is read both ways: as one-way delay, and as round trip (0.25 ms one way).
    """
    rows = []
    for result in ordered(analysis.cells):
        row = row_of(config, result)
        paper_delay_ms = next((d for d in PAPER_MEAN_PCT if row.delay_ms in (d, d / 2)), None)
        if row.length == PAPER_LENGTH and paper_delay_ms == PAPER_DELAY_MS:
            rows.append(paper_saving(row))
        if row.removed_hops == closest_calls(config) and paper_delay_ms is not None:
            rows.append(paper_share(row, paper_delay_ms))
    return sorted(rows, key=lambda paper: paper["unit"] != "ms")


def paper_saving(row: SummaryRow) -> dict[str, Any]:
    """The one absolute number that the paper gives for chains of different lengths."""
    return {
        "figure": "9d",
        "what": f"saved at length {PAPER_LENGTH}, 0.5 ms (figure 9d)",
        "paper": f"up to about {PAPER_SAVED_MS:g} ms",
        **setting_texts(row),
        "ours": row.saved_ms,
        "low": row.ci_low_ms,
        "high": row.ci_high_ms,
        "unit": "ms",
    }


def paper_share(row: SummaryRow, paper_delay_ms: float) -> dict[str, Any]:
    """The paper's mean over another application's chains, beside the chain with about as many calls."""
    low, high = (
        None if ratio is None else round(100 * (1 - ratio), 2) for ratio in (row.ratio_ci_high, row.ratio_ci_low)
    )
    return {
        "figure": "9a" if paper_delay_ms == 0 else "9b",
        "what": f"saved, {paper_delay_ms:g} ms; paper: mean of Hello Retail's chains; here: length {row.length}",
        "paper": f"{PAPER_MEAN_PCT[paper_delay_ms]:g} %",
        **setting_texts(row),
        "ours": row.saved_pct,
        "low": low,
        "high": high,
        "unit": "%",
    }


def setting_texts(row: SummaryRow) -> dict[str, str]:
    """A cell's setting, in full and short."""
    return {
        "setting": f"{row.placement}, {row.gateway_upstream} upstream, {row.delay_meaning}",
        "setting_short": f"{row.placement}, {row.gateway_upstream}, {row.delay_ms:g} ms, length {row.length}",
    }


def closest_calls(config: ChainConfig) -> int:
    """The number of calls, of the lengths measured, closest to that of the chains that the paper averages over."""
    return min((length - 1 for length in config.lengths), key=lambda calls: (abs(calls - PAPER_CALLS), calls))


def concluded(config: ChainConfig, analysis: Analysis) -> list[str]:
    """What this run allows to conclude."""
    if analysis.verdict is Verdict.INVALID:
        return []
    if all(control.holds for control in analysis.controls):
        found = ["sign and size of what one request saves here, and how it grows with each removed hop"]
    else:
        noise_ms = max(max(abs(control.interval.low), abs(control.interval.high)) for control in analysis.controls)
        found = [f"the sign of savings above {noise_ms:.1f} ms, which no control's interval exceeds"]
    if all(pair.holds for result in analysis.cells for pair in result.connections):
        kept = config.connection == Connection.KEEPALIVE.value
        found.append("that no function opens more connections than it makes calls" if kept
                     else "the connections that each route opens")  # fmt: skip
    if analysis.parts:
        found.append("how much of the saving is wire time, at delays as calibrated in this run")
    return found


def not_concluded(config: ChainConfig, analysis: Analysis) -> list[str]:
    """What this run does not allow to conclude."""
    missing = ["the paper's milliseconds on its machines", "throughput or CPU savings (one request is in flight)"]
    if config.connection == Connection.KEEPALIVE.value:
        missing.append("how many calls were made, from the switches' counters: callers keep their connections")
    if not analysis.spare_cores:
        missing.append(f"tails (p95 and beyond: less than {IDLE_GATE:.0%} of the CPU was idle)")
    if any(not control.holds for control in analysis.controls):
        missing.append("the size of a saving to better than the controls that did not hold")
    if analysis.verdict is Verdict.INVALID:
        missing.insert(0, "anything from cells marked INVALID")
    return missing


def sentence(summary_json: dict[str, Any]) -> str:
    """What may and what may not be concluded, in one sentence."""
    may, may_not = summary_json["concluded"], summary_json["not_concluded"]
    first = (
        f"May be concluded from this machine: {'; '.join(may)}"
        if may
        else "Nothing may be concluded from the whole run"
    )
    return f"{first}; may not: {'; '.join(may_not)}."

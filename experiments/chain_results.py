"""What the chain-length experiment's raw data say: cells, controls, slopes, the oracle, the verdict.

From files to frozen values; it draws nothing, prints nothing and needs no lab.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from experiments import chain_oracle, chain_plan
from experiments.analysis import breakdown, statistics
from experiments.analysis.breakdown import HopTimes, Parts, Setting
from experiments.analysis.statistics import Comparison, Equivalence, Interval, Slope
from experiments.analysis.wire import Connection, Expected, Trunks, Upstream, WireModel
from experiments.chain_oracle import Seen
from experiments.chain_plan import CONTROL_ARM, DIRECT_ARM, GATEWAY_ARM, Arm, Cell, ChainConfig, Phase
from experiments.load.plan import LoadCounts
from testbed.measure import calibration, fidelity
from testbed.measure.calibration import TrunkTimes
from testbed.measure.cpu import CpuSample, CpuShares, CpuTimes, shares
from testbed.measure.fidelity import Finding, Verdict, worst


@dataclass(frozen=True)
class RawData:
    """A run's raw files."""

    requests: pd.DataFrame
    counts: pd.DataFrame
    connections: pd.DataFrame
    probes: pd.DataFrame
    cpu: pd.DataFrame
    invocations: pd.DataFrame
    phases: list[dict[str, Any]]
    placements: dict[str, dict[str, int]]


@dataclass(frozen=True)
class Control:
    """One control: two arms that take the same path must be equivalent within a margin declared beforehand."""

    kind: str
    cell: Cell
    difference_ms: float
    interval: Interval
    margin_ms: float
    answer: Equivalence

    @property
    def holds(self) -> bool:
        return self.answer is Equivalence.EQUIVALENT


@dataclass(frozen=True)
class CellResult:
    """One cell: what was measured, what the model says, and how far to believe it."""

    cell: Cell
    counts: LoadCounts
    comparison: Comparison | None
    p_holm: float
    model_ms: float
    connections: Sequence[Expected]
    findings: Sequence[Finding]

    @property
    def verdict(self) -> Verdict:
        return worst(self.findings)


@dataclass(frozen=True)
class PhaseResult:
    """What several cells give together: saved per removed hop, measured and by the model."""

    phase: Phase
    slope: Slope | None
    model_ms_per_hop: float | None
    verdict: Verdict
    cpu: CpuShares


@dataclass(frozen=True)
class Analysis:
    """Everything that is reported."""

    cells: Sequence[CellResult]
    phases: Sequence[PhaseResult]
    controls: Sequence[Control]
    calibration: Mapping[tuple[str, float], TrunkTimes]
    """By placement and delay in ms."""
    probes: Mapping[tuple[str, str], TrunkTimes]
    parts: Sequence[Parts]
    hops: Sequence[HopTimes]
    findings: Sequence[Finding]
    placements: Mapping[str, Mapping[str, int]]
    seen: Seen

    @property
    def verdict(self) -> Verdict:
        return worst(self.findings)

    @property
    def spare_cores(self) -> bool:
        return fidelity.spare_cores(phase.cpu.idle for phase in self.phases)


def read(raw: Path) -> RawData:
    """A run's raw folder."""
    tables = {
        name: pd.read_csv(raw / f"{name}.csv", keep_default_na=False)
        for name in ("requests", "counts", "connections", "probes", "cpu")
    }
    invocations = raw / "invocations.csv"
    columns = ["call_id", "function", "namespace", "started_ns", "ended_ns", "cold"]
    return RawData(
        **tables,
        invocations=pd.read_csv(invocations) if invocations.exists() else pd.DataFrame(columns=columns),
        phases=json.loads((raw / "phases.json").read_text()),
        placements=json.loads((raw / "placements.json").read_text()),
    )


def analyse(config: ChainConfig, raw: RawData) -> Analysis:
    """Understand a run."""
    calibrated = {
        (placement, delay_ms): trunk_times(raw.probes, "calibration", placement, delay_ms)
        for placement in config.placements
        for delay_ms in config.calibrated_delays_ms
    }
    busy = was_busy(raw.cpu, [probe_window("calibration", *key) for key in calibrated])
    run_findings = [
        finding
        for (placement, delay_ms), times in calibrated.items()
        for finding in fidelity.check_calibration(placement, delay_ms, times, calibrated[placement, 0.0], busy=busy)
    ]
    cells: list[CellResult] = []
    phases: list[PhaseResult] = []
    controls: list[Control] = []
    probes: dict[tuple[str, str], TrunkTimes] = {}
    for observed in raw.phases:
        phase = Phase(observed["placement"], observed["upstream"], observed["delay_ms"])
        for moment in ("before", "after"):
            probes[phase.slug, moment] = trunk_times(raw.probes, moment, phase.slug, phase.delay_ms)
        cpu = phase_cpu(raw.cpu, [cell.slug for cell in chain_plan.cells(config, phase)])
        shared = phase_findings(raw, observed, phase, calibrated[phase.placement, phase.delay_ms], probes)
        shared += fidelity.check_cpu(phase.name, cpu.competing, cpu.steal)
        shared += chain_oracle.late_findings(raw.connections, phase)
        shared += [
            finding
            for finding in run_findings
            if finding.scope == fidelity.calibration_scope(phase.placement, phase.delay_ms)
        ]
        model = wire_model(config, phase, calibrated[phase.placement, phase.delay_ms], raw.placements[phase.placement])
        measured = [measure_cell(config, raw, cell, model, shared) for cell in sorted_cells(config, phase)]
        cells += measured
        controls += [control for result in measured for control in controls_of(config, raw, result)]
        phases.append(measure_phase(config, phase, measured, raw, cpu))
    cells = adjusted(cells)
    counted = raw.requests["cell"].isin([result.cell.slug for result in cells])  # and not disturbed attempts
    measured_rows = raw.requests[counted & (raw.requests["warmup"] == 0) & (raw.requests["correct"] == 1)]
    findings = [*run_findings, *(finding for result in cells for finding in result.findings)]
    findings += [finding for control in controls for finding in control_findings(control)]
    return Analysis(
        cells=cells,
        phases=phases,
        controls=controls,
        calibration=calibrated,
        probes=probes,
        parts=split_savings(phases),
        hops=breakdown.hop_times(measured_rows, raw.invocations),
        findings=list(dict.fromkeys(findings)),
        placements=raw.placements,
        seen=chain_oracle.calls_seen([one.cell for one in cells], raw.requests, raw.connections, raw.invocations),
    )


def sorted_cells(config: ChainConfig, phase: Phase) -> list[Cell]:
    return sorted(chain_plan.cells(config, phase), key=lambda cell: cell.length)


def trunk_times(probes: pd.DataFrame, moment: str, phase: str, delay_ms: float) -> TrunkTimes:
    """What one round of probes comes to: its last attempt, or all passes of a calibration."""
    rows = probes[(probes["moment"] == moment) & (probes["phase"] == phase) & (probes["delay_ms"] == delay_ms)]
    rows = rows[rows["attempt"] == rows["attempt"].max()]
    return calibration.summarise({str(path): group["rtt_ns"].tolist() for path, group in rows.groupby("path")})


def last_attempt(probes: pd.DataFrame, moment: str, phase: str) -> int:
    """The attempt that counts of a round of probes."""
    return int(probes[(probes["moment"] == moment) & (probes["phase"] == phase)]["attempt"].max())


def phase_cpu(cpu: pd.DataFrame, cells: Sequence[str]) -> CpuShares:
    """CPU shares over the windows in which a phase's requests were sent, added up: ticks are coarse."""
    rows = cpu[cpu["cell"].isin(cells)]
    sums = rows.groupby("moment").sum(numeric_only=True)
    samples = {
        moment: CpuSample(
            CpuTimes(
                *(float(sums.loc[moment, f"{name}_s"]) for name in ("user", "system", "idle", "interrupt", "steal"))
            ),
            float(sums.loc[moment, "own_s"]),
        )
        for moment in ("before", "after")
    }
    return shares(samples["before"], samples["after"])


def probe_window(moment: str, phase: str, delay_ms: float, attempt: int = 1) -> str:
    """The name under which CPU counters around a round of probes are kept."""
    return f"probe {moment} {phase} d{delay_ms:g} {attempt}"


def was_busy(cpu: pd.DataFrame, windows: Sequence[str]) -> bool:
    """Did others use the machine too much in these windows, taken together?"""
    found = phase_cpu(cpu, windows)
    return fidelity.is_busy(found.competing, found.steal)


def phase_findings(
    raw: RawData,
    observed: Mapping[str, Any],
    phase: Phase,
    calibrated: TrunkTimes,
    probes: Mapping[tuple[str, str], TrunkTimes],
) -> list[Finding]:
    """Checks of what all cells of a phase stand on."""
    findings = []
    busy_then = was_busy(raw.cpu, [probe_window("calibration", phase.placement, phase.delay_ms)])
    for moment in ("before", "after"):
        attempt = last_attempt(raw.probes, moment, phase.slug)
        busy_now = was_busy(raw.cpu, [probe_window(moment, phase.slug, phase.delay_ms, attempt)])
        links = {calibration.trunk_key(name): delay_ms for name, delay_ms in observed[f"links_{moment}"].items()}
        findings += fidelity.check_links(phase.name, phase.delay_ms, links)
        probed = probes[phase.slug, moment]
        findings += fidelity.check_probe(phase.name, moment, calibrated, probed, busy_then=busy_then, busy_now=busy_now)
    findings += fidelity.check_digests(phase.name, observed["switches"])
    findings += fidelity.check_upcalls(phase.name, observed["lost_upcalls"])
    return list(dict.fromkeys(findings))


def wire_model(config: ChainConfig, phase: Phase, calibrated: TrunkTimes, placement: Mapping[str, int]) -> WireModel:
    nodes = [placement[f"chain-{position}"] for position in range(1, config.longest + 1)]
    upstream, connection = Upstream(phase.upstream), Connection(config.connection)
    return WireModel(Trunks(calibrated.added_ms), nodes, upstream, connection)


def measure_cell(
    config: ChainConfig, raw: RawData, cell: Cell, model: WireModel, shared: Sequence[Finding]
) -> CellResult:
    """One cell's comparison and what may be held against it."""
    rows = raw.requests[raw.requests["cell"] == cell.slug]
    counts = LoadCounts(**{
        str(key): int(value)
        for key, value in raw.counts[raw.counts["cell"] == cell.slug].iloc[0].items()
        if key != "cell"
    })  # fmt: skip
    comparison = compare_arms(config, rows, GATEWAY_ARM, DIRECT_ARM)
    connections = chain_oracle.oracle_of(cell, Connection(config.connection), rows, raw.connections)
    findings = [*shared]
    findings += fidelity.check_requests(cell.name, counts.issued, counts.failed)
    findings += fidelity.check_slip(cell.name, slip_p99_ms(rows))
    findings += fidelity.check_cold(cell.name, cold_requests(rows, raw.invocations))
    inexact = [(row.caller, row.callee, row.wanted, row.counted) for row in connections if not row.holds]
    findings += fidelity.check_connections(cell.name, inexact)
    if comparison is None:
        sentence = "too few blocks with an answer on both routes for a comparison"
        findings.append(Finding(Verdict.INVALID, "blocks", cell.name, sentence))
    return CellResult(cell, counts, comparison, math.nan, model.saved_ms(cell.length), connections, findings)


def compare_arms(config: ChainConfig, rows: pd.DataFrame, first: Arm, second: Arm) -> Comparison | None:
    """Two arms of a cell over the blocks in which both have an answer; None with fewer than two such blocks."""
    blocks = {arm.name: latencies_ms(rows, arm) for arm in (first, second)}
    common = sorted(blocks[first.name].keys() & blocks[second.name].keys())
    if len(common) < 2:
        return None
    return statistics.compare(
        [blocks[first.name][block] for block in common], [blocks[second.name][block] for block in common], config.seed
    )


def latencies_ms(rows: pd.DataFrame, arm: Arm) -> dict[int, list[float]]:
    """Measured, rightly answered requests of an arm: latency from start to end, by block."""
    good = rows[(rows["arm"] == arm.name) & (rows["warmup"] == 0) & (rows["correct"] == 1) & (rows["status"] == 200)]
    latency_ms = (good["ended_ns"] - good["started_ns"]) / 1e6
    return {int(block): group.tolist() for block, group in latency_ms.groupby(good["block"])}


def slip_p99_ms(rows: pd.DataFrame) -> float:
    return float(np.quantile((rows["started_ns"] - rows["intended_ns"]) / 1e6, 0.99))


def cold_requests(rows: pd.DataFrame, invocations: pd.DataFrame) -> int:
    """Measured requests that met an instance's first invocation."""
    cold = invocations[invocations["cold"].astype(str).str.lower().isin(["true", "1"])]
    return int(rows[rows["warmup"] == 0]["call_id"].isin(cold["call_id"]).sum())


def controls_of(config: ChainConfig, raw: RawData, result: CellResult) -> list[Control]:
    """The controls that a cell carries: length 1 (both routes are one path) and A/A (two gateway deployments)."""
    controls = []
    comparison = result.comparison
    if result.cell.length == 1 and comparison is not None:
        controls.append(control_of(config, "length 1", result.cell, comparison))
    if result.cell.length == config.control_length:
        rows = raw.requests[raw.requests["cell"] == result.cell.slug]
        again = compare_arms(config, rows, GATEWAY_ARM, CONTROL_ARM)
        if again is not None:
            controls.append(control_of(config, "A/A", result.cell, again))
    return controls


def control_of(config: ChainConfig, kind: str, cell: Cell, comparison: Comparison) -> Control:
    margin_ms = max(config.margin_ms, config.margin_share * comparison.p50.first_ms)
    interval = comparison.p50.interval
    answer = statistics.equivalence(interval, margin_ms)
    return Control(kind, cell, comparison.p50.saved_ms, interval, margin_ms, answer)


def control_findings(control: Control) -> list[Finding]:
    """A control that does not hold says that something besides the route differs, or that noise hides it."""
    if control.holds:
        return []
    sentence = (
        f"control {control.kind}: {control.difference_ms:+.2f} ms "
        f"[{control.interval.low:+.2f}, {control.interval.high:+.2f}] is not within ±{control.margin_ms:.2f} ms "
        f"({control.answer.value})"
    )
    return [Finding(Verdict.DEGRADED, "controls", control.cell.name, sentence)]


def measure_phase(
    config: ChainConfig, phase: Phase, results: Sequence[CellResult], raw: RawData, cpu: CpuShares
) -> PhaseResult:
    """The saving per removed hop over a phase's cells."""
    saved: dict[int, statistics.Array] = {}
    for result in results:
        rows = raw.requests[raw.requests["cell"] == result.cell.slug]
        blocks = [latencies_ms(rows, arm) for arm in (GATEWAY_ARM, DIRECT_ARM)]
        common = sorted(blocks[0].keys() & blocks[1].keys())
        if len(common) > 1:
            first, second = ([arm[block] for block in common] for arm in blocks)
            saved[result.cell.length - 1] = statistics.block_medians(first) - statistics.block_medians(second)
    model = {result.cell.length - 1: result.model_ms for result in results}
    fitted = float(np.polyfit(list(model), list(model.values()), 1)[0]) if len(model) > 1 else None
    verdict = worst(finding for result in results for finding in result.findings)
    return PhaseResult(phase, statistics.slope(saved, config.seed), fitted, verdict, cpu)


def split_savings(phases: Sequence[PhaseResult]) -> list[Parts]:
    """The parts of every believable phase's saving per hop."""
    saved, wired = {}, {}
    for result in phases:
        if result.slope is None or result.model_ms_per_hop is None or result.verdict is Verdict.INVALID:
            continue
        setting = Setting(result.phase.placement, result.phase.upstream, result.phase.delay_ms)
        saved[setting], wired[setting] = result.slope.ms_per_hop, result.model_ms_per_hop
    return breakdown.split(saved, wired)


def adjusted(cells: Sequence[CellResult]) -> list[CellResult]:
    """Holm's adjustment over the family of all cells in which the routes differ (length 2 and up)."""
    family = [index for index, result in enumerate(cells) if result.comparison and result.cell.length > 1]
    p_values = statistics.holm([cells[index].comparison.p_value for index in family])  # type: ignore[union-attr]
    adjusted_p = dict(zip(family, p_values, strict=True))
    return [
        CellResult(**{**vars(result), "p_holm": adjusted_p.get(index, math.nan)}) for index, result in enumerate(cells)
    ]

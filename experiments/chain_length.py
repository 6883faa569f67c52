"""The paper's figures 9c and 9d: how long a chain takes by gateway and direct, by its length.

What is asked is decided in `chain_plan`, done to the lab in `chain_session`, and understood in
`chain_results`; this module is the order in which they take turns.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar

from rich.console import Console

from experiments import chain_oracle, chain_plan, chain_results
from experiments.analysis import wire
from experiments.base import Experiment, Options, Outcome, Profile
from experiments.chain_plan import ARMS, Cell, ChainConfig, Phase
from experiments.chain_session import ChainSession, Pair, cpu_hogs, open_session
from experiments.load.plan import LoadCounts, PlannedRequest, Result
from experiments.patience import Patience
from experiments.progress import Steps
from experiments.rawdata import RawWriter, invocation_rows
from experiments.report import chain_report
from experiments.rundir import RunFolder, write_json
from testbed.measure import fidelity
from testbed.measure.calibration import summarise
from testbed.measure.cpu import CpuSample

SETTLE_TIMEOUT_S = 5.0
"""Switches hand their counters up about once a second."""
SETTLE_POLL_S = 0.1
QUIET_S = 1.5
PATIENCE_SHARE = 0.5
"""How much of its own length a run may wait for a quiet machine in all."""
CALIBRATION_PASSES = 3
PROBE_ATTEMPTS = 3
PROBE_PAUSE_S = 1.0
DEPLOY_WEIGHT_S, CALIBRATE_WEIGHT_S, PHASE_WEIGHT_S = 12.0, 4.0, 6.0


@dataclass
class Measurement:
    """One run in progress: what is measured with, and where it is written."""

    config: ChainConfig
    session: ChainSession
    folder: RunFolder
    raw: RawWriter
    steps: Steps
    calibrated: dict[tuple[str, float], dict[str, list[int]]] = field(default_factory=dict)
    """Calibration's round trips in ns by placement and delay, then by path, over all passes."""
    patience: Patience = field(init=False)

    def __post_init__(self) -> None:
        # A hog that was planted is to be seen, not waited for.
        limit_s = 0.0 if self.config.plant == "cpu-hog" else PATIENCE_SHARE * total_weight(self.config)
        self.patience = Patience(self.session.cpu, self.steps.say, limit_s)


class ChainLength(Experiment):
    """Figures 9c and 9d."""

    name = "chain-length"
    title = "Chains of different lengths, by gateway and direct (figures 9c, 9d)"
    minutes: ClassVar[Mapping[Profile, float]] = {Profile.SMOKE: 2, Profile.CLASS: 8, Profile.PAPER: 25}
    plants = chain_plan.PLANTS

    def configure(self, options: Options) -> dict[str, Any]:
        return chain_plan.resolve(options).to_json()

    @contextmanager
    def prepare(self, config: Mapping[str, Any], run: RunFolder, console: Console) -> Iterator[Measurement]:
        resolved = ChainConfig.from_json(config)
        with (
            Steps(console, total_weight(resolved)) as steps,
            open_session(resolved, steps.say) as session,
        ):
            yield Measurement(resolved, session, run, RawWriter(run.raw), steps)

    def run(self, session: Measurement) -> None:
        measure(session)

    def process(self, run: RunFolder) -> Outcome:
        config = ChainConfig.from_json(run.config())
        analysis = chain_results.analyse(config, chain_results.read(run.raw))
        return chain_report.write(run, config, analysis)

    def present(self, run: RunFolder, console: Console) -> None:
        chain_report.present(run, console)


EXPERIMENT = ChainLength()


def measure(run: Measurement) -> None:
    """Everything after the lab stands: calibrate, then phase by phase, then collect the functions' records."""
    session, config = run.session, run.config
    write_json(run.folder.raw / "lab.json", session.lab.client.status())
    run.folder.update_manifest(datapath=session.lab.datapath)
    placements: dict[str, dict[str, int]] = {}
    done: list[dict[str, Any]] = []
    placed = upstream = ""
    for phase in chain_plan.phases(config):
        if phase.placement != placed:
            deploy(run, phase.placement, placements, first=not placed)
            placed, upstream = phase.placement, ""
            calibrate(run, placed)
        if phase.upstream != upstream:
            session.set_upstream(phase.upstream)
            upstream = phase.upstream
        done.append(measure_phase(run, phase))
        write_json(run.folder.raw / "phases.json", done)
    run.raw.rows("invocations", invocation_rows(session.invocation_logs()))
    run.folder.update_manifest(
        flow_digests={node: switch["digest"] for node, switch in session.digests().items()},
        link_readback=done[-1]["links_after"],
        waited_for_quiet_s=round(run.patience.waited_s, 1),
        measured_again=run.patience.repeated,
    )


def calibrate(run: Measurement, placement: str) -> None:
    """Measure what each trunk adds to a round trip, for every delay of the run.

    With the functions in place: each port of a switch costs every packet a little, so a trunk to a node
    with many functions is slower than the same trunk to an empty one. And in passes: a machine that is
    busy for some seconds then touches a part of each delay's round trips and not all of one delay's.
    """
    run.patience.await_quiet()
    for _ in range(CALIBRATION_PASSES):
        for delay_ms in run.config.calibrated_delays_ms:
            run.steps.say(f"calibrating, delay {delay_ms:g} ms")
            run.session.set_delay(delay_ms)
            for path, rtts_ns in calibration_pass(run, placement, delay_ms).items():
                run.calibrated.setdefault((placement, delay_ms), {}).setdefault(path, []).extend(rtts_ns)
            run.steps.advance(CALIBRATE_WEIGHT_S / CALIBRATION_PASSES, "calibrated")


def calibration_pass(run: Measurement, placement: str, delay_ms: float) -> dict[str, list[int]]:
    """One pass of calibration, taken on a quiet machine where patience allows."""
    attempt = 1
    while True:
        measured, before, after = probe(run)
        again = run.patience.again(attempt, before, after)
        keep_probe(run, ("disturbed" if again else "calibration", placement, delay_ms, 1), measured, before, after)
        if not again:
            return measured
        attempt += 1


def probe(run: Measurement) -> tuple[dict[str, list[int]], CpuSample, CpuSample]:
    """Round trips in ns of every path, and the CPU counters around them."""
    before = run.session.cpu.sample()
    measured = run.session.probe.measure(run.config.round_trips)
    return measured, before, run.session.cpu.sample()


def keep_probe(
    run: Measurement, what: tuple[str, str, float, int], measured: Mapping[str, list[int]],
    before: CpuSample, after: CpuSample,
) -> None:  # fmt: skip
    """Keep every single round trip, and who else used the machine. `what`: moment, phase, delay in ms, attempt."""
    keep_cpu(run, chain_results.probe_window(*what), before, after)
    common = dict(zip(("moment", "phase", "delay_ms", "attempt"), what, strict=True))
    for path, rtts_ns in measured.items():
        run.raw.rows("probes", ({**common, "path": path, "rtt_ns": rtt_ns} for rtt_ns in rtts_ns))


def probe_phase(run: Measurement, moment: str, phase: Phase) -> None:
    """Probe before or after a phase; again, after a pause, while the round trips are not those of calibration.

    The last attempt counts: a second in which something else ran passes, another delay does not.
    """
    calibrated = summarise(run.calibrated[phase.placement, phase.delay_ms])
    for attempt in range(1, PROBE_ATTEMPTS + 1):
        measured, before, after = probe(run)
        keep_probe(run, (moment, phase.slug, phase.delay_ms, attempt), measured, before, after)
        if not fidelity.check_probe("", moment, calibrated, summarise(measured), busy_then=False, busy_now=False):
            return
        if attempt < PROBE_ATTEMPTS:
            time.sleep(PROBE_PAUSE_S)
            run.patience.await_quiet()


def deploy(run: Measurement, placement: str, placements: dict[str, dict[str, int]], *, first: bool) -> None:
    """Deploy all arms with a placement, in place of those that stand."""
    run.steps.say(f"deploying three chains, placement {placement}")
    if not first:
        run.session.remove()
    placements[placement] = run.session.deploy(placement)
    write_json(run.folder.raw / "placements.json", placements)
    run.steps.advance(DEPLOY_WEIGHT_S, "deployed")


def measure_phase(run: Measurement, phase: Phase) -> dict[str, Any]:
    """Set a phase up, measure its cells, and say what was observed around them."""
    session = run.session
    session.set_delay(phase.delay_ms)
    if run.config.plant == "wrong-delay":
        session.plant_wrong_delay(phase.delay_ms)
    links_before = session.read_delays()
    session.driver.send(chain_plan.first_use(run.config, phase), "first-use")
    probe_phase(run, "before", phase)
    lost_before = session.lost_upcalls()
    callers, opened = quiet_counters(session)
    with cpu_hogs(run.config.plant == "cpu-hog"):
        for cell in chain_plan.cells(run.config, phase):
            callers, opened = measure_cell(run, cell, callers, opened)
            run.steps.advance(chain_plan.weight(run.config, cell), cell.name)
    keep_late_connections(run, phase, callers, opened)
    digests = session.digests()
    probe_phase(run, "after", phase)
    lost_after = session.lost_upcalls()
    run.steps.advance(PHASE_WEIGHT_S, phase.name)
    return {
        **asdict(phase),
        "phase": phase.slug,
        "links_before": links_before,
        "links_after": session.read_delays(),
        "switches": digests,
        "lost_upcalls": None if lost_before is None or lost_after is None else lost_after - lost_before,
    }


def measure_cell(
    run: Measurement, cell: Cell, callers_before: dict[Pair, int], opened_before: dict[Pair, int]
) -> tuple[dict[Pair, int], dict[Pair, int]]:
    """Send a cell's requests and keep what became of them; returns the counters as they stand afterwards.

    What was sent while others used the machine is kept under another name, and sent again.
    """
    attempt = 1
    while True:
        plan = chain_plan.requests(run.config, cell, attempt)
        before = run.session.cpu.sample()
        results, counts = run.session.driver.send(plan, f"{cell.slug}-{attempt}")
        after = run.session.cpu.sample()
        opened = run.session.gateway_connections()
        by_gateway = {pair: count - opened_before.get(pair, 0) for pair, count in opened.items()}
        connection = wire.Connection(run.config.connection)
        expected = wire.merge([expected_callers(plan, cell.length, connection), by_gateway])
        if connection is wire.Connection.KEEPALIVE:
            time.sleep(QUIET_S)  # how many connections are still to be counted is not known
        callers = settled(run.session, callers_before, expected)
        again = run.patience.again(attempt, before, after)
        name = f"{cell.slug}{chain_plan.DISTURBED}{attempt}" if again else cell.slug
        keep_requests(run, name, plan, results, counts)
        keep_connections(run, name, "switch", callers_before, callers)
        keep_connections(run, name, "gateway", opened_before, opened)
        keep_cpu(run, name, before, after)
        if not again:
            return callers, opened
        attempt, callers_before, opened_before = attempt + 1, callers, opened


def keep_requests(
    run: Measurement, cell: str, plan: list[PlannedRequest], results: Sequence[Result], counts: LoadCounts
) -> None:
    """Keep every request with its plan, and how many were offered, issued, completed and failed."""
    by_index = {request.index: request for request in plan}
    run.raw.rows("requests", ({"cell": cell, **asdict(by_index[r.index]), **asdict(r)} for r in results))
    run.raw.rows("counts", [{"cell": cell, **asdict(counts)}])


def keep_cpu(run: Measurement, window: str, before: CpuSample, after: CpuSample) -> None:
    """Keep the CPU counters at both ends of a window: a cell's requests, or a round of probes."""
    for moment, sample in (("before", before), ("after", after)):
        row = {"cell": window, "moment": moment, **asdict(sample.machine), "own_s": sample.own_s}
        run.raw.rows("cpu", [row])


def keep_connections(
    run: Measurement, cell: str, source: str, before: Mapping[Pair, int], after: Mapping[Pair, int]
) -> None:
    """Keep what a counter said before and after a cell, pair by pair."""
    run.raw.rows(
        "connections",
        (
            {"cell": cell, "source": source, "caller": pair[0], "callee": pair[1],
             "before": before.get(pair, 0), "after": after.get(pair, 0)}
            for pair in sorted(before.keys() | after.keys())
        ),
    )  # fmt: skip


def keep_late_connections(
    run: Measurement, phase: Phase, callers: Mapping[Pair, int], opened: Mapping[Pair, int]
) -> None:
    """What is counted after a phase's last cell was counted: nothing may be."""
    callers_later, opened_later = quiet_counters(run.session)
    keep_connections(run, f"{phase.slug}{chain_oracle.LATE}", "switch", callers, callers_later)
    keep_connections(run, f"{phase.slug}{chain_oracle.LATE}", "gateway", opened, opened_later)


def expected_callers(plan: list[PlannedRequest], length: int, connection: wire.Connection) -> dict[Pair, int]:
    """What callers have certainly opened after this plan."""
    sent = {arm: sum(request.arm == arm.name for request in plan) for arm in ARMS}
    return wire.merge(
        [wire.caller_connections(arm.route, arm.namespace, length, sent[arm], connection) for arm in ARMS if sent[arm]]
    )


def settled(session: ChainSession, before: Mapping[Pair, int], expected: Mapping[Pair, int]) -> dict[Pair, int]:
    """The counters once they show what is expected, or after the longest that switches may take.

    A connection too many that shows up later is found in the next cell, whose count begins here.
    """
    deadline_s = time.monotonic() + SETTLE_TIMEOUT_S
    while True:
        counters = session.caller_connections()
        arrived = all(counters.get(pair, 0) - before.get(pair, 0) >= count for pair, count in expected.items())
        if arrived or time.monotonic() > deadline_s:
            return counters
        time.sleep(SETTLE_POLL_S)


def quiet_counters(session: ChainSession) -> tuple[dict[Pair, int], dict[Pair, int]]:
    """The counters after a silence longer than switches take to hand them up: (callers', gateway's)."""
    time.sleep(QUIET_S)
    return session.caller_connections(), session.gateway_connections()


def total_weight(config: ChainConfig) -> float:
    """The sum of all steps' weights, in seconds of a two-core machine."""
    order = chain_plan.phases(config)
    cells_s = sum(chain_plan.weight(config, cell) for phase in order for cell in chain_plan.cells(config, phase))
    return (
        cells_s
        + CALIBRATE_WEIGHT_S * len(config.calibrated_delays_ms) * len(config.placements)
        + DEPLOY_WEIGHT_S * len(config.placements)
        + PHASE_WEIGHT_S * len(order)
    )

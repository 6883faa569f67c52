"""Raw data of a chain-length run that never happened, with effects that are known because they were put in.

`write_run` makes a run directory as the experiment leaves it before processing.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field

import numpy as np

from experiments import chain_plan
from experiments.analysis import wire
from experiments.analysis.wire import Connection, Trunks, Upstream, WireModel
from experiments.base import Options
from experiments.chain_plan import ARMS
from experiments.chain_results import probe_window
from experiments.load.plan import LoadCounts, Result
from experiments.rawdata import RawWriter
from experiments.rundir import COMPLETE, RunFolder, write_json
from testbed.model.cluster import Route

TRUNKS = ((1, 2), (1, 3), (2, 3))
LOCAL_RTT_MS = 0.3
BASE_MS = 0.2
"""What a trunk adds to a round trip with no delay."""


@dataclass(frozen=True)
class Effects:
    """What is put into the data. Times in ms; shares 0..1."""

    gateway_ms: float = 0.6
    setup_ms: float = 0.4
    function_ms: float = 1.0
    noise_ms: float = 0.05
    direct_extra_ms: float = 0.0
    control_extra_ms: float = 0.0
    competing: float = 0.02
    trunk_extra_ms: float = 0.0
    read_back_extra_ms: float = 0.0
    miscounted: int = 0
    late: int = 0
    kept: int = 0
    failed: int = 0
    cold: int = 0
    digest: str = "same"
    config: dict = field(default_factory=dict)


def write_run(out, options=None, effects=None):
    """A run directory whose raw data hold these effects."""
    effects = effects or Effects()
    config = chain_plan.resolve(options or Options(lengths=(1, 2, 3, 6), repetitions=24))
    manifest = {
        "started": "2026-01-01T00:00:00+00:00", "command_line": ["testbed", "experiment"], "seed": config.seed,
        "commit": "0" * 40, "uncommitted_changes": False, "python": "3.11", "versions": {"ovs-vswitchd": "3.1.0"},
        "machine": {"cpus": 2, "cpu": "a <CPU>", "memory_mb": 1, "system": "s", "kernel": "k", "lab_kernel": False},
        "datapath": "userspace", "packages": [], "clocks": {},
    }  # fmt: skip
    run = RunFolder.create(out, "chain-length", config.to_json(), manifest)
    Writer(config, effects, RawWriter(run.raw), np.random.default_rng(3)).write(run)
    run.update_manifest(status=COMPLETE)
    return run


@dataclass
class Writer:
    """Writes one run's raw files."""

    config: object
    effects: Effects
    raw: RawWriter
    rng: np.random.Generator
    clock_ns: int = 10**12
    connections: dict = field(default_factory=dict)

    def write(self, run):
        for placement in self.config.placements:
            for delay_ms in self.config.calibrated_delays_ms:
                self.probe("calibration", placement, delay_ms, 0.0)
        phases = []
        for phase in chain_plan.phases(self.config):
            for moment in ("before", "after"):
                self.probe(moment, phase.slug, phase.delay_ms, self.effects.trunk_extra_ms)
            for cell in chain_plan.cells(self.config, phase):
                self.cell(cell)
            self.count(f"{phase.slug}-late", {("client", "gateway"): self.effects.late} if self.effects.late else {})
            links = {f"{a}-{b}": phase.delay_ms for a, b in TRUNKS}
            links["1-2"] += self.effects.read_back_extra_ms
            switch = {"connected": True, "digest": "same", "desired_digest": self.effects.digest}
            phases.append({**asdict(phase), "phase": phase.slug, "links_before": links, "links_after": links,
                           "switches": {str(node): switch for node in (1, 2, 3)}, "lost_upcalls": 0})  # fmt: skip
        write_json(run.raw / "phases.json", phases)
        write_json(run.raw / "placements.json", {name: self.placement(name) for name in self.config.placements})

    def placement(self, name):
        nodes = [2] * 16 if name == "node2" else [2, 3] * 8
        return {f"chain-{position}": nodes[position - 1] for position in range(1, self.config.longest + 1)}

    def added_ms(self, delay_ms):
        return dict.fromkeys(TRUNKS, BASE_MS + 2 * delay_ms)

    def probe(self, moment, phase, delay_ms, extra_ms):
        self.cpu(probe_window(moment, phase, delay_ms))
        rtts = {"local": LOCAL_RTT_MS, **{f"{a}-{b}": LOCAL_RTT_MS + added + extra_ms
                                          for (a, b), added in self.added_ms(delay_ms).items()}}  # fmt: skip
        for path, rtt_ms in rtts.items():
            noisy = rtt_ms + self.rng.normal(0, 0.01, 60)
            common = {"moment": moment, "phase": phase, "delay_ms": delay_ms, "attempt": 1, "path": path}
            self.raw.rows("probes", [{**common, "rtt_ns": int(value * 1e6)} for value in noisy])

    def cell(self, cell):
        plan = chain_plan.requests(self.config, cell)
        trunks, nodes = Trunks(self.added_ms(cell.phase.delay_ms)), list(self.placement(cell.phase.placement).values())
        model = WireModel(trunks, nodes, Upstream(cell.phase.upstream), Connection(self.config.connection))
        moods = self.rng.normal(0, 0.2, self.config.blocks + self.config.warmup_blocks)
        measured = [request.index for request in plan if not request.warmup]
        failing, cold = set(measured[: self.effects.failed]), set(measured[: self.effects.cold])
        results = [
            self.result(cell, request, model, moods[request.block], request.index in failing) for request in plan
        ]
        pairs = list(zip(plan, results, strict=True))
        self.raw.rows("requests", [{"cell": cell.slug, **vars(request), **vars(result)} for request, result in pairs])
        for request, result in pairs:
            self.raw.rows("invocations", self.records(cell, request, result, request.index in cold))
        counts = LoadCounts(len(plan), len(plan), len(plan) - len(failing), len(failing))
        self.raw.rows("counts", [{"cell": cell.slug, **asdict(counts)}])
        self.count(cell.slug, self.opened(cell, plan))
        self.cpu(cell.slug)

    def result(self, cell, request, model, mood_ms, fails):
        arm = next(arm for arm in ARMS if arm.name == request.arm)
        effects = self.effects
        hop_ms = effects.gateway_ms + (effects.setup_ms if cell.phase.upstream == "per-call" else 0)
        latency_ms = 1.0 + cell.length * effects.function_ms + model.request_ms(arm.route, cell.length)
        latency_ms += mood_ms + ((cell.length - 1) * hop_ms if arm.route is Route.GATEWAY else 0)
        latency_ms += {"direct": effects.direct_extra_ms, "control": effects.control_extra_ms}.get(arm.name, 0)
        latency_ms += self.rng.normal(0, effects.noise_ms)
        start_ns = self.clock_ns + 20_000
        end_ns = start_ns + int(latency_ms * 1e6)
        status = 502 if fails else 200
        result = Result(request.index, self.clock_ns, start_ns, start_ns + 1000, end_ns, status, 200, "", not fails)
        self.clock_ns = end_ns + 500_000
        return result

    def records(self, cell, request, result, cold):
        """Nested invocation records: each function starts and ends a fixed share inside its caller."""
        arm = next(arm for arm in ARMS if arm.name == request.arm)
        step_ns = (result.ended_ns - result.started_ns) // (2 * cell.length + 2)
        return [
            {"call_id": request.call_id, "caller": "", "function": f"chain-{position}", "namespace": arm.namespace,
             "instance": f"chain-{position}.{arm.namespace}.1", "started_ns": result.started_ns + position * step_ns,
             "ended_ns": result.ended_ns - position * step_ns, "cold": int(cold and position == 1), "status": 200}
            for position in range(1, cell.length + 1)
        ]  # fmt: skip

    def opened(self, cell, plan):
        counts = {arm: sum(request.arm == arm.name for request in plan) for arm in ARMS}
        sent = {arm: count for arm, count in counts.items() if count}
        connection = Connection(self.config.connection)
        parts = [wire.caller_connections(arm.route, arm.namespace, cell.length, count, connection)
                 for arm, count in sent.items()]  # fmt: skip
        if connection is Connection.KEEPALIVE:
            parts += [dict.fromkeys(wire.function_calls(arm.route, arm.namespace, cell.length, 1), self.effects.kept)
                      for arm in sent]  # fmt: skip
        if cell.phase.upstream == "per-call":
            for arm, count in sent.items():
                requests = wire.gateway_requests(arm.route, arm.namespace, cell.length, count)
                parts.append({("gateway", function): total for function, total in requests.items()})
        total = wire.merge(parts)
        total["client", "gateway"] += self.effects.miscounted
        return total

    def count(self, cell, opened):
        for source in ("switch", "gateway"):
            known = self.connections.setdefault(source, {})
            rows = []
            for pair in sorted(known.keys() | opened.keys()):
                if source == "switch" or pair[0] == "gateway":
                    before = known.get(pair, 0)
                    known[pair] = before + opened.get(pair, 0)
                    rows.append({"cell": cell, "source": source, "caller": pair[0], "callee": pair[1],
                                 "before": before, "after": known[pair]})  # fmt: skip
            self.raw.rows("connections", rows)

    def cpu(self, window):
        for moment, passed in (("before", 0.0), ("after", 10.0)):
            own = 0.3 * passed
            busy = own + self.effects.competing * passed
            row = {"cell": window, "moment": moment, "user_s": busy, "system_s": 0.0, "idle_s": passed - busy}
            self.raw.rows("cpu", [{**row, "interrupt_s": 0.0, "steal_s": 0.0, "own_s": own}])


def summary_of(run):
    """summary.json of a processed run."""
    return json.loads((run.path / "summary.json").read_text())

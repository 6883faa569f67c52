"""One lab with 500 functions: what one of them costs beside one of 50, whether exactly the calls of the graph pass.

Each deployment has a lab of its own and is timed from the order to deploy until every instance is ready and every
switch knows.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from bench.outcome import Estimate, Outcome, ratio_of_medians
from bench.rigs import crowd, labs, trials
from bench.subject import Context
from testbed.model.cluster import Route
from testbed.model.errors import LabError
from testbed.model.stack import stack_file
from testbed.network.lab import Lab
from testbed.platform.client.platform import Platform

NAMESPACE = "crowd"
CALLS_EACH = 2
PATIENCE_S = 120.0
OTHERS_EACH = 10
"""Pairs that are not in the call graph, for every caller."""
SETTLED_S = 2.0
"""After which the memory of what has just started is counted."""


def available_mb() -> float:
    """What the machine's memory has room for."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) / 1024
    raise LabError("/proc/meminfo does not say what memory is available")


class Crowd:
    """So many functions with a random call graph, deployed in labs of their own."""

    def __init__(self, functions: int, seed: int, *, light: bool = True) -> None:
        self.graph = crowd.call_graph(functions, CALLS_EACH * functions, seed)
        self._light = light
        self.seed = seed
        self.ms_each: list[float] = []
        self.mb_each: list[float] = []
        self.trials: list[trials.Trial] = []

    def deploy(self, outcome: Outcome, then: Callable[[Lab, Platform], None] | None = None) -> None:
        """Once more, in a fresh lab; `then` is done there."""
        with tempfile.TemporaryDirectory() as folder, labs.fresh_lab() as lab:
            outcome.datapath = lab.datapath
            application = stack_file.load(crowd.write(Path(folder) / "stack", self.graph, light=self._light), {})
            platform, before_mb = Platform(lab), available_mb()
            started = time.perf_counter()
            platform.deploy(application, NAMESPACE, Route.DIRECT, "spread", timeout_s=PATIENCE_S)
            self.ms_each.append(1000 * (time.perf_counter() - started) / len(self.graph))
            time.sleep(SETTLED_S)
            self.mb_each.append((before_mb - available_mb()) / len(self.graph))
            if then:
                then(lab, platform)

    def try_calls(self, lab: Lab, platform: Platform) -> None:
        """Every call of the graph and many others, from all instances at once."""
        others = trials.other_pairs(self.graph, OTHERS_EACH * len(self.graph), self.seed)
        self.trials.append(trials.everybody(lab, platform.state(), NAMESPACE, self.graph, others))


def run(context: Context) -> Outcome:
    outcome = Outcome()
    rounds = context.count(3, 1)
    few, many = context.count(50, 5), context.count(500, 15)
    small, large = Crowd(few, context.seed), Crowd(many, context.seed)
    python = Crowd(few, context.seed, light=False)
    for n in range(rounds):
        context.progress(n / (rounds + 1), f"{few} functions, {n + 1} of {rounds}")
        small.deploy(outcome)
        context.progress((n + 0.1) / (rounds + 1), f"{many} functions, {n + 1} of {rounds}")
        large.deploy(outcome, large.try_calls)
    context.progress(rounds / (rounds + 1), f"{few} functions of python3-http")
    python.deploy(outcome)
    conclude(outcome, small, large, python, context.seed)
    return outcome


def conclude(outcome: Outcome, small: Crowd, large: Crowd, python: Crowd, seed: int) -> None:
    """The figures."""
    few, many = len(small.graph), len(large.graph)
    outcome.add_series(f"deployment, for each of {few}", "ms", small.ms_each)
    outcome.add_series(f"deployment, for each of {many}", "ms", large.ms_each)
    outcome.figure("crowd-growth", ratio_of_medians(large.ms_each, small.ms_each, seed), f"{many} over {few}")
    calls, others = (sum(getattr(one, kind) for one in large.trials) for kind in ("allowed", "denied"))
    outcome.figure("crowd-failed", sum(len(one.failed) for one in large.trials), f"of {calls}")
    outcome.figure("crowd-passed", sum(len(one.passed) for one in large.trials), f"of {others}")
    outcome.figure("crowd-memory", Estimate(max(large.mb_each)))
    outcome.figure("crowd-python", Estimate(max(python.mb_each)))

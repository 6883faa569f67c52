"""How long one instance's change takes from the controller's reading of the event to the last switch's barrier.

An instance becomes not ready and ready again; the controller's own GET /latency has the times, so that nothing
asks it anything meanwhile.
"""

from __future__ import annotations

import time

import numpy as np
import requests

from bench import labs, profiling
from bench.outcome import Estimate, Outcome, median_of
from bench.subject import Context
from experiments.statistics import bootstrap
from testbed import addressing
from testbed.errors import LabError
from testbed.model import Route
from testbed.network.lab import Lab
from testbed.platform.client import Platform

NAMESPACE = "bench"
SETTLE_S = 0.05
"""Questions, and the change before, would compete for the controller's one thread."""
PARTS = ("generate_ms", "translate_ms", "install_ms")


def change(context: Context, instance: str, count: int) -> None:
    """`count` changes of an instance's readiness, an even number, so that it ends ready."""
    url = f"{addressing.APISERVER_URL}/instances/{instance}/phase"
    for n in range(count):
        context.progress(0.1 + 0.85 * n / count, f"change {n + 1} of {count}")
        requests.put(url, json={"phase": "NotReady" if n % 2 == 0 else "Ready"}, timeout=5).raise_for_status()
        time.sleep(SETTLE_S)


def latencies(after: int) -> list[dict[str, float]]:
    """The controller's measurements of the versions after that one."""
    measured = requests.get(f"{addressing.CONTROLLER_URL}/latency", timeout=10).json()
    return [one for one in measured if one["version"] > after and one["messages"]]


def measure(context: Context, lab: Lab, outcome: Outcome) -> None:
    platform = Platform(lab)
    platform.deploy(labs.chain(2), NAMESPACE, Route.DIRECT, "node2")
    instance = labs.instance_of(platform.state(), "chain-2", NAMESPACE)
    with profiling.controller(context, lab, platform, "changes"):
        before = platform.state().version
        count = context.count(400, 10)
        change(context, instance.id, count)
        platform.wait_ready()
        measured = latencies(before)
    if len(measured) < count // 2:
        raise LabError(f"the controller measured {len(measured)} of {count} changes; see {lab.state_folder}/logs")
    totals_ms = [sum(one[part] for part in PARTS) for one in measured]
    outcome.add_series("event to last barrier", "ms", totals_ms)
    for part in PARTS:
        outcome.add_series(part.removesuffix("_ms"), "ms", [one[part] for one in measured])
    outcome.figure("change-p50", median_of(totals_ms, context.seed))
    outcome.figure("change-p99", p99_of(totals_ms, context.seed), f"of {len(totals_ms)}")
    rows = [(name, *(one[key] for key in ("p25", "p50", "p75", "max"))) for name, one in outcome.series.items()]
    outcome.table("One instance's change, by its parts, in ms", ("part", "p25", "p50", "p75", "max"), rows)


def p99_of(values: list[float], seed: int) -> Estimate:
    array = np.asarray(values)
    interval = bootstrap(len(values), lambda picks: np.quantile(array[picks], 0.99, axis=-1), seed, "percentile")
    return Estimate(float(np.quantile(array, 0.99)), interval.low, interval.high)


def run(context: Context) -> Outcome:
    with labs.fresh_lab() as lab:
        outcome = Outcome(datapath=lab.datapath)
        measure(context, lab, outcome)
    return outcome

"""How long one instance's change takes from the controller's reading of the event to the last switch's barrier.

An instance becomes not ready and ready again: the only one of its function, and one of two. The controller's own
GET /latency has the times, so that nothing asks it anything meanwhile.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

import numpy as np
import requests

from bench.outcome import Estimate, Outcome, median_of
from bench.rigs import labs, profiling
from bench.subject import Context
from experiments.analysis.statistics import bootstrap
from testbed.model import addressing
from testbed.model.cluster import Route
from testbed.model.errors import LabError
from testbed.network.lab import Lab
from testbed.platform.client.platform import Platform

NAMESPACE = "bench"
SETTLE_S = 0.05
"""Questions, and the change before, would compete for the controller's one thread."""
KINDS = {"change": "chain-2", "join": "chain-3"}
"""The only instance of its function comes and goes: calls begin and cease to be held. One of two does."""
PARTS = ("generate_ms", "translate_ms", "install_ms")


def change(instance: str, count: int) -> None:
    """`count` changes of an instance's readiness, an even number, so that it ends ready."""
    url = f"{addressing.APISERVER_URL}/instances/{instance}/phase"
    for n in range(count):
        requests.put(url, json={"phase": "NotReady" if n % 2 == 0 else "Ready"}, timeout=5).raise_for_status()
        time.sleep(SETTLE_S)


def latencies(after: int) -> list[dict[str, float]]:
    """The controller's measurements of the versions after that one."""
    measured = requests.get(f"{addressing.CONTROLLER_URL}/latency", timeout=10).json()
    return [one for one in measured if one["version"] > after and one["messages"]]


def measure(context: Context, lab: Lab, outcome: Outcome) -> None:
    platform = Platform(lab)
    platform.deploy(labs.chain(3), NAMESPACE, Route.DIRECT, "node2")
    platform.scale("chain-3", NAMESPACE, 2)
    platform.wait_ready(namespace=NAMESPACE)
    state = platform.state()
    instances = {kind: labs.instance_of(state, function, NAMESPACE) for kind, function in KINDS.items()}
    rounds, count = context.count(8, 1), context.count(50, 6)
    measured: dict[str, list[dict[str, float]]] = {kind: [] for kind in KINDS}
    with profiling.controller(context, lab, platform, "changes"):
        for step, kind in enumerate(list(KINDS) * rounds):
            context.progress(0.1 + 0.85 * step / (len(KINDS) * rounds), f"{count} changes, {kind}")
            before = platform.state().version
            change(instances[kind].id, count)
            platform.wait_ready()
            measured[kind] += latencies(before)
    for found in measured.values():
        if len(found) < rounds * count // 2:
            wanted = f"{len(found)} of {rounds * count} changes"
            raise LabError(f"the controller measured {wanted}; see {lab.state_folder}/logs")
    report(context, outcome, measured)


def report(context: Context, outcome: Outcome, measured: Mapping[str, Sequence[Mapping[str, float]]]) -> None:
    """Figures and tables of what the controller measured of each kind of change."""
    rows = []
    for kind, found in measured.items():
        totals_ms = [sum(one[part] for part in PARTS) for one in found]
        outcome.figure(f"{kind}-p50", median_of(totals_ms, context.seed))
        outcome.figure(f"{kind}-p99", p99_of(totals_ms, context.seed), f"of {len(totals_ms)}")
        series = {"event to last barrier": totals_ms} | {
            part.removesuffix("_ms"): [one[part] for one in found] for part in PARTS
        }
        for name, values in series.items():
            outcome.add_series(f"{kind}: {name}", "ms", values)
            summary = outcome.series[f"{kind}: {name}"]
            rows.append((f"{kind}: {name}", *(summary[key] for key in ("p25", "p50", "p75", "max"))))
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

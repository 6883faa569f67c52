"""How long one instance's change takes from the controller's reading of the event to the last switch's barrier.

An instance becomes not ready and ready again: the only one of its function, and one of two. The controller's own
GET /latency has the times, so that nothing asks it anything meanwhile. The yardstick is a bundle with a barrier to the
same three switches from a bare client, in turns with the changes.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

import numpy as np

from bench.outcome import Estimate, Outcome
from bench.rigs import labs, openflow, profiling
from bench.subject import Context
from testbed.model.cluster import Phase, Route
from testbed.model.errors import LabError
from testbed.network.lab import Lab
from testbed.platform.client.platform import Platform

NAMESPACE = "bench"
SETTLE_S = 0.05
"""Questions, and the change before, would compete for the controller's one thread."""
KINDS = {"change": "chain-2", "join": "chain-3"}
"""The only instance of its function comes and goes: calls begin and cease to be held. One of two does."""
RESAMPLES = 2000
PARTS = ("generate_ms", "translate_ms", "install_ms")


def change(platform: Platform, instance: str, count: int) -> None:
    """`count` changes of an instance's readiness, an even number, so that it ends ready."""
    for n in range(count):
        platform.provider.set_phase(instance, Phase.NOT_READY if n % 2 == 0 else Phase.READY)
        time.sleep(SETTLE_S)


def latencies(platform: Platform, after: int) -> list[dict[str, float]]:
    """The controller's measurements of the versions after that one."""
    return [one for one in platform.latencies() if one["version"] > after and one["messages"]]


def measure(context: Context, lab: Lab, outcome: Outcome) -> None:
    platform = Platform(lab)
    platform.deploy(labs.chain(3), NAMESPACE, Route.DIRECT, "node2")
    platform.scale("chain-3", NAMESPACE, 2)
    platform.wait_ready(namespace=NAMESPACE)
    state = platform.state()
    instances = {kind: labs.instance_of(state, function, NAMESPACE) for kind, function in KINDS.items()}
    rounds, count = context.count(8, 1), context.count(50, 6)
    measured: dict[str, list[dict[str, float]]] = {kind: [] for kind in KINDS}
    bare_ms: list[float] = []
    sockets = sorted(lab.state_folder.glob("ovs/s*/s*.mgmt"))
    with openflow.switches(sockets) as switches, profiling.controller(context, lab, platform, "changes"):
        for step, kind in enumerate(list(KINDS) * rounds):
            context.progress(0.1 + 0.85 * step / (len(KINDS) * rounds), f"{count} changes, {kind}")
            before = platform.state().version
            change(platform, instances[kind].id, count)
            platform.wait_ready()
            measured[kind] += latencies(platform, before)
            for _ in range(count):
                bare_ms.append(openflow.bundle_ms(switches))
                time.sleep(SETTLE_S)
    for found in measured.values():
        if len(found) < rounds * count // 2:
            wanted = f"{len(found)} of {rounds * count} changes"
            raise LabError(f"the controller measured {wanted}; see {lab.state_folder}/logs")
    report(context, outcome, measured, bare_ms)


def total_ms(measurement: Mapping[str, float]) -> float:
    """From the controller's reading of the event to the last barrier."""
    return sum(measurement[part] for part in PARTS)


def report(
    context: Context,
    outcome: Outcome,
    measured: Mapping[str, Sequence[Mapping[str, float]]],
    bare_ms: Sequence[float],
) -> None:
    """Figures and tables of what the controller measured of each kind of change, beside the bare client's."""
    outcome.add_series("a bare client's bundle", "ms", bare_ms)
    for kind, found in measured.items():
        totals_ms = [total_ms(one) for one in found]
        for name, share in (("p50", 0.5), ("p99", 0.99)):
            ratio = ratio_of_quantiles(totals_ms, bare_ms, share, context.seed)
            ours, bare = (float(np.quantile(values, share)) for values in (totals_ms, bare_ms))
            outcome.figure(f"{kind}-{name}", ratio, f"{ours:.2f} over {bare:.2f} ms, of {len(totals_ms)}")
        series = {"event to last barrier": totals_ms} | {
            part.removesuffix("_ms"): [one[part] for one in found] for part in PARTS
        }
        for name, values in series.items():
            outcome.add_series(f"{kind}: {name}", "ms", values)
    rows = [(name, *(one[key] for key in ("p25", "p50", "p75", "max"))) for name, one in outcome.series.items()]
    outcome.table("One instance's change, by its parts, in ms", ("part", "p25", "p50", "p75", "max"), rows)


def ratio_of_quantiles(ours: Sequence[float], bare: Sequence[float], share: float, seed: int) -> Estimate:
    """One's quantile over the other's, with an interval from resampling each."""
    rng = np.random.default_rng(seed)
    above, below = np.asarray(ours), np.asarray(bare)

    def resampled(values: np.ndarray) -> np.ndarray:
        picks = rng.integers(0, len(values), (RESAMPLES, len(values)))
        return np.asarray(np.quantile(values[picks], share, axis=-1))

    low, high = np.quantile(resampled(above) / resampled(below), [0.025, 0.975])
    return Estimate(float(np.quantile(above, share) / np.quantile(below, share)), float(low), float(high))


def run(context: Context) -> Outcome:
    with labs.fresh_lab() as lab:
        outcome = Outcome(datapath=lab.datapath)
        measure(context, lab, outcome)
    return outcome

"""What one more sandbox costs while a lab runs: each of 200, whether that grows, and 50 at once.

They come one after another with a short pause, as instances do when a function scales; then 50 without.
"""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from statistics import median

import numpy as np
from numpy.typing import NDArray

from bench.outcome import Estimate, Outcome, median_of
from bench.rigs import labs, profiling
from bench.subject import Context
from experiments.analysis.statistics import bootstrap
from testbed.model import addressing
from testbed.network.lab import Lab

NODE = 3
PAUSE_S = 0.05
FIRST_INDEX = 1000


def add(lab: Lab, n: int) -> float:
    """Milliseconds from the request for sandbox number n to the answer that it stands."""
    started = time.perf_counter()
    lab.client.add_host(f"bench{n}", NODE, addressing.eip(NODE, FIRST_INDEX + n))
    return 1000 * (time.perf_counter() - started)


def remove(lab: Lab, n: int) -> float:
    started = time.perf_counter()
    lab.client.delete_host(f"bench{n}")
    return 1000 * (time.perf_counter() - started)


def at_once(lab: Lab, first: int, count: int) -> tuple[float, list[float]]:
    """(ms until all stand, ms of each) of `count` sandboxes that are asked for at the same moment."""
    together = threading.Barrier(count + 1)

    def one(n: int) -> float:
        together.wait()
        return add(lab, n)

    with ThreadPoolExecutor(count) as pool:
        waiting = [pool.submit(one, first + n) for n in range(count)]
        together.wait()
        started = time.perf_counter()
        each = [future.result() for future in waiting]
        return 1000 * (time.perf_counter() - started), each


def slope(values: list[float], seed: int) -> Estimate:
    """What each further sandbox adds to the time of the next, in µs, by least squares."""
    if len(values) < 10:
        return Estimate(0.0)
    x, y = np.arange(len(values), dtype=np.float64), 1000 * np.asarray(values)

    def of(picks: NDArray[np.int64]) -> NDArray[np.float64]:
        chosen_x, chosen_y = x[picks], y[picks]
        centred = chosen_x - chosen_x.mean(axis=-1, keepdims=True)
        return np.asarray((centred * chosen_y).sum(axis=-1) / (centred**2).sum(axis=-1))

    interval = bootstrap(len(values), of, seed, "percentile")
    return Estimate(float(of(np.arange(len(values)))), interval.low, interval.high)


def run(context: Context) -> Outcome:
    count, together = context.count(200, 4), context.count(50, 3)
    with profiling.daemon(context, "sandboxes"), labs.fresh_lab() as lab:
        outcome = Outcome(datapath=lab.datapath)
        times_ms = []
        for n in range(count):
            context.progress(0.1 + 0.7 * n / count, f"sandbox {n + 1} of {count}")
            times_ms.append(add(lab, n))
            time.sleep(PAUSE_S)
        context.progress(0.8, f"{together} sandboxes at once")
        all_ms, each_ms = at_once(lab, count, together)
        context.progress(0.85, "taking them away")
        removals_ms = [remove(lab, n) for n in range(count + together)]
        profiling.write_daemon(context, lab, "sandboxes")
    outcome.add_series("a sandbox", "ms", times_ms)
    outcome.add_series(f"each of {together} at once", "ms", each_ms)
    outcome.add_series("removing a sandbox", "ms", removals_ms)
    outcome.figure("sandbox-p50", median_of(times_ms, context.seed))
    outcome.figure("sandbox-slope", slope(times_ms, context.seed), f"over {count}")
    outcome.figure(
        "sandbox-burst", all_ms / together, f"all after {all_ms:.0f} ms, their median {median(each_ms):.0f} ms"
    )
    return outcome

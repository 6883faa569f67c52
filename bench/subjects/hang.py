"""What one hung switch costs the other nodes: a change of rows, a scaling on node2, a cold call from node1 to node2.

The same is done with and without a hang of node3's switch (its daemon is stopped and let go on), in turns. Nothing that
is done concerns node3.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from statistics import median

from bench.outcome import Outcome, ratio_of_medians
from bench.rigs import labs
from bench.subject import Context
from bench.subjects import changes
from testbed.model import addressing
from testbed.model.cluster import Route
from testbed.model.errors import LabError
from testbed.network.lab import Lab
from testbed.platform.client.platform import Platform

NAMESPACE = "bench"
HUNG_S = 20.0
"""Longer than it takes until the controller gives the connection up."""
RECOVERED_WITHIN_S = 30.0
CHANGES = 10
"""Of an instance's readiness at a time; their median counts as one."""
PATH = f"/function/chain-1.{NAMESPACE}"


def actions(lab: Lab, platform: Platform) -> Mapping[str, Callable[[], float]]:
    """What is timed, by name; each leaves everything as it was, and returns its own ms."""

    def scaled() -> float:
        started = time.perf_counter()
        platform.scale("chain-2", NAMESPACE, 2)
        platform.wait_ready(namespace=NAMESPACE)
        took_ms = 1000 * (time.perf_counter() - started)
        platform.scale("chain-2", NAMESPACE, 1)
        platform.wait_ready(namespace=NAMESPACE)
        return took_ms

    def cold_call() -> float:
        platform.scale("chain-1", NAMESPACE, 0)
        platform.wait_ready(namespace=NAMESPACE)
        gateway = addressing.vip(addressing.GATEWAY_ID)
        return labs.in_host(lab, "client", lambda: labs.call_ms(gateway, PATH, timeout_s=HUNG_S))

    def changed() -> float:
        before, instance = platform.state().version, labs.instance_of(platform.state(), "chain-2", NAMESPACE)
        changes.change(platform, instance.id, CHANGES)
        platform.wait_ready(namespace=NAMESPACE)
        return median([changes.total_ms(one) for one in changes.latencies(platform, before)])

    return {"scale": scaled, "cold": cold_call, "change": changed}


@contextmanager
def hung(lab: Lab, platform: Platform) -> Iterator[None]:
    """Node3's switch takes nothing for the block, and has recovered at its end."""
    pid = labs.component_pid(lab, "s3")
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)
        deadline = time.monotonic() + RECOVERED_WITHIN_S
        while not all(
            one["connected"] and one["digest"] == one["desired_digest"] for one in platform.switches().values()
        ):
            if time.monotonic() > deadline:
                raise LabError(f"s3 has not recovered from its hang; see {lab.state_folder}/logs/controller.out")
            time.sleep(0.1)


def measure(context: Context, lab: Lab, outcome: Outcome) -> None:
    platform = Platform(lab, note=lambda _: None)  # that s3 answers nothing is known
    platform.deploy(labs.chain(2), NAMESPACE, Route.DIRECT, "node2")
    timed = actions(lab, platform)
    rounds, lasts_s = context.count(3, 1), HUNG_S if not context.quick else 3.0
    found: dict[tuple[str, bool], list[float]] = {}
    for step in range(2 * rounds):
        hangs = step % 2 == 1
        context.progress(0.1 + 0.9 * step / (2 * rounds), "with a hung switch" if hangs else "without")
        with hung(lab, platform) if hangs else nullcontext():
            until = time.monotonic() + lasts_s
            while time.monotonic() < until:
                for name, action in timed.items():
                    found.setdefault((name, hangs), []).append(action())
    for name in timed:
        without, beside = found[name, False], found[name, True]
        count = min(len(without), len(beside))
        ratio = ratio_of_medians(beside[:count], without[:count], context.seed)
        outcome.figure(f"hang-{name}", ratio, f"of {count}")
        outcome.add_series(f"{name}, no switch hangs", "ms", without)
        outcome.add_series(f"{name}, another node's switch hangs", "ms", beside)
    rows = [(name, *(one[key] for key in ("n", "p25", "p50", "p75", "max"))) for name, one in outcome.series.items()]
    outcome.table("Beside a hung switch, in ms", ("what", "n", "p25", "p50", "p75", "max"), rows)


def run(context: Context) -> Outcome:
    with labs.fresh_lab() as lab:
        outcome = Outcome(datapath=lab.datapath)
        measure(context, lab, outcome)
    return outcome

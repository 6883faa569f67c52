"""What one tenant's flood of packets for the controller does to another tenant on the same node.

The flooding tenant calls a function of its own that has no instance and will not get one, thousands of times a
second; each first packet is one for the controller. The other tenant goes on calling, one new connection at a time.
Rounds with and without the flood take turns.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import dataclass, field, replace
from statistics import median

import numpy as np

from bench.outcome import Outcome, ratio_of_medians
from bench.rigs import labs, profiling
from bench.rigs.proxies import cpu_ms
from bench.subject import Context
from testbed.model.application import Application
from testbed.model.checkout import CHECKOUT
from testbed.model.cluster import Route
from testbed.network.lab import Lab
from testbed.platform.client.platform import Platform

CULPRIT, OTHER = "bench-flood", "bench-other"
PAUSED = {"autoscaling.keda.sh/paused": "true"}
RATE_PER_S = 5000
GAP_S = 0.004
"""Between the other tenant's calls."""


@dataclass
class Window:
    """A stretch of time: the other tenant's calls, and shares of a core."""

    latencies_ms: list[float] = field(default_factory=list)
    lost: int = 0
    cpu: dict[str, float] = field(default_factory=dict)
    tried: int = 0


def culprit() -> Application:
    """A chain of two whose second function nobody brings from zero."""
    application = labs.chain(2)
    caller, callee = application.functions
    paused = replace(callee, annotations={**callee.annotations, **PAUSED})
    return replace(application, functions=(caller, paused))


def calls(vip: str, duration_s: float, window: Window) -> None:
    """One call after another, each on a new connection."""
    end = time.monotonic() + duration_s
    while time.monotonic() < end:
        try:
            window.latencies_ms.append(labs.call_ms(vip))
        except OSError:
            window.lost += 1
        time.sleep(GAP_S)


def deploy(platform: Platform) -> None:
    """Both tenants; the flooding one's second function goes to zero."""
    platform.deploy(labs.chain(2), OTHER, Route.DIRECT, "node2")
    platform.deploy(culprit(), CULPRIT, Route.DIRECT, "node2")
    platform.scale("chain-2", CULPRIT, 0)
    platform.wait_ready(namespace=CULPRIT)


class Scene:
    """Who calls what, and the processes whose CPU time counts."""

    def __init__(self, lab: Lab, platform: Platform) -> None:
        self._lab = lab
        state = platform.state()
        self._flooder = labs.instance_of(state, "chain-1", CULPRIT).id
        self._caller = labs.instance_of(state, "chain-1", OTHER).id
        self._flooded_vip = state.functions[f"chain-2.{CULPRIT}"].vip
        self._called_vip = state.functions[f"chain-2.{OTHER}"].vip
        self._pids = {name: labs.component_pid(lab, name) for name in ("controller", "s2")}

    def window(self, duration_s: float, *, flooded: bool) -> Window:
        window = Window()
        flooder = self._flood(duration_s + 1.0) if flooded else None
        time.sleep(0.5)  # the flood, or what is left of the last one, settles
        before, began = {name: cpu_ms(pid) for name, pid in self._pids.items()}, time.monotonic()
        labs.in_host(self._lab, self._caller, lambda: calls(self._called_vip, duration_s, window))
        passed_ms = 1000 * (time.monotonic() - began)
        window.cpu = {name: (cpu_ms(pid) - before[name]) / passed_ms for name, pid in self._pids.items()}
        if flooder is not None:
            window.tried = int(flooder.communicate()[0] or 0)
        return window

    def _flood(self, duration_s: float) -> subprocess.Popen[str]:
        argv = [sys.executable, "-m", "bench.rigs.flooder", self._flooded_vip, str(RATE_PER_S), str(duration_s)]
        environment = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
        return self._lab.popen(self._flooder, argv, stdout=subprocess.PIPE, text=True, env=environment)


def run(context: Context) -> Outcome:
    rounds, duration_s = context.count(6, 1), 2.5 if not context.quick else 0.5
    windows: dict[bool, list[Window]] = {False: [], True: []}
    with labs.fresh_lab() as lab:
        outcome = Outcome(datapath=lab.datapath, facts={"flood, first packets a second": RATE_PER_S})
        platform = Platform(lab)
        deploy(platform)
        with profiling.controller(context, lab, platform, "flood"):
            scene = Scene(lab, platform)
            for n in range(rounds):
                context.progress(0.15 + 0.85 * n / rounds, f"round {n + 1} of {rounds}")
                for flooded in (n % 2 == 0, n % 2 == 1):
                    windows[flooded].append(scene.window(duration_s, flooded=flooded))
    conclude(outcome, windows[False], windows[True], context.seed)
    return outcome


def conclude(outcome: Outcome, calm: list[Window], flooded: list[Window], seed: int) -> None:
    """Figures from windows without and with the flood."""
    medians = [[median(one.latencies_ms or [float("inf")]) for one in windows] for windows in (flooded, calm)]
    cpu_pct = 100 * median(one.cpu["controller"] for one in flooded)
    calls_made = sum(len(one.latencies_ms) + one.lost for one in flooded)
    outcome.figure("flood-lost", sum(one.lost for one in flooded), f"of {calls_made}")
    outcome.figure("flood-p50", ratio_of_medians(medians[0], medians[1], seed))
    outcome.figure("flood-controller", cpu_pct, f"{sum(one.tried for one in flooded)} connections tried")
    rows = []
    for name, windows in (("without", calm), ("with the flood", flooded)):
        latencies_ms = [ms for one in windows for ms in one.latencies_ms]
        outcome.add_series(f"the other tenant's calls, {name}", "ms", latencies_ms)
        quantiles = [round(float(np.quantile(latencies_ms, q)), 3) for q in (0.5, 0.95, 0.99)] if latencies_ms else []
        shares = [round(100 * median(one.cpu[part] for one in windows)) for part in ("controller", "s2")]
        rows.append([name, len(latencies_ms), *quantiles, sum(one.lost for one in windows), *shares])
    columns = ("", "calls", "p50 ms", "p95 ms", "p99 ms", "lost", "controller CPU %", "switch CPU %")
    outcome.table("Another tenant's calls under a flood", columns, rows)

"""From no instance to the first answer: what comes after the process has answered its own readiness probe.

Direct: a function calls another's vIP, and the switch hands the first packet to the controller, which holds it.
By gateway: a client calls the function through the gateway. The two take turns in random order; before each call
the function has no instance. All clocks are the machine's monotonic one.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass

from bench.outcome import Outcome, median_of
from bench.rigs import labs, profiling
from bench.subject import Context
from testbed.model import addressing
from testbed.model.cluster import Route
from testbed.network.lab import Lab
from testbed.platform.client.platform import Platform

PATIENCE_S = 30.0
STEPS = (
    ("decided_ns", "sandbox_ns"),
    ("sandbox_ns", "launch_ns"),
    ("launch_ns", "process_ns"),
    ("process_ns", "ready_ns"),
)
"""Of a cold start, as the node agent reports them; the rest is counted here."""


@dataclass(frozen=True)
class Way:
    """One way to call a function: from `host`, with `call`; `function` is the one at zero."""

    name: str
    namespace: str
    function: str
    host: str
    call: Callable[[], float]


@dataclass(frozen=True)
class ColdCall:
    """`answered_ns`: None when there was no answer, for the reason in `error`."""

    asked_ns: int
    answered_ns: int | None
    timings: dict[str, int]
    error: str = ""

    @property
    def after_ready_ms(self) -> float | None:
        ready_ns = self.timings.get("ready_ns")
        return None if self.answered_ns is None or ready_ns is None else (self.answered_ns - ready_ns) / 1e6


def deploy(lab: Lab, platform: Platform) -> list[Way]:
    """A chain of two on the direct route, whose second function goes to zero, and one function by gateway."""
    platform.deploy(labs.chain(2), "bench-direct", Route.DIRECT, "node2")
    platform.deploy(labs.chain(1), "bench-gateway", Route.GATEWAY, "node2")
    state = platform.state()
    caller = labs.instance_of(state, "chain-1", "bench-direct").id
    vip, gateway = state.functions["chain-2.bench-direct"].vip, addressing.vip(addressing.GATEWAY_ID)
    path = "/function/chain-1.bench-gateway"
    return [
        Way("direct", "bench-direct", "chain-2", caller, lambda: labs.call_ms(vip, "/", timeout_s=PATIENCE_S)),
        Way("gateway", "bench-gateway", "chain-1", "client", lambda: labs.call_ms(gateway, path, timeout_s=PATIENCE_S)),
    ]


def to_zero(platform: Platform, way: Way) -> None:
    platform.scale(way.function, way.namespace, 0)
    platform.wait_ready(namespace=way.namespace)


def cold_call(lab: Lab, platform: Platform, way: Way) -> ColdCall:
    """One call of a function without instances, and the times of the instance that answered."""
    asked_ns = time.monotonic_ns()
    try:
        labs.in_host(lab, way.host, way.call)
    except OSError as error:
        return ColdCall(asked_ns, None, {}, str(error))
    answered_ns = time.monotonic_ns()
    instance = labs.instance_of(platform.state(), way.function, way.namespace)
    return ColdCall(asked_ns, answered_ns, platform.provider.instance(instance.id).get("timings", {}))


def measure(context: Context, lab: Lab, outcome: Outcome) -> dict[str, list[ColdCall]]:
    platform = Platform(lab)
    ways = deploy(lab, platform)
    calls: dict[str, list[ColdCall]] = {way.name: [] for way in ways}
    count = context.count(40, 2)
    rng = random.Random(context.seed)
    with profiling.controller(context, lab, platform, "activation"):
        for n in range(count):
            context.progress(0.1 + 0.9 * n / count, f"cold calls, {n + 1} of {count}")
            for way in rng.sample(ways, len(ways)):
                to_zero(platform, way)
                calls[way.name].append(cold_call(lab, platform, way))
    return calls


def conclude(outcome: Outcome, calls: dict[str, list[ColdCall]], seed: int) -> None:
    lost = [(name, call.error) for name, made in calls.items() for call in made if call.answered_ns is None]
    for name, made in calls.items():
        after_ms = [call.after_ready_ms for call in made if call.after_ready_ms is not None]
        answered = [call for call in made if call.answered_ns is not None]
        if len(after_ms) < len(answered):
            outcome.problems.append(f"{len(answered) - len(after_ms)} instances did not say when they were ready")
        outcome.figure(f"activation-{name}", median_of(after_ms, seed) if after_ms else None, f"of {len(made)}")
        outcome.add_series(f"{name}: readiness to answer", "ms", after_ms)
        totals_ms = [(call.answered_ns - call.asked_ns) / 1e6 for call in answered if call.answered_ns is not None]
        outcome.add_series(f"{name}: call to answer", "ms", totals_ms)
        for first, second in STEPS:
            known = [call.timings for call in answered if first in call.timings and second in call.timings]
            steps_ms = [(times[second] - times[first]) / 1e6 for times in known]
            outcome.add_series(f"{name}: {first.removesuffix('_ns')} to {second.removesuffix('_ns')}", "ms", steps_ms)
    outcome.figure("activation-lost", len(lost), f"of {sum(map(len, calls.values()))}")
    outcome.problems += [f"a first call by the {name} route: {error}" for name, error in lost[:3]]
    rows = [
        (name, *(one.get(key, "") for key in ("n", "p25", "p50", "p75", "max"))) for name, one in outcome.series.items()
    ]
    outcome.table("From no instance to an answer, in ms", ("part", "n", "p25", "p50", "p75", "max"), rows)


def run(context: Context) -> Outcome:
    with labs.fresh_lab() as lab:
        outcome = Outcome(datapath=lab.datapath)
        calls = measure(context, lab, outcome)
    conclude(outcome, calls, context.seed)
    return outcome

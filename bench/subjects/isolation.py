"""What keeping an instance in its place adds to a cold start, in four languages, beside bare tools doing the like.

Bookinfo's functions start one after another in random order, each from no instance. Before each start the yardstick is
measured: util-linux's `unshare` and `setpriv` with a program that does nothing, on the same machine.
"""

from __future__ import annotations

import random
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.outcome import Outcome, ratio_of_medians
from bench.rigs import labs
from bench.subject import Context
from testbed.model.checkout import FUNCTIONS
from testbed.model.cluster import Route
from testbed.model.stack import stack_file
from testbed.platform.client.platform import Platform

NAMESPACE = "bench-books"
LANGUAGES: Mapping[str, str] = {"productpage": "python", "details": "ruby", "reviews": "java", "ratings": "node"}
PHASES = (("launch", "sandbox_ns", "launch_ns"), ("isolation", "launch_ns", "process_ns"),
          ("process to ready", "process_ns", "ready_ns"), ("decided to ready", "decided_ns", "ready_ns"))  # fmt: skip
ENDS = ("decided_ns", "sandbox_ns", "launch_ns", "process_ns", "ready_ns")
YARDSTICK = (
    "unshare", "--mount", "--pid", "--ipc", "--uts", "--fork",
    "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--bounding-set=-all", "--no-new-privs", "true",
)  # fmt: skip


@dataclass(frozen=True)
class Start:
    """One cold start: when its steps ended, and what the bare tools took just before."""

    bare_ms: float
    timings: Mapping[str, int]

    def ms(self, begin: str, end: str) -> float:
        return (self.timings[end] - self.timings[begin]) / 1e6


def yardstick_ms() -> float:
    """Milliseconds of the bare tools, from their start to their end."""
    started = time.perf_counter()
    subprocess.run(YARDSTICK, check=True)
    return 1000 * (time.perf_counter() - started)


def start(platform: Platform, function: str) -> dict[str, int]:
    """The timings of one start of a function that has no instance before."""
    platform.scale(function, NAMESPACE, 0)
    platform.wait_ready(namespace=NAMESPACE)
    platform.scale(function, NAMESPACE, 1)
    platform.wait_ready(namespace=NAMESPACE)
    instance = labs.instance_of(platform.state(), function, NAMESPACE)
    timings: dict[str, int] = platform.provider.instance(instance.id).get("timings", {})
    return timings


def conclude(outcome: Outcome, starts: Mapping[str, Sequence[Start]], seed: int) -> None:
    """Figures and series from each function's starts."""
    outcome.add_series("unshare and setpriv", "ms", [one.bare_ms for made in starts.values() for one in made])
    rows = []
    for function, language in LANGUAGES.items():
        told = [one for one in starts[function] if all(name in one.timings for name in ENDS)]
        if len(told) < len(starts[function]):
            outcome.problems.append(f"{len(starts[function]) - len(told)} starts of {function} did not say all")
        for name, begin, end in PHASES:
            outcome.add_series(f"{language}: {name}", "ms", [one.ms(begin, end) for one in told])
        isolation = [one.ms("launch_ns", "process_ns") for one in told]
        bare = [one.bare_ms for one in told]
        ratio = ratio_of_medians(isolation, bare, seed) if told else None
        outcome.figure(f"isolation-{language}", ratio, f"of {len(told)}")
        medians = [outcome.series[f"{language}: {name}"]["p50"] for name, _, _ in PHASES if told]
        rows.append((language, len(told), *medians))
    outcome.table("Cold starts, medians in ms", ("language", "n", *(name for name, _, _ in PHASES)), rows)


def run(context: Context) -> Outcome:
    count = context.count(40, 2)
    rng = random.Random(context.seed)
    starts: dict[str, list[Start]] = {function: [] for function in LANGUAGES}
    with labs.fresh_lab() as lab:
        outcome = Outcome(datapath=lab.datapath)
        platform = Platform(lab)
        platform.deploy(stack_file.load(FUNCTIONS / "bookinfo" / "stack.yaml", {}), NAMESPACE, Route.DIRECT, "node2")
        platform.wait_ready(namespace=NAMESPACE)
        for n in range(count):
            context.progress(0.1 + 0.9 * n / count, f"cold starts, {n + 1} of {count}")
            for function in rng.sample(list(LANGUAGES), len(LANGUAGES)):
                bare_ms = yardstick_ms()
                starts[function].append(Start(bare_ms, start(platform, function)))
    conclude(outcome, starts, context.seed)
    return outcome

"""How the flow generator grows: from nothing, by one change, in one large namespace, and under policies for everything.

Needs no lab and no root. Each size has five instances and three calls a function. Times from nothing are the best of
a few rounds, for other processes only ever add; changes are measured in turns with those among 100 functions, and
judged as a ratio to them.
"""

from __future__ import annotations

import gc
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import log
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np

from bench.outcome import Outcome, ratio_of_medians
from bench.rigs.clusters import FUNCTIONS_A_NAMESPACE, Changes, cluster
from bench.subject import Context
from controllers.desired.generator import Delta, Generator
from controllers.policy.book import added
from controllers.policy.rules import Policy
from testbed.model.cluster import ClusterState

SIZES = (10, 100, 1_000, 10_000)
SHARE_BEFORE = {10: 0.0, 100: 0.01, 1_000: 0.03, 10_000: 0.1}
"""How far the work is when a size begins."""
SHARE_BEFORE_TURNS, SHARE_BEFORE_POLICIES = 0.5, 0.9
JUDGED = 1_000
"""The size that has budgets; the growth is taken from 100 functions on, where what is constant has faded."""
GROWTH_FROM = 100
IN_ONE_NAMESPACE = (1_000, 2_000, 4_000)
"""Not smaller: there, the processor's caches make more of the growth than the program does."""
CHANGES_A_TURN = 10
EVERYTHING: dict[str, dict[str, Any]] = {
    "deny": {"kind": "deny"},
    "rate-limit": {"kind": "rate-limit", "rate": {"connections_per_s": 100, "kbit_per_s": 100_000}},
    "mirror": {"kind": "mirror"},
    "allow": {"kind": "allow"},
}
"""Policies from `*` to `*`, by kind."""
ALLOWED_UP_TO = 100
"""An allow from `*` to `*` has rows for every pair, so it is not measured among more functions."""


@dataclass(frozen=True)
class Grown:
    """One size's figures."""

    functions: int
    rows: int
    memory_mb: float
    full_s: float
    changes_ms: list[float]


@dataclass(frozen=True)
class Case:
    """A cluster whose changes are measured. `limited`: all calls of its namespaces are limited and mirrored."""

    functions: int
    a_namespace: int = FUNCTIONS_A_NAMESPACE
    limited: bool = False

    def state(self) -> ClusterState:
        return cluster(self.functions, self.a_namespace)

    def policies(self, state: ClusterState) -> dict[str, Policy]:
        kinds = ("rate-limit", "mirror") if self.limited else ()
        return everything([(namespace, kind) for namespace in state.deployments for kind in kinds])


def everything(wanted: list[tuple[str, str]]) -> dict[str, Policy]:
    """Policies from `*` to `*` of these namespaces and kinds."""
    book: dict[str, Policy] = {}
    for namespace, kind in wanted:
        policy = added(book, {"name": f"{kind}-{namespace}", "namespace": namespace, **EVERYTHING[kind]})
        book[policy.name] = policy
    return book


def anonymous_mb() -> float:
    """This process's anonymous memory, in MB of 10^6 bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith("RssAnon:"))


def from_nothing(case: Case, rounds: int) -> tuple[float, float, Generator, ClusterState]:
    """(seconds of the fastest round, MB that one generator keeps, a generator with all of it, its state)."""
    state = case.state()
    policies = case.policies(state)
    gc.collect()
    before_mb = anonymous_mb()
    generator, best_s = Generator(), float("inf")
    kept_mb = 0.0
    for turn in range(rounds):
        generator = Generator()
        started = perf_counter()
        generator.load(state)
        generator.set_policies(policies)
        best_s = min(best_s, perf_counter() - started)
        if turn == 0:  # later rounds find memory that this one's end left behind
            kept_mb = anonymous_mb() - before_mb
    return best_s, kept_mb, generator, state


def took_ms(generator: Generator, events: Iterator[dict[str, Any]]) -> list[float]:
    times_ms = []
    for event in events:
        started = perf_counter()
        generator.apply(event)
        times_ms.append((perf_counter() - started) * 1000)
    return times_ms


def grow(functions: int, rounds: int, changes: int) -> Grown:
    full_s, memory_mb, generator, state = from_nothing(Case(functions), rounds)
    drawn = Changes(state, seed=2)
    times_ms = [ms for _ in range(changes // 2) for ms in took_ms(generator, drawn.of_an_instance())]
    return Grown(functions, rows_of(generator), memory_mb, full_s, times_ms)


def rows_of(generator: Generator) -> int:
    return sum(len(tables.rows) for tables in generator.desired.values())


def exponent(sizes: dict[int, float]) -> float:
    """k of time ~ size^k, by least squares over the logarithms. Needs two sizes."""
    points = [(log(size), log(value)) for size, value in sizes.items()]
    middle_x = sum(x for x, _ in points) / len(points)
    middle_y = sum(y for _, y in points) / len(points)
    above = sum((x - middle_x) * (y - middle_y) for x, y in points)
    return above / sum((x - middle_x) ** 2 for x, _ in points)


def in_turns(cases: list[Case], turns: int, seed: int) -> dict[Case, dict[str, list[float]]]:
    """For each case the median time in ms of an instance's and of a function's change, in every turn."""
    rng = random.Random(seed)
    built = {case: from_nothing(case, 1)[2:] for case in cases}
    drawn = {case: Changes(state, seed) for case, (_, state) in built.items()}
    found: dict[Case, dict[str, list[float]]] = {case: {"instance": [], "function": []} for case in cases}
    gc.collect()
    gc.freeze()  # of what all of them keep, no change pays for a walk
    for _ in range(turns):
        for case in rng.sample(cases, len(cases)):
            generator, changes = built[case][0], drawn[case]
            for kind, events in (("instance", changes.of_an_instance), ("function", changes.of_a_function)):
                times_ms = [ms for _ in range(CHANGES_A_TURN) for ms in took_ms(generator, events())]
                found[case][kind].append(median(times_ms))
    gc.unfreeze()
    return found


def policy_row(kind: str, functions: int) -> list[Any]:
    """What a policy from `*` to `*` costs in one namespace: seconds and rows to add, a function's change, to remove."""
    state = cluster(functions, functions)
    generator = Generator()
    generator.load(state)
    policies = everything([("ns0", kind)])
    started = perf_counter()
    put = generator.set_policies(policies)
    added_s = perf_counter() - started
    change_ms = median(took_ms(generator, Changes(state, seed=3).of_a_function()))
    started = perf_counter()
    gone = generator.set_policies({})
    return [kind, functions, added_s, changed(put), change_ms, perf_counter() - started, changed(gone)]


def changed(deltas: dict[int, Delta]) -> int:
    return sum(len(delta.rows) for delta in deltas.values())


def run(context: Context) -> Outcome:
    outcome = Outcome()
    sizes = SIZES[:3] if context.quick else SIZES
    grown = []
    for size in sizes:
        context.progress(SHARE_BEFORE[size], f"{size} functions")
        rounds = 1 if context.quick else max(4, min(7, 20_000 // size))
        grown.append(grow(size, rounds, context.count(400, 20)))
    judged = next(one for one in grown if one.functions == JUDGED)
    outcome.figure("generator-full", judged.full_s)
    outcome.figure("generator-change", median(judged.changes_ms))
    full = {one.functions: one.full_s for one in grown if one.functions >= GROWTH_FROM}
    outcome.figure("generator-growth", exponent(full))
    in_one_namespace(outcome, context)
    measure_changes(outcome, context, largest=sizes[-1])
    context.progress(SHARE_BEFORE_POLICIES, "policies for everything")
    for one in grown:
        outcome.add_series(f"one change among {one.functions} functions", "ms", one.changes_ms)
    columns = ("functions", "instances", "calls", "rows", "from nothing s", "memory MB", "one change p50 ms", "p99 ms")
    outcome.table("The flow generator as the cluster grows", columns, [_row(one) for one in grown])
    policies_table(outcome, context)
    return outcome


def policies_table(outcome: Outcome, context: Context) -> None:
    wanted = [(kind, n) for kind in EVERYTHING for n in (60, 100, 1_000) if kind != "allow" or n <= ALLOWED_UP_TO]
    rows = [_rounded(policy_row(kind, n)) for kind, n in wanted if not context.quick or n <= ALLOWED_UP_TO]
    columns = ("kind", "functions", "add s", "rows", "a function's change ms", "remove s", "rows again")
    outcome.table("Policies from * to * in one namespace", columns, rows)


def in_one_namespace(outcome: Outcome, context: Context) -> None:
    """All from nothing, where all functions are in one namespace; then with all their calls limited and mirrored."""
    for name, limited in (("generator-namespace-growth", False), ("generator-policies-growth", True)):
        context.progress(SHARE_BEFORE_TURNS - 0.1, "functions of one namespace")
        sizes = IN_ONE_NAMESPACE[: context.count(3, 2)]
        times_s: dict[int, list[float]] = {size: [] for size in sizes}
        for _ in range(context.count(5, 1)):
            for size, found in times_s.items():
                found.append(from_nothing(Case(size, size, limited), 1)[0])
        outcome.figure(name, exponent({size: min(found) for size, found in times_s.items()}))


def measure_changes(outcome: Outcome, context: Context, largest: int) -> None:
    """One change in each large cluster, over one in the same kind of cluster of 100 functions."""
    pairs = {
        "generator-change-growth": (Case(largest), Case(100)),
        "generator-namespace-change": (Case(1_000, 1_000), Case(100)),
        "generator-policies-change": (Case(1_000, 1_000, limited=True), Case(100, limited=True)),
    }
    context.progress(SHARE_BEFORE_TURNS, "changes in turns")
    cases = list(dict.fromkeys(case for pair in pairs.values() for case in pair))
    conclude_changes(outcome, pairs, in_turns(cases, context.count(40, 2), context.seed), context.seed)


def conclude_changes(
    outcome: Outcome,
    pairs: Mapping[str, tuple[Case, Case]],
    found: Mapping[Case, Mapping[str, list[float]]],
    seed: int,
) -> None:
    """The figure of a pair is the worse ratio of those of an instance's and a function's change."""
    for name, (large, small) in pairs.items():
        ratios = {kind: ratio_of_medians(found[large][kind], found[small][kind], seed) for kind in found[large]}
        worst = max(ratios.values(), key=lambda ratio: ratio.value)
        outcome.figure(name, worst, ", ".join(f"{kind} {ratio.value:.2f}" for kind, ratio in ratios.items()))


def _row(one: Grown) -> list[float]:
    p99_ms = float(np.quantile(one.changes_ms, 0.99))
    sizes = [one.functions, 5 * one.functions, 3 * one.functions, one.rows]
    return [*sizes, round(one.full_s, 4), round(one.memory_mb, 1), round(median(one.changes_ms), 3), round(p99_ms, 3)]


def _rounded(row: list[Any]) -> list[Any]:
    return [round(value, 3) if isinstance(value, float) else value for value in row]

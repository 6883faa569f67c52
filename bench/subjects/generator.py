"""How the flow generator grows: time and memory from nothing, rows, and one instance's change, by functions.

Needs no lab and no root. Each size has five instances and three calls a function; best of a few rounds, for
other processes only ever add.
"""

from __future__ import annotations

import gc
import random
from dataclasses import dataclass, replace
from math import log
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np

from bench.outcome import Outcome
from bench.subject import Context
from controllers.desired.generator import Generator
from testbed.model import addressing
from testbed.model.cluster import ClusterState, Deployment, Function, Host, Instance, Phase, Role, Route

NODES = (1, 2, 3)
FUNCTIONS_A_NAMESPACE = 20
SIZES = (10, 100, 1_000, 10_000)
SHARE_BEFORE = {10: 0.0, 100: 0.01, 1_000: 0.04, 10_000: 0.2}
"""How far the work is when a size begins."""
JUDGED = 1_000
"""The size that has budgets; the growth is taken from 100 functions on, where what is constant has faded."""
GROWTH_FROM = 100


@dataclass(frozen=True)
class Grown:
    """One size's figures."""

    functions: int
    rows: int
    memory_mb: float
    full_s: float
    changes_ms: list[float]


def cluster(functions: int, seed: int = 1) -> ClusterState:
    """`functions` functions on the direct route, five instances and three calls each (in the mean)."""
    rng = random.Random(seed)
    names = [(f"ns{k // FUNCTIONS_A_NAMESPACE}", f"f{k % FUNCTIONS_A_NAMESPACE}") for k in range(functions)]
    spaces = list(dict.fromkeys(ns for ns, _ in names))
    edges: set[tuple[int, int]] = set()
    while len(edges) < 3 * functions:
        first = rng.randrange(functions) // FUNCTIONS_A_NAMESPACE * FUNCTIONS_A_NAMESPACE
        size = min(FUNCTIONS_A_NAMESPACE, functions - first)
        caller, callee = sorted(first + k for k in rng.sample(range(size), 2))
        edges.add((caller, callee))
    calls: dict[int, list[str]] = {k: [] for k in range(functions)}
    for caller, callee in sorted(edges):
        calls[caller].append(names[callee][1])
    made = [
        Function(ns, name, 256 + k, addressing.vip(256 + k), "bench", 5, k % 3 == 0, tuple(calls[k]))
        for k, (ns, name) in enumerate(names)
    ]
    used = dict.fromkeys(NODES, 10)
    instances = []
    for serial in range(5 * functions):
        of, node = made[serial % functions], rng.choice(NODES)
        used[node] += 1
        eip = addressing.eip(node, used[node])
        instances.append(Instance(f"{of.full_name}.{serial}", of.namespace, of.name, node, eip, Phase.READY))
    hosts = [
        Host("gateway", Role.GATEWAY, addressing.GATEWAY_ID, 1, addressing.eip(1, 1)),
        Host("client", Role.CLIENT, addressing.CLIENT_ID, 1, addressing.eip(1, 2)),
    ]
    return ClusterState(
        1,
        NODES,
        {
            ns: Deployment(ns, Route.DIRECT, id=addressing.FIRST_NAMESPACE_ID + number)
            for number, ns in enumerate(spaces)
        },
        {f.full_name: f for f in made},
        {i.id: i for i in instances},
        {h.name: h for h in hosts},
    )


def anonymous_mb() -> float:
    """This process's anonymous memory, in MB of 10^6 bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith("RssAnon:"))


def from_nothing(state: ClusterState, rounds: int) -> tuple[float, float, Generator]:
    """(seconds of the fastest round, MB that one generator keeps, a loaded generator)."""
    gc.collect()
    before_mb = anonymous_mb()
    generator, best_s = Generator(), float("inf")
    kept_mb = 0.0
    for turn in range(rounds):
        generator = Generator()
        started = perf_counter()
        generator.load(state)
        best_s = min(best_s, perf_counter() - started)
        if turn == 0:  # later rounds find memory that this one's end left behind
            kept_mb = anonymous_mb() - before_mb
    return best_s, kept_mb, generator


def changes_ms(generator: Generator, state: ClusterState, count: int) -> list[float]:
    """Instances that stop being ready and become ready again, one event at a time."""
    rng, times, version = random.Random(2), [], state.version
    instances = list(state.instances.values())
    for _ in range(count // 2):
        chosen = rng.choice(instances)
        for phase in (Phase.NOT_READY, Phase.READY):
            version += 1
            value = replace(chosen, phase=phase).to_json()
            event = {"type": "PUT", "version": version, "kind": "instance", "object": value}
            started = perf_counter()
            generator.apply(event)
            times.append((perf_counter() - started) * 1000)
    return times


def grow(functions: int, rounds: int, changes: int) -> Grown:
    state = cluster(functions)
    full_s, memory_mb, generator = from_nothing(state, rounds)
    rows = sum(len(tables.rows) for tables in generator.desired.values())
    return Grown(functions, rows, memory_mb, full_s, changes_ms(generator, state, changes))


def exponent(sizes: dict[int, float]) -> float:
    """k of time ~ size^k, by least squares over the logarithms. Needs two sizes."""
    points = [(log(size), log(value)) for size, value in sizes.items()]
    middle_x = sum(x for x, _ in points) / len(points)
    middle_y = sum(y for _, y in points) / len(points)
    above = sum((x - middle_x) * (y - middle_y) for x, y in points)
    return above / sum((x - middle_x) ** 2 for x, _ in points)


def run(context: Context) -> Outcome:
    outcome = Outcome()
    sizes = SIZES[:3] if context.quick else SIZES
    grown = []
    for size in sizes:
        context.progress(SHARE_BEFORE[size], f"{size} functions")
        rounds = 1 if context.quick else max(2, min(7, 20_000 // size))
        grown.append(grow(size, rounds, context.count(400, 20)))
    judged = next(one for one in grown if one.functions == JUDGED)
    outcome.figure("generator-full", judged.full_s)
    outcome.figure("generator-change", median(judged.changes_ms))
    outcome.figure(
        "generator-growth", exponent({one.functions: one.full_s for one in grown if one.functions >= GROWTH_FROM})
    )
    for one in grown:
        outcome.add_series(f"one change among {one.functions} functions", "ms", one.changes_ms)
    columns = ("functions", "instances", "calls", "rows", "from nothing s", "memory MB", "one change p50 ms", "p99 ms")
    outcome.table("The flow generator as the cluster grows", columns, [_row(one) for one in grown])
    return outcome


def _row(one: Grown) -> list[float]:
    p99_ms = float(np.quantile(one.changes_ms, 0.99))
    sizes = [one.functions, 5 * one.functions, 3 * one.functions, one.rows]
    return [*sizes, round(one.full_s, 4), round(one.memory_mb, 1), round(median(one.changes_ms), 3), round(p99_ms, 3)]

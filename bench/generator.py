"""How fast the flow generator is: from nothing, for one instance's change, and as the cluster grows.

python bench/generator.py. Needs no lab and no root. Budgets: 1 000 functions, 5 000 instances and 3 000
calls in 1 s; one instance's change in 1 ms; growth exponent 1.1.
"""

from __future__ import annotations

import random
import sys
from dataclasses import replace
from math import log
from pathlib import Path
from statistics import median, quantiles
from time import perf_counter

sys.path.insert(0, str(Path(__file__).parents[1]))

from controllers.generator import Generator
from testbed import addressing
from testbed.model import ClusterState, Deployment, Function, Host, Instance, Phase, Role, Route

NODES = (1, 2, 3)
FUNCTIONS_A_NAMESPACE = 20
SIZES = (125, 250, 500, 1000)
ROUNDS = 5
CHANGES = 400
FULL_BUDGET_S, CHANGE_BUDGET_MS, EXPONENT_BUDGET = 1.0, 1.0, 1.1


def cluster(functions: int, seed: int = 1) -> ClusterState:
    """`functions` functions on the direct route, five instances and three calls each (in the mean)."""
    rng = random.Random(seed)
    names = [(f"ns{k // FUNCTIONS_A_NAMESPACE}", f"f{k % FUNCTIONS_A_NAMESPACE}") for k in range(functions)]
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
        {ns: Deployment(ns, Route.DIRECT) for ns, _ in names},
        {f.full_name: f for f in made},
        {i.id: i for i in instances},
        {h.name: h for h in hosts},
    )


def from_nothing_s(state: ClusterState) -> tuple[float, Generator]:
    """Best of a few, for other processes only ever add."""
    times = []
    for _ in range(ROUNDS):
        generator = Generator()
        started = perf_counter()
        generator.load(state)
        times.append(perf_counter() - started)
    return min(times), generator


def changes_ms(generator: Generator, state: ClusterState) -> list[float]:
    """Instances that stop being ready and become ready again, one event at a time."""
    rng, times, version = random.Random(2), [], state.version
    instances = list(state.instances.values())
    for _ in range(CHANGES // 2):
        chosen = rng.choice(instances)
        for phase in (Phase.NOT_READY, Phase.READY):
            version += 1
            value = replace(chosen, phase=phase).to_json()
            event = {"type": "PUT", "version": version, "kind": "instance", "object": value}
            started = perf_counter()
            generator.apply(event)
            times.append((perf_counter() - started) * 1000)
    return times


def main() -> None:
    print("functions instances  calls   rows  from nothing, s  one change, ms: p50    p99")
    totals = {}
    for functions in SIZES:
        state = cluster(functions)
        totals[functions], generator = from_nothing_s(state)
        times = changes_ms(generator, state)
        rows = sum(len(tables.rows) for tables in generator.desired.values())
        p50, p99 = median(times), quantiles(times, n=100)[98]
        size = f"{functions:9} {5 * functions:9} {3 * functions:6} {rows:6}"
        print(f"{size} {totals[functions]:16.3f} {p50:20.3f} {p99:6.3f}")
    smallest, largest = SIZES[0], SIZES[-1]
    exponent = log(totals[largest] / totals[smallest]) / log(largest / smallest)
    print(f"growth exponent {exponent:.2f} (budget {EXPONENT_BUDGET})")
    print(f"from nothing {totals[largest]:.2f} s (budget {FULL_BUDGET_S})")
    print(f"one change {p50:.2f} ms (budget {CHANGE_BUDGET_MS})")
    if totals[largest] > FULL_BUDGET_S or p50 > CHANGE_BUDGET_MS or exponent > EXPONENT_BUDGET:
        sys.exit("over budget")


if __name__ == "__main__":
    main()

"""Cluster states of any size, and changes of them, for subjects that need no lab. Pure."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from testbed.model import addressing
from testbed.model.cluster import ClusterState, Deployment, Function, Host, Instance, Phase, Role, Route

NODES = (1, 2, 3)
FUNCTIONS_A_NAMESPACE = 20


def cluster(functions: int, a_namespace: int = FUNCTIONS_A_NAMESPACE, seed: int = 1) -> ClusterState:
    """`functions` functions on the direct route, `a_namespace` together, five instances and three calls each (mean)."""
    rng = random.Random(seed)
    names = [(f"ns{k // a_namespace}", f"f{k % a_namespace}") for k in range(functions)]
    spaces = list(dict.fromkeys(ns for ns, _ in names))
    edges: set[tuple[int, int]] = set()
    while len(edges) < 3 * functions:
        first = rng.randrange(functions) // a_namespace * a_namespace
        size = min(a_namespace, functions - first)
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
        *(Host(f"probe{n}", Role.PROBE, addressing.FIRST_PROBE_ID + n, n, addressing.eip(n, 3)) for n in NODES),
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


class Changes:
    """Objects of a state that change and change back, drawn by a seed."""

    def __init__(self, state: ClusterState, seed: int) -> None:
        self._rng, self._version = random.Random(seed), state.version
        self._instances, self._functions = list(state.instances.values()), list(state.functions.values())

    def of_an_instance(self) -> Iterator[dict[str, Any]]:
        """It stops being ready, and becomes ready again."""
        chosen = self._rng.choice(self._instances)
        yield self._put("instance", replace(chosen, phase=Phase.NOT_READY))
        yield self._put("instance", chosen)

    def of_a_function(self) -> Iterator[dict[str, Any]]:
        """It calls one function less, and then calls it again."""
        chosen = self._rng.choice(self._functions)
        yield self._put("function", replace(chosen, calls=chosen.calls[1:]))
        yield self._put("function", chosen)

    def _put(self, kind: str, value: Instance | Function) -> dict[str, Any]:
        self._version += 1
        return {"type": "PUT", "version": self._version, "kind": kind, "object": value.to_json()}

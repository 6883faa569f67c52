"""Clusters for the controller's tests: a small one by hand, and any by hypothesis."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from hypothesis import strategies as st

from testbed.model import addressing
from testbed.model.cluster import ClusterState, Deployment, Function, Host, Instance, Phase, Role, Route

NODES = (1, 2, 3)
D, G = addressing.FIRST_NAMESPACE_ID, addressing.FIRST_NAMESPACE_ID + 1
"""The ids of the small cluster's namespaces."""
HOSTS = (
    Host("gateway", Role.GATEWAY, addressing.GATEWAY_ID, 1, addressing.eip(1, 1)),
    Host("client", Role.CLIENT, addressing.CLIENT_ID, 1, addressing.eip(1, 2)),
    *(Host(f"probe{n}", Role.PROBE, addressing.FIRST_PROBE_ID + n, n, addressing.eip(n, 3)) for n in NODES),
)


def function(namespace: str, name: str, id_: int, *, ingress: bool = False, calls: Iterable[str] = ()) -> Function:
    return Function(namespace, name, id_, addressing.vip(id_), f"test/{name}:1", 1, ingress, tuple(calls))


STORES = {"mariadb": 3306, "mail": 587}


def store(namespace: str, name: str, id_: int) -> Function:
    return Function(namespace, name, id_, addressing.vip(id_), "", 1, port=STORES[name], store=True)


def instance(of: Function, serial: int, node: int, index: int, phase: Phase = Phase.READY) -> Instance:
    return Instance(f"{of.full_name}.{serial}", of.namespace, of.name, node, addressing.eip(node, index), phase)


def state(
    deployments: Iterable[Deployment], functions: Iterable[Function], instances: Iterable[Instance], version: int = 1
) -> ClusterState:
    return ClusterState(
        version,
        NODES,
        {d.namespace: d for d in deployments},
        {f.full_name: f for f in functions},
        {i.id: i for i in instances},
        {host.name: host for host in HOSTS},
    )


def small() -> ClusterState:
    """Namespace d (direct): a -> b -> c, a is ingress, c starts. Namespace g (gateway): a -> b."""
    da = function("d", "a", 256, ingress=True, calls=["b"])
    db, dc = function("d", "b", 257, calls=["c"]), function("d", "c", 258)
    ga, gb = function("g", "a", 259, ingress=True, calls=["b"]), function("g", "b", 260)
    return state(
        [Deployment("d", Route.DIRECT, id=D), Deployment("g", Route.GATEWAY, id=G)],
        [da, db, dc, ga, gb],
        [
            instance(da, 1, 2, 11),
            instance(db, 1, 3, 11),
            instance(db, 2, 2, 12),
            instance(dc, 1, 2, 13, Phase.PENDING),
            instance(ga, 1, 2, 14),
            instance(gb, 1, 3, 12),
        ],
    )


def put(value: Any, version: int) -> dict[str, Any]:
    return {"type": "PUT", "version": version, "kind": type(value).__name__.lower(), "object": value.to_json()}


def delete(value: Any, version: int) -> dict[str, Any]:
    return {**put(value, version), "type": "DELETE"}


def snapshot(of: ClusterState) -> dict[str, Any]:
    return {"type": "SNAPSHOT", "version": of.version, "object": of.to_json()}


@st.composite
def clusters(draw: st.DrawFn) -> ClusterState:
    """Up to two namespaces, each with its own acyclic application and stores, instances anywhere in any phase."""
    deployments, functions, instances = [], [], []
    used = dict.fromkeys(NODES, 10)
    for namespace in draw(st.sampled_from([("t",), ("t", "u")])):
        id_ = addressing.FIRST_NAMESPACE_ID + draw(st.integers(0, 3)) + 10 * len(deployments)
        deployments.append(Deployment(namespace, draw(st.sampled_from(Route)), id=id_))
        count = draw(st.integers(1, 4))
        for k in range(count):
            later = [f"f{j}" for j in range(k + 1, count)]
            calls = draw(st.lists(st.sampled_from(later), unique=True)) if later else []
            owns = tuple(draw(st.lists(st.sampled_from(sorted(STORES)), unique=True)))
            new = function(namespace, f"f{k}", 256 + len(functions), ingress=draw(st.booleans()), calls=calls)
            functions.append(replace(new, stores=owns))
        functions += [store(namespace, name, 256 + len(functions) + k) for k, name in enumerate(STORES)]
        for new in functions[-count - len(STORES) :]:
            for serial in range(draw(st.integers(0, 2))):
                node = draw(st.sampled_from(NODES))
                used[node] += 1
                instances.append(instance(new, serial, node, used[node], draw(st.sampled_from(Phase))))
    return state(deployments, functions, instances)

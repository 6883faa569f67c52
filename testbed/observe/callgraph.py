"""An application's call graph as it is shown: as its stack.yaml declares it, or as a namespace of a lab runs it.

Pure. `drawing.layout` gives it places, `drawing.svg` and `drawing.tree` draw it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from testbed.model.application import Application
from testbed.model.cluster import ClusterState, Function, Phase, Route

GATEWAY = "gateway"
"""The gateway's name among the switches' counters."""


@dataclass(frozen=True)
class Vertex:
    """A function or a store. What is None or "" is not known: no lab runs it, or nobody was there to count.

    `ready` and `wanted` are instances. `invocations` are the gateway's own count; `to_gateway` are the
    connections to the gateway that the switches counted.
    """

    name: str
    store: bool = False
    ingress: bool = False
    language: str = ""
    vip: str = ""
    ready: int | None = None
    wanted: int | None = None
    invocations: int | None = None
    to_gateway: int | None = None


@dataclass(frozen=True)
class Edge:
    """A call from a function to another or to a store.

    `calls` are the connections that the switches counted. They cannot where the call travels by the gateway
    (`by_gateway`): there they see who called the gateway, and whom the gateway called.
    """

    caller: str
    callee: str
    calls: int | None = None
    by_gateway: bool = False


@dataclass(frozen=True)
class CallGraph:
    """The graph, callers and callees by name. Without a `namespace` it is what the stack.yaml says."""

    application: str
    vertices: tuple[Vertex, ...]
    edges: tuple[Edge, ...]
    namespace: str = ""
    route: Route | None = None

    def vertex(self, name: str) -> Vertex:
        return next(vertex for vertex in self.vertices if vertex.name == name)

    def to_json(self) -> dict[str, Any]:
        return {
            "application": self.application,
            "namespace": self.namespace or None,
            "route": self.route.value if self.route else None,
            "functions": [_present(vertex, ("store",)) for vertex in self.vertices if not vertex.store],
            "stores": [_present(vertex, ("store", "ingress")) for vertex in self.vertices if vertex.store],
            "calls": [_present(edge, ()) for edge in self.edges],
        }


def _present(value: Vertex | Edge, without: tuple[str, ...]) -> dict[str, Any]:
    return {key: one for key, one in asdict(value).items() if key not in without and one not in (None, "")}


def declared(application: Application) -> CallGraph:
    """The graph that a stack.yaml declares."""
    functions = [
        Vertex(spec.name, ingress=spec.ingress, language=spec.language) for spec in application.functions
    ]  # fmt: skip
    edges = [
        Edge(spec.name, callee)
        for spec in application.functions
        for callee in (*spec.calls, *spec.stores)
    ]  # fmt: skip
    vertices = (*functions, *(Vertex(store, store=True) for store in application.stores()))
    return CallGraph(application.name, vertices, tuple(edges))


def deployed(
    application: Application,
    state: ClusterState,
    namespace: str,
    counted: Iterable[Mapping[str, Any]] | None,
    invocations: Mapping[str, int] | None,
) -> CallGraph:
    """The graph of those of the application's functions that `namespace` holds.

    `counted` is `calls` of the controller's GET /counters, `invocations` the gateway's by `name.namespace`;
    None where it did not answer.
    """
    totals = None if counted is None else _totals(counted)
    languages = {spec.name: spec.language for spec in application.functions}
    here = {one.name: one for one in state.functions.values() if one.namespace == namespace}
    order = [*(name for name in languages if name in here), *(name for name in here if here[name].store)]
    by_gateway = state.route(namespace) is Route.GATEWAY

    def total(caller: str, callee: str) -> int | None:
        return None if totals is None else totals.get((caller, callee), 0)

    def vertex(function: Function) -> Vertex:
        own = [one for one in state.instances.values() if one.function_name == function.full_name]
        store = function.store
        return Vertex(
            function.name,
            store=store,
            ingress=function.ingress,
            language=languages.get(function.name, ""),
            vip=function.vip,
            ready=sum(one.phase is Phase.READY for one in own),
            wanted=function.replicas,
            invocations=None if store or invocations is None else invocations.get(function.full_name, 0),
            to_gateway=total(function.full_name, GATEWAY) if by_gateway and not store else None,
        )

    def edge(caller: Function, callee: Function) -> Edge:
        indirect = by_gateway and not callee.store
        calls = None if indirect else total(caller.full_name, callee.full_name)
        return Edge(caller.name, callee.name, calls, indirect)

    edges = [
        edge(here[name], here[callee])
        for name in order
        for callee in (*here[name].calls, *here[name].stores)
        if callee in here
    ]
    vertices = tuple(vertex(here[name]) for name in order)
    return CallGraph(application.name, vertices, tuple(edges), namespace, state.route(namespace))


def _totals(counted: Iterable[Mapping[str, Any]]) -> dict[tuple[str, str], int]:
    """Connections by (caller, callee), of all nodes together."""
    totals: dict[tuple[str, str], int] = {}
    for call in counted:
        pair = call["caller"], call["callee"]
        totals[pair] = totals.get(pair, 0) + call["packets"]
    return totals

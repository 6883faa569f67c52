"""A call graph as a tree on the terminal: from each function that nobody calls down its calls."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text
from rich.tree import Tree

from testbed.observe.callgraph import CallGraph, Edge, Vertex
from testbed.observe.drawing.svg import grouped, heading

KEY = "▶ ingress   ● internal   ▤ store   → call, and its connections as the switches counted   ⇢ call by the gateway"


def tree(graph: CallGraph) -> Tree:
    """The graph; what is called from several places is described once, and named at the others."""
    called = {edge.callee for edge in graph.edges}
    root = Tree(Text(heading(graph), "bold"), guide_style="dim")
    shown: set[str] = set()
    for vertex in graph.vertices:
        if vertex.name not in called and not vertex.store:
            _add(root, graph, vertex, None, shown)
    return root


def _add(parent: Tree, graph: CallGraph, vertex: Vertex, edge: Edge | None, shown: set[str]) -> None:
    calls = [one for one in graph.edges if one.caller == vertex.name]
    again = vertex.name in shown
    branch = parent.add(_line(vertex, edge, described=not again, more=again and bool(calls)))
    shown.add(vertex.name)
    for call in () if again else calls:
        _add(branch, graph, graph.vertex(call.callee), call, shown)


def _line(vertex: Vertex, edge: Edge | None, described: bool, more: bool) -> Text:
    text = Text()
    if edge is not None:
        text.append("⇢ " if edge.by_gateway else "→ ", "dim")
        if edge.calls is not None:
            text.append(f"{grouped(edge.calls)}  ", "green" if edge.calls else "dim")
    sign = ("▤", "magenta") if vertex.store else ("▶", "blue") if vertex.ingress else ("●", "")
    text.append(f"{sign[0]} ", sign[1])
    text.append(vertex.name, "bold")
    if described:
        for part, style in _facts(vertex):
            text.append(f"  {part}", style)
    if more:
        text.append("  (its calls: above)", "dim")
    return text


def _facts(vertex: Vertex) -> Sequence[tuple[str, str]]:
    if vertex.wanted is None:
        return [(vertex.language, "dim")] if vertex.language else []
    short = (vertex.ready or 0) < vertex.wanted
    facts = [(f"{vertex.ready}/{vertex.wanted} ready", "red" if short else ""), (vertex.vip, "cyan")]
    if vertex.invocations is not None:
        facts.append((f"invoked by the gateway: {grouped(vertex.invocations)}", "dim"))
    if vertex.to_gateway is not None:
        facts.append((f"connections to the gateway: {grouped(vertex.to_gateway)}", "dim"))
    return facts

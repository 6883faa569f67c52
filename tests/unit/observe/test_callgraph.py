"""A call graph says what a namespace runs, and only counts what somebody counted."""

from __future__ import annotations

import io
from dataclasses import replace
from xml.etree import ElementTree as Xml

from rich.console import Console

from testbed.model.application import Application, FunctionSpec
from testbed.model.cluster import ClusterState, Deployment, Function, Instance, Phase, Route
from testbed.observe import callgraph
from testbed.observe.callgraph import CallGraph, Edge, Vertex
from testbed.observe.drawing import svg as callgraph_svg
from testbed.observe.drawing import tree

SHOP = Application(
    "shop",
    (
        FunctionSpec("front", "python3-http", "front", "shop/front", ingress=True, calls=("price", "stock")),
        FunctionSpec("price", "node20", "price", "shop/price", calls=("stock",)),
        FunctionSpec("stock", "ruby", "stock", "shop/stock"),
    ),
)
COUNTED = [
    {"caller": "front.t", "callee": "price.t", "node": 2, "packets": 4},
    {"caller": "front.t", "callee": "price.t", "node": 3, "packets": 3},
    {"caller": "front.other", "callee": "price.other", "node": 2, "packets": 100},
    {"caller": "front.t", "callee": "gateway", "node": 2, "packets": 11},
]
TOY = CallGraph(
    "toy",
    (Vertex("a<b", ingress=True), Vertex("c", language="ruby"), Vertex("data", store=True)),
    (Edge("a<b", "c", 12345), Edge("c", "data", 0)),
)


def state(route: Route, left_out: tuple[str, ...] = ()) -> ClusterState:
    functions = {
        f"{spec.name}.t": Function("t", spec.name, 256 + number, f"10.96.1.{number}", spec.image, number,
                                   spec.ingress, spec.calls)
        for number, spec in enumerate(SHOP.functions) if spec.name not in left_out
    }  # fmt: skip
    ready = Instance("stock.t.1", "t", "stock", 2, "10.202.0.5", Phase.READY)
    pending = Instance("stock.t.2", "t", "stock", 2, "10.202.0.6", Phase.PENDING)
    return ClusterState(
        deployments={"t": Deployment("t", route)},
        functions=functions,
        instances={one.id: one for one in (ready, pending)},
    )


def test_a_stack_file_gives_functions_languages_and_calls_but_no_counts() -> None:
    graph = callgraph.declared(SHOP)
    assert [(one.name, one.ingress, one.language) for one in graph.vertices] == [
        ("front", True, "python3-http"), ("price", False, "node20"), ("stock", False, "ruby"),
    ]  # fmt: skip
    assert graph.edges == (Edge("front", "price"), Edge("front", "stock"), Edge("price", "stock"))
    assert graph.to_json()["calls"][0] == {"caller": "front", "callee": "price", "by_gateway": False}


def test_on_the_direct_route_each_call_has_the_sum_of_what_the_nodes_counted() -> None:
    graph = callgraph.deployed(SHOP, state(Route.DIRECT), "t", COUNTED, {"front.t": 9})
    assert {(edge.caller, edge.callee): edge.calls for edge in graph.edges} == {
        ("front", "price"): 7, ("front", "stock"): 0, ("price", "stock"): 0,
    }  # fmt: skip
    front, stock = graph.vertex("front"), graph.vertex("stock")
    assert (front.invocations, front.to_gateway, front.vip) == (9, None, "10.96.1.0")
    assert (stock.ready, stock.wanted, stock.invocations) == (1, 2, 0)


def test_on_the_gateway_route_no_count_is_made_up_for_a_call() -> None:
    graph = callgraph.deployed(SHOP, state(Route.GATEWAY), "t", COUNTED, {})
    assert [(edge.calls, edge.by_gateway) for edge in graph.edges] == [(None, True)] * 3
    assert graph.vertex("front").to_gateway == 11


def test_calls_to_stores_are_counted_on_either_route() -> None:
    functions = tuple(replace(one, stores=("mail",)) if one.name == "stock" else one for one in SHOP.functions)
    application = replace(SHOP, functions=functions)
    assert callgraph.declared(application).edges[-1] == Edge("stock", "mail")
    assert callgraph.declared(application).vertices[-1] == Vertex("mail", store=True)
    for route in Route:
        before = state(route)
        stock = replace(before.functions["stock.t"], stores=("mail",))
        mail = Function("t", "mail", 300, "10.96.1.9", "", 1, port=587, store=True)
        found = replace(before, functions={**before.functions, "stock.t": stock, "mail.t": mail})
        counted = [{"caller": "stock.t", "callee": "mail.t", "node": 2, "packets": 5}]
        graph = callgraph.deployed(application, found, "t", counted, {})
        assert graph.edges[-1] == Edge("stock", "mail", 5)
        assert (graph.vertex("mail").store, graph.vertex("mail").invocations) == (True, None)
        assert [one["name"] for one in graph.to_json()["stores"]] == ["mail"]


def test_what_nobody_counted_is_not_zero() -> None:
    graph = callgraph.deployed(SHOP, state(Route.DIRECT), "t", None, None)
    assert {edge.calls for edge in graph.edges} == {None}
    assert graph.vertex("front").invocations is None


def test_functions_that_are_not_deployed_are_left_out_with_their_calls() -> None:
    graph = callgraph.deployed(SHOP, state(Route.DIRECT, ("price",)), "t", [], {})
    assert [one.name for one in graph.vertices] == ["front", "stock"]
    assert [(edge.caller, edge.callee) for edge in graph.edges] == [("front", "stock")]


def texts(svg: str) -> list[str]:
    return [element.text or "" for element in Xml.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]


def test_the_drawing_names_everything_and_stands_alone() -> None:
    svg = callgraph_svg.draw([TOY])
    found = texts(svg)
    assert {"a<b", "c", "data", "ruby", "ingress", "12\u202f345", "0"} <= set(found)
    assert "toy, as its stack.yaml declares it" in found
    assert "store" in found  # the legend
    root = Xml.fromstring(svg)
    assert root.get("role") == "img"
    titles = [element.text for element in root.iter("{http://www.w3.org/2000/svg}title")]
    assert {"Call graph of toy", "a<b calls c (12345 connections)", "data (store)"} <= set(titles)
    attributes = [key for element in root.iter() for key in element.attrib]
    assert "id" not in attributes  # two drawings in one page must not meet
    assert not any("href" in key or key == "class" for key in attributes)


def test_calls_by_the_gateway_are_dashed_and_explained() -> None:
    graph = callgraph.deployed(SHOP, state(Route.GATEWAY), "t", COUNTED, {})
    svg = callgraph_svg.draw([graph])
    assert svg.count("stroke-dasharray") == len(graph.edges) + 1  # and one in the legend
    assert "call by the gateway: the switches see only who calls it and whom it calls" in texts(svg)
    assert "connections to the gateway: 11" in texts(svg)


def test_a_function_that_lacks_instances_is_marked() -> None:
    graph = callgraph.deployed(SHOP, state(Route.DIRECT), "t", [], {})
    root = Xml.fromstring(callgraph_svg.draw([graph]))
    marked = [one.text for one in root.iter("{http://www.w3.org/2000/svg}text") if one.get("fill") == callgraph_svg.BAD]
    assert marked == ["0/1 ready · 10.96.1.1", "1/2 ready · 10.96.1.2"]


def test_the_tree_describes_each_function_once() -> None:
    graph = callgraph.deployed(SHOP, state(Route.DIRECT), "t", COUNTED, {"front.t": 9})
    console = Console(file=io.StringIO(), width=200)
    console.print(tree.tree(graph))
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert [line.rstrip() for line in lines] == [
        "shop in namespace t, direct route",
        "└── ▶ front  0/0 ready  10.96.1.0  invoked by the gateway: 9",
        "    ├── → 7  ● price  0/1 ready  10.96.1.1  invoked by the gateway: 0",
        "    │   └── → 0  ● stock  1/2 ready  10.96.1.2  invoked by the gateway: 0",
        "    └── → 0  ● stock",
    ]

"""A call graph as an SVG of its own: no fonts, styles, scripts or ids from outside, so that it can stand in a page.

What colour says is said by shape or words too; every box and wire has a title that screen readers and pointers find.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from xml.etree import ElementTree as Xml

from testbed.model.cluster import Route
from testbed.observe.callgraph import CallGraph, Edge, Vertex
from testbed.observe.drawing.layout import Layout, Pair, Point, Rectangle, Size, Wire, arrange

FONT = "'DejaVu Sans', Verdana, Helvetica, Arial, sans-serif"
NAME_PX, TEXT_PX, HEAD_PX = 12.5, 10.5, 15.0
_BOLD_EM, _TEXT_EM = 0.70, 0.62
"""Width of a character, in em: the widest of the fonts above, so that no other one overflows."""
LINE_PX, PAD_PX, MARGIN_PX = 15.0, 9.0, 24.0
CAP_PX = 7.0
"""Height of a store's lid."""

INK, FAINT, LINE = "#1f2933", "#52606d", "#7b8794"
FUNCTION_FILL, INGRESS_FILL, STORE_FILL = "#f5f7fa", "#e3effa", "#f1ebf7"
FUNCTION_LINE, INGRESS_LINE, STORE_LINE = "#7b8794", "#0b6fb0", "#6a4c93"
BAD = "#b3261e"


def draw(graphs: Sequence[CallGraph]) -> str:
    """The SVG document: a panel for each graph, one below the other, then a legend."""
    panels = [(graph, *_arranged(graph)) for graph in graphs]
    legend_width, legend_height = _legend_size(graphs)
    width = max([layout.width for _, layout, _ in panels] + [legend_width, _head_width(graphs)]) + 2 * MARGIN_PX
    height = MARGIN_PX + sum(_panel_height(layout) for _, layout, _ in panels) + legend_height + MARGIN_PX
    root = Xml.Element(
        "svg",
        {
            "xmlns": "http://www.w3.org/2000/svg",
            "viewBox": f"0 0 {width:.0f} {height:.0f}",
            "width": f"{width:.0f}",
            "height": f"{height:.0f}",
            "role": "img",
            "font-family": FONT,
            "fill": INK,
        },
    )
    Xml.SubElement(root, "title").text = f"Call graph of {graphs[0].application}"
    Xml.SubElement(root, "desc").text = " ".join(map(describe, graphs))
    _rectangle(root, Rectangle(0, 0, width, height), fill="#ffffff")
    top = MARGIN_PX
    for graph, layout, texts in panels:
        _text(root, MARGIN_PX, top + HEAD_PX, heading(graph), HEAD_PX, bold=True)
        shifted = Xml.SubElement(root, "g", {"transform": f"translate({MARGIN_PX:.0f} {top + 2 * HEAD_PX:.0f})"})
        _panel(shifted, graph, layout, texts)
        top += _panel_height(layout)
    _legend(Xml.SubElement(root, "g", {"transform": f"translate({MARGIN_PX:.0f} {top:.0f})"}), graphs)
    return Xml.tostring(root, encoding="unicode") + "\n"


def heading(graph: CallGraph) -> str:
    """What a panel shows, in one line."""
    if graph.route is None:
        return f"{graph.application}, as its stack.yaml declares it"
    return f"{graph.application} in namespace {graph.namespace}, {graph.route.value} route"


def describe(graph: CallGraph) -> str:
    """The whole graph in words."""
    calls = "; ".join(f"{edge.caller} calls {edge.callee}{_times(edge)}" for edge in graph.edges)
    ingress = ", ".join(vertex.name for vertex in graph.vertices if vertex.ingress)
    return f"{heading(graph)}. Ingress: {ingress or 'none'}. {calls or 'No calls'}."


def lines_of(vertex: Vertex) -> list[str]:
    """What stands in a box below the name."""
    if vertex.wanted is None:
        return [vertex.language] if vertex.language else []
    lines = [f"{vertex.ready}/{vertex.wanted} ready · {vertex.vip}"]
    if vertex.invocations is not None:
        lines.append(f"invoked by the gateway: {grouped(vertex.invocations)}")
    if vertex.to_gateway is not None:
        lines.append(f"connections to the gateway: {grouped(vertex.to_gateway)}")
    return lines


def grouped(number: int) -> str:
    """A count with a thin gap between thousands."""
    return f"{number:,}".replace(",", "\u202f")


def _arranged(graph: CallGraph) -> tuple[Layout, dict[Pair, str]]:
    """The layout, and the texts on edges."""
    texts = {(edge.caller, edge.callee): grouped(edge.calls) for edge in graph.edges if edge.calls is not None}
    labels = {pair: Size(_width(text, TEXT_PX, _TEXT_EM) + 4, TEXT_PX + 3) for pair, text in texts.items()}
    functions = [_box_size(vertex) for vertex in graph.vertices if not vertex.store]
    width = max((size.width for size in functions), default=0.0)
    sizes = {
        vertex.name: _box_size(vertex) if vertex.store else Size(width, _box_size(vertex).height)
        for vertex in graph.vertices
    }
    return arrange(sizes, [(edge.caller, edge.callee) for edge in graph.edges], labels), texts


def _box_size(vertex: Vertex) -> Size:
    tag = _width(" ingress", TEXT_PX, _TEXT_EM) if vertex.ingress else 0.0
    lines = lines_of(vertex)
    widest = max([_width(vertex.name, NAME_PX, _BOLD_EM) + tag, *(_width(one, TEXT_PX, _TEXT_EM) for one in lines)])
    lid = 2 * CAP_PX if vertex.store else 0.0
    return Size(widest + 2 * PAD_PX, LINE_PX * (1 + len(lines)) + 2 * PAD_PX - 4 + lid)


def _width(text: str, size_px: float, em: float) -> float:
    return len(text) * size_px * em


def _head_width(graphs: Sequence[CallGraph]) -> float:
    return max(_width(heading(graph), HEAD_PX, _BOLD_EM) for graph in graphs)


def _panel_height(layout: Layout) -> float:
    return 2 * HEAD_PX + layout.height + MARGIN_PX


def _panel(parent: Xml.Element, graph: CallGraph, layout: Layout, texts: dict[Pair, str]) -> None:
    edges = {(edge.caller, edge.callee): edge for edge in graph.edges}
    for wire in layout.wires:
        _wire(parent, wire, edges[wire.caller, wire.callee], layout.downward)
    for wire in layout.wires:
        if wire.label:
            _label(parent, wire.label, texts[wire.caller, wire.callee])
    for vertex in graph.vertices:
        _box(parent, vertex, layout.boxes[vertex.name])


def _box(parent: Xml.Element, vertex: Vertex, box: Rectangle) -> None:
    group = Xml.SubElement(parent, "g")
    kind = "store" if vertex.store else "ingress function" if vertex.ingress else "internal function"
    Xml.SubElement(group, "title").text = ", ".join([f"{vertex.name} ({kind})", *lines_of(vertex)])
    if vertex.store:
        _cylinder(group, box)
    elif vertex.ingress:
        _rectangle(group, box, fill=INGRESS_FILL, stroke=INGRESS_LINE, width="2", radius=4)
        _rectangle(group, Rectangle(box.x, box.y, 5, box.height), fill=INGRESS_LINE, radius=2)
    else:
        _rectangle(group, box, fill=FUNCTION_FILL, stroke=FUNCTION_LINE, width="1.2", radius=4)
    lines = lines_of(vertex)
    used = LINE_PX * (1 + len(lines))
    first = box.y + (box.height - used) / 2 + NAME_PX - 1 + (CAP_PX if vertex.store else 0)
    left = box.x + PAD_PX + (3 if vertex.ingress else 0)
    _text(group, left, first, vertex.name, NAME_PX, bold=True)
    if vertex.ingress:
        _text(group, box.x + box.width - 6, first, "ingress", TEXT_PX, colour=INGRESS_LINE, anchor="end")
    missing = vertex.wanted is not None and (vertex.ready or 0) < vertex.wanted
    for number, line in enumerate(lines, 1):
        colour = BAD if missing and number == 1 else FAINT
        _text(group, left, first + number * LINE_PX, line, TEXT_PX, colour=colour)


def _cylinder(parent: Xml.Element, box: Rectangle) -> None:
    radius = f"{box.width / 2:.1f} {CAP_PX:.1f} 0 0"
    left, right, top, bottom = box.x, box.x + box.width, box.y + CAP_PX, box.y + box.height - CAP_PX
    body = f"M{left:.1f} {top:.1f} V{bottom:.1f} A{radius} 0 {right:.1f} {bottom:.1f} V{top:.1f}"
    lid = f"M{left:.1f} {top:.1f} A{radius} 1 {right:.1f} {top:.1f} A{radius} 1 {left:.1f} {top:.1f} Z"
    for shape in (body, lid):
        Xml.SubElement(parent, "path", {"d": shape, "fill": STORE_FILL, "stroke": STORE_LINE, "stroke-width": "1.5"})


def _wire(parent: Xml.Element, wire: Wire, edge: Edge, downward: bool) -> None:
    group = Xml.SubElement(parent, "g")
    Xml.SubElement(group, "title").text = f"{edge.caller} calls {edge.callee}{_times(edge)}"
    attributes = {"d": _path(wire.points, downward), "fill": "none", "stroke": LINE, "stroke-width": "1.4"}
    if edge.by_gateway:
        attributes["stroke-dasharray"] = "5 4"
    Xml.SubElement(group, "path", attributes)
    _arrow(group, wire.points[-1], downward)


def _path(points: Sequence[Point], downward: bool) -> str:
    """Straight and bent in turn; a bend begins and ends along the layers' direction."""
    path = f"M{points[0][0]:.1f} {points[0][1]:.1f}"
    for number, (x, y) in enumerate(points[1:], 1):
        before = points[number - 1]
        if number % 2:
            path += f" L{x:.1f} {y:.1f}"
            continue
        if downward:
            middle = (before[1] + y) / 2
            path += f" C{before[0]:.1f} {middle:.1f} {x:.1f} {middle:.1f} {x:.1f} {y:.1f}"
        else:
            middle = (before[0] + x) / 2
            path += f" C{middle:.1f} {before[1]:.1f} {middle:.1f} {y:.1f} {x:.1f} {y:.1f}"
    return path


def _arrow(parent: Xml.Element, tip: Point, downward: bool) -> None:
    x, y = tip
    back = [(x - 4, y - 9), (x + 4, y - 9)] if downward else [(x - 9, y - 4), (x - 9, y + 4)]
    Xml.SubElement(
        parent, "polygon", {"points": " ".join(f"{a:.1f},{b:.1f}" for a, b in [tip, *back]), "fill": LINE}
    )  # fmt: skip


def _label(parent: Xml.Element, place: Rectangle, text: str) -> None:
    _rectangle(parent, place, fill="#ffffff", radius=2)
    middle = place.x + place.width / 2, place.y + place.height / 2 + TEXT_PX * 0.36
    _text(parent, *middle, text, TEXT_PX, anchor="middle")


def _times(edge: Edge) -> str:
    if edge.by_gateway:
        return " by the gateway"
    return "" if edge.calls is None else f" ({edge.calls} connections)"


# The legend


def _legend_texts(graphs: Sequence[CallGraph]) -> list[str]:
    texts = ["function that may be invoked from outside (ingress)", "internal function"]
    texts += ["store"] if any(vertex.store for graph in graphs for vertex in graph.vertices) else []
    counted = any(edge.calls is not None for graph in graphs for edge in graph.edges)
    if any(graph.route is not Route.GATEWAY for graph in graphs) or counted:
        texts.append("call" + ("; its number: connections that the switches counted" if counted else ""))
    if any(edge.by_gateway for graph in graphs for edge in graph.edges):
        texts.append("call by the gateway: the switches see only who calls it and whom it calls")
    return texts


def _legend_size(graphs: Sequence[CallGraph]) -> tuple[float, float]:
    texts = _legend_texts(graphs)
    return max(_width(text, TEXT_PX, _TEXT_EM) for text in texts) + 44, len(texts) * (LINE_PX + 5)


def _legend(parent: Xml.Element, graphs: Sequence[CallGraph]) -> None:
    for number, text in enumerate(_legend_texts(graphs)):
        top = number * (LINE_PX + 5)
        sign = Rectangle(0, top, 30, LINE_PX)
        if text == "store":
            _cylinder(parent, Rectangle(sign.x + 4, sign.y - 3, 22, LINE_PX + 5))
        elif text.startswith("call"):
            middle = top + LINE_PX / 2
            dash = {"stroke-dasharray": "5 4"} if "by the gateway" in text else {}
            line = {"d": f"M0 {middle:.1f} H30", "stroke": LINE, "stroke-width": "1.4", **dash}
            Xml.SubElement(parent, "path", line)
            _arrow(parent, (30, middle), downward=False)
        elif "outside" in text:
            _rectangle(parent, sign, fill=INGRESS_FILL, stroke=INGRESS_LINE, width="2", radius=4)
            _rectangle(parent, Rectangle(sign.x, sign.y, 5, sign.height), fill=INGRESS_LINE, radius=2)
        else:
            _rectangle(parent, sign, fill=FUNCTION_FILL, stroke=FUNCTION_LINE, width="1.2", radius=4)
        _text(parent, 40, top + LINE_PX / 2 + TEXT_PX * 0.36, text, TEXT_PX, colour=FAINT)


# Elements


def _rectangle(
    parent: Xml.Element, place: Rectangle, *, fill: str, stroke: str = "none", width: str = "1", radius: float = 0
) -> None:
    sides = {"x": place.x, "y": place.y, "width": place.width, "height": place.height, "rx": radius}
    numbers = {key: f"{value:.1f}" for key, value in sides.items() if not math.isclose(value, 0)}
    Xml.SubElement(parent, "rect", {**numbers, "fill": fill, "stroke": stroke, "stroke-width": width})


def _text(
    parent: Xml.Element, x: float, y: float, text: str, size: float, *,
    bold: bool = False, colour: str = INK, anchor: str = "start",
) -> None:  # fmt: skip
    attributes = {"x": f"{x:.1f}", "y": f"{y:.1f}", "font-size": f"{size}", "fill": colour, "text-anchor": anchor}
    if bold:
        attributes["font-weight"] = "bold"
    Xml.SubElement(parent, "text", attributes).text = text

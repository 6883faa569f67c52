"""Nothing in a layout lies on anything else, whatever the graph; callers stand before callees."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from testbed.observe.drawing.layout import Layout, Pair, Rectangle, Size, arrange, layers
from testbed.observe.drawing.order import Slot, crossings, sort_layers

NEARLY = 1e-6

# The shape of a shop: three stars, three single functions, nine owners of one store and one of another.
STARS = {"f3": ("f4", "f5", "f6"), "f8": ("f9", "f10", "f11"), "f12": ("f13", "f14", "f15")}
OWNERS = ("f1", "f2", "f5", "f6", "f7", "f9", "f11", "f13", "f14")
SHOP: list[Pair] = [
    *((hub, leaf) for hub, leaves in STARS.items() for leaf in leaves),
    *((owner, "data") for owner in OWNERS),
    ("f4", "mail"),
]
SHOP_NAMES = [*(f"f{number}" for number in range(1, 16)), "data", "mail"]


def boxes_of(names: list[str]) -> dict[str, Size]:
    return {name: Size(80 + 7 * (index % 5), 40 + 9 * (index % 3)) for index, name in enumerate(names)}


def labels_of(edges: list[Pair]) -> dict[Pair, Size]:
    return {edge: Size(12 + 5 * (index % 7), 13) for index, edge in enumerate(edges)}


def shrunk(one: Rectangle) -> Rectangle:
    return Rectangle(one.x + NEARLY, one.y + NEARLY, one.width - 2 * NEARLY, one.height - 2 * NEARLY)


def straight_pieces(layout: Layout) -> list[tuple[Pair, Rectangle]]:
    """The straight parts of wires, as very thin rectangles."""
    found = []
    for wire in layout.wires:
        for (x, y), (x2, y2) in zip(wire.points[::2], wire.points[1::2], strict=True):
            piece = Rectangle(min(x, x2), min(y, y2), abs(x - x2) + NEARLY, abs(y - y2) + NEARLY)
            found.append(((wire.caller, wire.callee), piece))
    return found


def assert_clear(layout: Layout) -> None:
    """Boxes and labels are apart, no straight piece crosses a box or another's label, all is inside the sheet."""
    labels = {(wire.caller, wire.callee): wire.label for wire in layout.wires if wire.label}
    solid = [*map(shrunk, layout.boxes.values()), *map(shrunk, labels.values())]
    for one, other in itertools.combinations(solid, 2):
        assert not one.overlaps(other)
    for pair, piece in straight_pieces(layout):
        for name, box in layout.boxes.items():
            assert name in pair or not piece.overlaps(shrunk(box))
        for other, label in labels.items():
            assert pair == other or not piece.overlaps(shrunk(label))
    for one in solid:
        assert min(one.x, one.y) >= 0
        assert one.x + one.width <= layout.width + NEARLY
        assert one.y + one.height <= layout.height + NEARLY


def assert_forward(layout: Layout) -> None:
    """Along the layers every wire only goes on: bends lie between layers, where no box is."""
    axis = 1 if layout.downward else 0
    for wire in layout.wires:
        alongs = [point[axis] for point in wire.points]
        assert alongs == sorted(alongs)
        caller, callee = layout.boxes[wire.caller], layout.boxes[wire.callee]
        end = caller.y + caller.height if layout.downward else caller.x + caller.width
        assert abs(alongs[0] - end) < NEARLY
        assert abs(alongs[-1] - (callee.y if layout.downward else callee.x)) < NEARLY


@st.composite
def graphs(draw: st.DrawFn) -> tuple[list[str], list[Pair]]:
    names = [f"v{number}" for number in range(draw(st.integers(1, 12)))]
    possible = list(itertools.combinations(names, 2))
    edges = draw(st.lists(st.sampled_from(possible), unique=True, max_size=24)) if possible else []
    return names, edges


@given(graphs(), st.booleans(), st.booleans())
def test_nothing_overlaps_in_any_graph(graph: tuple[list[str], list[Pair]], labelled: bool, downward: bool) -> None:
    names, edges = graph
    layout = arrange(boxes_of(names), edges, labels_of(edges) if labelled else {}, downward)
    assert set(layout.boxes) == set(names)
    assert {(wire.caller, wire.callee) for wire in layout.wires} == set(edges)
    assert_clear(layout)
    assert_forward(layout)


def test_a_shop_of_15_functions_and_two_stores_is_clear_and_fits_a_page() -> None:
    layout = arrange(boxes_of(SHOP_NAMES), SHOP, labels_of(SHOP))
    assert not layout.downward
    assert_clear(layout)
    assert layout.width < 800
    assert layout.height < 900


def test_stores_stand_behind_every_owner() -> None:
    found = layers(SHOP_NAMES, SHOP)
    assert {found[name] for name in ("f1", "f3", "f8", "f12")} == {0}
    assert found["f4"] == 1
    assert found["data"] == found["mail"] == 2


def test_a_long_chain_is_drawn_downward() -> None:
    names = [f"c{number}" for number in range(16)]
    edges = list(itertools.pairwise(names))
    layout = arrange(boxes_of(names), edges)
    assert layout.downward
    assert layout.height > 5 * layout.width


def test_the_same_graph_gives_the_same_layout() -> None:
    assert arrange(boxes_of(SHOP_NAMES), SHOP) == arrange(boxes_of(SHOP_NAMES), SHOP)


def test_order_removes_the_crossings_that_can_be_removed() -> None:
    upper, lower = [Slot(name, 10) for name in "abc"], [Slot(name, 10) for name in "xyz"]
    links = [(upper[0], lower[2]), (upper[1], lower[1]), (upper[2], lower[0])]
    assert crossings([upper, lower], links) == 3
    assert crossings(sort_layers([upper, lower], links), links) == 0


def test_an_empty_graph_has_a_layout() -> None:
    assert arrange({}, []) == Layout(0.0, 0.0, False, {}, ())

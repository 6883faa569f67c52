"""Where the boxes and wires of an acyclic graph go: layers from callers to callees, few crossings, no overlap.

Pure geometry after Sugiyama: layers by the longest way, order by barycentres, places by least squares. A wire that
passes a layer gets a lane of its own there. Sizes and places are in px; knows neither functions nor colours.

Layers follow each other *along* x (or y, `downward`); the boxes of a layer stand *across*. Between two layers there
are a zone in which wires run straight and labels stand, one in which wires bend, and another straight one.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from testbed.observe.drawing.order import Link, Slot, place, sort_layers

BEND_PX = 56.0
TAIL_PX, HEAD_PX = 8.0, 18.0
"""How long a wire is straight, at least, where it leaves a box and where it enters one."""
LABEL_GAP_PX = 4.0
PORT_PITCH_PX = 9.0
LANE_PX = 4.0
BOX_GAP_PX = 18.0
DEEP = 6
"""A graph of more layers is drawn downward."""

Pair = tuple[str, str]
Point = tuple[float, float]


@dataclass(frozen=True)
class Size:
    width: float
    height: float


@dataclass(frozen=True)
class Rectangle:
    x: float
    y: float
    width: float
    height: float

    def overlaps(self, other: Rectangle) -> bool:
        return (
            self.x < other.x + other.width
            and other.x < self.x + self.width
            and self.y < other.y + other.height
            and other.y < self.y + self.height
        )


@dataclass(frozen=True)
class Wire:
    """The way of one edge. Of `points`, 0 to 1 is straight, 1 to 2 a bend, 2 to 3 straight, and so on."""

    caller: str
    callee: str
    points: tuple[Point, ...]
    label: Rectangle | None = None


@dataclass(frozen=True)
class Layout:
    """Boxes by name; a box may be larger than asked, to give each of its wires a place."""

    width: float
    height: float
    downward: bool
    boxes: Mapping[str, Rectangle]
    wires: tuple[Wire, ...]


def arrange(
    sizes: Mapping[str, Size],
    edges: Sequence[Pair],
    labels: Mapping[Pair, Size] | None = None,
    downward: bool | None = None,
) -> Layout:
    """Lay out an acyclic graph; `labels` are the sizes of the texts on edges. `downward` None: as it reads better."""
    layer_of = layers(list(sizes), edges)
    depth = max(layer_of.values(), default=0) + 1
    return _Plan(sizes, edges, labels or {}, layer_of, depth > DEEP if downward is None else downward).layout()


def layers(names: Sequence[str], edges: Sequence[Pair]) -> dict[str, int]:
    """Each vertex's layer: the length of the longest way to it."""
    callers: dict[str, list[str]] = {name: [] for name in names}
    for caller, callee in edges:
        callers[callee].append(caller)
    found: dict[str, int] = {}
    pending = list(reversed(names))
    while pending:
        name = pending[-1]
        unknown = [caller for caller in callers[name] if caller not in found]
        if unknown:
            pending += unknown
            continue
        pending.pop()
        found[name] = max((found[caller] + 1 for caller in callers[name]), default=0)
    return found


@dataclass
class _Plan:
    """One graph being laid out, in (along, across)."""

    sizes: Mapping[str, Size]
    edges: Sequence[Pair]
    labels: Mapping[Pair, Size]
    layer_of: Mapping[str, int]
    downward: bool
    slots: list[list[Slot]] = field(init=False)
    chains: dict[Pair, list[Slot]] = field(init=False)

    def layout(self) -> Layout:
        self._make_slots()
        links = [link for chain in self.chains.values() for link in itertools.pairwise(chain)]
        self.slots = sort_layers(self.slots, links)
        ports = self._ports(links)
        place(self.slots, links, BOX_GAP_PX)
        starts, ends = self._along()
        boxes = {
            slot.name: self._rectangle(
                starts[layer], slot.across - slot.size / 2, self._extent(self.sizes[slot.name])[0], slot.size
            )
            for layer, members in enumerate(self.slots)
            for slot in members
            if slot.name
        }
        wires = tuple(self._wire(pair, ports, starts, ends) for pair in self.edges)
        width = max((box.x + box.width for box in boxes.values()), default=0.0)
        height = max((box.y + box.height for box in boxes.values()), default=0.0)
        reach = max((slot.across + slot.size / 2 for members in self.slots for slot in members), default=0.0)
        if self.downward:
            return Layout(max(width, reach), height, True, boxes, wires)
        return Layout(width, max(height, reach), False, boxes, wires)

    def _extent(self, size: Size) -> tuple[float, float]:
        """(along, across) of a size."""
        return (size.height, size.width) if self.downward else (size.width, size.height)

    def _rectangle(self, along: float, across: float, length: float, breadth: float) -> Rectangle:
        if self.downward:
            return Rectangle(across, along, breadth, length)
        return Rectangle(along, across, length, breadth)

    def _point(self, along: float, across: float) -> Point:
        return (across, along) if self.downward else (along, across)

    def _make_slots(self) -> None:
        """A slot for every box, and one in each layer that an edge passes."""
        own = {name: Slot(name, self._breadth(name)) for name in self.sizes}
        self.slots = [[] for _ in range(max(self.layer_of.values(), default=-1) + 1)]
        for name, slot in own.items():
            self.slots[self.layer_of[name]].append(slot)
        self.chains = {}
        for caller, callee in self.edges:
            chain = [own[caller]]
            for layer in range(self.layer_of[caller] + 1, self.layer_of[callee]):
                lane = Slot("", LANE_PX)
                self.slots[layer].append(lane)
                chain.append(lane)
            self.chains[caller, callee] = [*chain, own[callee]]

    def _breadth(self, name: str) -> float:
        """Across: as asked, or more where that many wires need it."""
        out = [pair for pair in self.edges if pair[0] == name]
        into = [pair for pair in self.edges if pair[1] == name]
        needed = max(len(out) * self._pitch(out, 0), len(into) * self._pitch(into, 1))
        return max(self._extent(self.sizes[name])[1], needed + 2 * LABEL_GAP_PX)

    def _pitch(self, pairs: Sequence[Pair], end: int) -> float:
        """How far apart, across, these edges leave (end 0) or enter (1) their box."""
        at_this_end = [pair for pair in pairs if pair in self.labels and self._label_end(pair) == end]
        breadths = [self._extent(self.labels[pair])[1] + LABEL_GAP_PX for pair in at_this_end]
        return max([PORT_PITCH_PX, *breadths])

    def _label_end(self, pair: Pair) -> int:
        """Where the label stands: at the box where fewer edges meet; 0 the caller's, 1 the callee's."""
        leaving = sum(other[0] == pair[0] for other in self.edges)
        entering = sum(other[1] == pair[1] for other in self.edges)
        return 1 if entering <= leaving else 0

    def _ports(self, links: Sequence[Link]) -> dict[tuple[Pair, int], float]:
        """(edge, end) -> where it meets its box, across, from the box's middle; in the order of the other ends."""
        rank = {id(slot): index for members in self.slots for index, slot in enumerate(members)}
        ports: dict[tuple[Pair, int], float] = {}
        for end in (0, 1):
            for name in self.sizes:
                mine = [pair for pair in self.edges if pair[end] == name]
                mine.sort(key=lambda pair: rank[id(self.chains[pair][1 if end == 0 else -2])])
                pitch = self._pitch(mine, end)
                for index, pair in enumerate(mine):
                    ports[pair, end] = (index - (len(mine) - 1) / 2) * pitch
        return ports

    def _along(self) -> tuple[list[float], list[float]]:
        """Where each layer begins and ends, along."""
        starts, ends, at = [], [], 0.0
        for layer, members in enumerate(self.slots):
            at += self._zone(layer, 1) if layer else 0.0
            starts.append(at)
            at += max((self._extent(self.sizes[slot.name])[0] for slot in members if slot.name), default=0.0)
            ends.append(at)
            at += self._zone(layer, 0) + BEND_PX
        return starts, ends

    def _zone(self, layer: int, end: int) -> float:
        """How long wires are straight behind a layer (end 0) or before it (1)."""
        here = [pair for pair in self.labels if self.layer_of[pair[end]] == layer and self._label_end(pair) == end]
        lengths = [self._extent(self.labels[pair])[0] + LABEL_GAP_PX for pair in here]
        return (TAIL_PX if end == 0 else HEAD_PX) + max(lengths, default=0.0)

    def _wire(
        self, pair: Pair, ports: Mapping[tuple[Pair, int], float], starts: Sequence[float], ends: Sequence[float]
    ) -> Wire:
        caller, callee = pair
        chain, first, last = self.chains[pair], self.layer_of[caller], self.layer_of[callee]
        leaves = chain[0].across + ports[pair, 0]
        enters = chain[-1].across + ports[pair, 1]
        edge_of_box = starts[first] + self._extent(self.sizes[caller])[0]
        points = [(edge_of_box, leaves), (ends[first] + self._zone(first, 0), leaves)]
        for layer, lane in zip(range(first + 1, last), chain[1:-1], strict=True):
            points += [(starts[layer] - self._zone(layer, 1), lane.across)]
            points += [(ends[layer] + self._zone(layer, 0), lane.across)]
        points += [(starts[last] - self._zone(last, 1), enters), (starts[last], enters)]
        return Wire(caller, callee, tuple(self._point(*point) for point in points), self._label(pair, points))

    def _label(self, pair: Pair, points: Sequence[Point]) -> Rectangle | None:
        if pair not in self.labels:
            return None
        length, breadth = self._extent(self.labels[pair])
        if self._label_end(pair) == 0:
            along, across = points[1][0] - length, points[1][1]
        else:
            along, across = points[-2][0], points[-2][1]
        return self._rectangle(along, across - breadth / 2, length, breadth)

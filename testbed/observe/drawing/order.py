"""In which order the members of layers stand, so that few links cross, and where, so that links are near straight.

Pure; the only direction here is across the layers. `layout` says what the members are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

SWEEPS = 12
SETTLINGS = 61
LANE_WEIGHT = 4.0
"""A lane pulls that much harder than a box: long wires come out straight."""


@dataclass(eq=False)
class Slot:
    """A box, or (without a name) the lane of a wire that passes the layer. `across` is its middle."""

    name: str
    size: float
    across: float = 0.0


Link = tuple[Slot, Slot]
"""From a slot to one in the next layer."""


def sort_layers(layers: Sequence[Sequence[Slot]], links: Sequence[Link]) -> list[list[Slot]]:
    """The layers, each in the order that gave the fewest crossings in a number of sweeps by barycentres."""
    order = [list(layer) for layer in layers]
    above, below = _neighbours(links)
    best, fewest = [list(layer) for layer in order], crossings(order, links)
    for sweep in range(SWEEPS):
        forward = sweep % 2 == 0
        neighbours = above if forward else below
        numbers = range(1, len(order)) if forward else range(len(order) - 2, -1, -1)
        for number in numbers:
            rank = {id(slot): index for index, slot in enumerate(order[number - 1 if forward else number + 1])}
            order[number] = _by_barycentre(order[number], neighbours, rank)
        now = crossings(order, links)
        if now < fewest:
            best, fewest = [list(layer) for layer in order], now
    return best


def crossings(layers: Sequence[Sequence[Slot]], links: Sequence[Link]) -> int:
    """How many pairs of links cross each other."""
    where = {id(slot): (layer, index) for layer, members in enumerate(layers) for index, slot in enumerate(members)}
    by_layer: dict[int, list[tuple[int, int]]] = {}
    for upper, lower in links:
        layer, index = where[id(upper)]
        by_layer.setdefault(layer, []).append((index, where[id(lower)][1]))
    return sum(
        (a[0] - b[0]) * (a[1] - b[1]) < 0
        for pairs in by_layer.values()
        for position, a in enumerate(pairs)
        for b in pairs[:position]
    )


def place(layers: Sequence[Sequence[Slot]], links: Sequence[Link], gap: float) -> None:
    """Set every slot's `across`: in the given order, `gap` apart, near the middle of its neighbours."""
    above, below = _neighbours(links)
    for layer in layers:
        _settle(layer, [0.0] * len(layer), gap)
    for sweep in range(SETTLINGS):
        for layer in layers if sweep % 2 == 0 else reversed(layers):
            _settle(layer, [_pull(slot, above, below) for slot in layer], gap)
    least = min((slot.across - slot.size / 2 for layer in layers for slot in layer), default=0.0)
    for layer in layers:
        for slot in layer:
            slot.across -= least


def _pull(slot: Slot, above: Mapping[int, Sequence[Slot]], below: Mapping[int, Sequence[Slot]]) -> float:
    """Where a slot wants to be: in the middle of its neighbours, or where it is."""
    neighbours = [*above.get(id(slot), ()), *below.get(id(slot), ())]
    if not neighbours:
        return slot.across
    weights = [1.0 if one.name else LANE_WEIGHT for one in neighbours]
    return sum(one.across * weight for one, weight in zip(neighbours, weights, strict=True)) / sum(weights)


def _settle(layer: Sequence[Slot], wanted: Sequence[float], gap: float) -> None:
    """Nearest to `wanted` by least squares, in order and without overlap (pool adjacent violators)."""
    offsets, at = [], 0.0
    for index, slot in enumerate(layer):
        at += (layer[index - 1].size + slot.size) / 2 + gap if index else 0.0
        offsets.append(at)
    blocks: list[list[float]] = []  # [weighted sum, weight, members]
    for slot, want, offset in zip(layer, wanted, offsets, strict=True):
        weight = 1.0 if slot.name else LANE_WEIGHT
        blocks.append([(want - offset) * weight, weight, 1])
        while len(blocks) > 1 and blocks[-2][0] / blocks[-2][1] > blocks[-1][0] / blocks[-1][1]:
            total, weight, members = blocks.pop()
            blocks[-1] = [blocks[-1][0] + total, blocks[-1][1] + weight, blocks[-1][2] + members]
    values = [total / weight for total, weight, members in blocks for _ in range(int(members))]
    for slot, value, offset in zip(layer, values, offsets, strict=True):
        slot.across = value + offset


def _by_barycentre(
    layer: Sequence[Slot], neighbours: Mapping[int, Sequence[Slot]], rank: Mapping[int, int]
) -> list[Slot]:
    """Sorted by the mean rank of the neighbours; a slot without any keeps its rank."""

    def key(item: tuple[int, Slot]) -> float:
        index, slot = item
        ranks = [rank[id(one)] for one in neighbours.get(id(slot), ())]
        return sum(ranks) / len(ranks) if ranks else float(index)

    return [slot for _, slot in sorted(enumerate(layer), key=key)]


def _neighbours(links: Sequence[Link]) -> tuple[dict[int, list[Slot]], dict[int, list[Slot]]]:
    """By id of a slot: its neighbours in the layer before, and in the layer behind."""
    above: dict[int, list[Slot]] = {}
    below: dict[int, list[Slot]] = {}
    for upper, lower in links:
        below.setdefault(id(upper), []).append(lower)
        above.setdefault(id(lower), []).append(upper)
    return above, below

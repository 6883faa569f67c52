"""Counters of the switches, named: calls, services, endpoints, drops. Pure.

A switch counts the first packet of each connection, not invocations: with keep-alive the two differ.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from controllers import pipeline as p
from controllers.explain import Names
from controllers.rows import Group
from controllers.translator import Entry


@dataclass(frozen=True)
class Readings:
    """One switch's counted rows, its groups, and the packets of each group's buckets."""

    entries: Sequence[Entry]
    groups: Sequence[Group]
    bucket_packets: Mapping[int, Sequence[int]]


def counters(
    readings: Mapping[int, Readings], names: Names, holds: Sequence[Mapping[str, Any]] = ()
) -> dict[str, list[dict[str, Any]]]:
    """The body of GET /counters; `readings` by node, `holds` as Holding.statistics gives them."""
    calls, services, endpoints, drops = [], [], [], []
    for node, reading in sorted(readings.items()):
        for entry in reading.entries:
            category, number = p.category_of(entry.row.cookie), p.object_of(entry.row.cookie)
            if category is p.Category.POLICY:
                caller, callee = (names.workload(id_) for id_ in p.call_of(number))
                calls.append({"caller": caller, "callee": callee, "node": node, "packets": entry.packets})
            elif category is p.Category.SERVICE:
                services.append({"function": names.workload(number), "node": node, "connections": entry.packets})
            elif category is p.Category.DROP:
                drops.append(_drop(node, entry, number))
        for group in reading.groups:
            for bucket, packets in zip(group.buckets, reading.bucket_packets.get(group.id, ()), strict=False):
                instance = names.owner(bucket.endpoint or "")
                endpoints.append({"instance": instance, "node": node, "connections": packets})
    return {
        "calls": calls,
        "services": services,
        "endpoints": endpoints,
        "drops": drops,
        "holds": [dict(hold) for hold in holds],
    }


def _drop(node: int, entry: Entry, number: int) -> dict[str, Any]:
    table = p.TABLE_NAMES.get(entry.row.table, str(entry.row.table))
    reason = p.DROP_REASONS.get(number)
    return {"node": node, "table": table, "packets": entry.packets, "reason": reason.label if reason else str(number)}

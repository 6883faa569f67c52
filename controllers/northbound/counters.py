"""Counters of the switches, named: calls, services, endpoints, drops. Pure.

A switch counts the first packet of each connection, not invocations: with keep-alive the two differ.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from controllers import pipeline as p
from controllers.northbound.explain import Names
from controllers.switch.decoding import Entry
from controllers.switch.readings import Readings


def counters(
    readings: Mapping[int, Readings], names: Names, holds: Sequence[Mapping[str, Any]] = ()
) -> dict[str, list[dict[str, Any]]]:
    """The body of GET /counters; `readings` by node, `holds` as Holding.statistics gives them."""
    calls, services, endpoints, drops = [], [], [], []
    for node, reading in sorted(readings.items()):
        for entry in reading.entries:
            category, number = p.category_of(entry.row.cookie), p.object_of(entry.row.cookie)
            if category in (p.Category.POLICY, p.Category.ALLOW):
                caller, callee = (names.workload(id_) for id_ in p.call_of(number))
                calls.append({"caller": caller, "callee": callee, "node": node, "packets": entry.packets})
            elif category is p.Category.SERVICE:
                services.append({"function": names.workload(number), "node": node, "connections": entry.packets})
            elif category in (p.Category.DENY, p.Category.DROP):
                drops.append(_drop(node, entry, category, number, names))
        for group in reading.groups:
            given: Counter[str] = Counter()  # an instance may have two buckets
            for bucket, packets in zip(group.buckets, reading.bucket_packets.get(group.id, ()), strict=False):
                given[names.owner(bucket.endpoint or "")] += packets
            endpoints += [{"instance": one, "node": node, "connections": packets} for one, packets in given.items()]
    return {
        "calls": calls,
        "services": services,
        "endpoints": endpoints,
        "drops": drops,
        "holds": [dict(hold) for hold in holds],
    }


def of_namespace(found: Mapping[str, Sequence[dict[str, Any]]], namespace: str) -> dict[str, list[dict[str, Any]]]:
    """Of the body of GET /counters what this namespace may know: nothing that names another's function."""

    def is_own(row: Mapping[str, Any]) -> bool:
        if "instance" in row:
            return str(row["instance"]).split(".")[1:2] == [namespace]
        ends = [row[key] for key in ("caller", "callee", "function") if key in row]
        named = [end.partition(".")[2] for end in ends if "." in end]  # gateway and client are nobody's
        return bool(named) and set(named) == {namespace}

    return {section: [row for row in rows if is_own(row)] for section, rows in found.items()}


def _drop(node: int, entry: Entry, category: p.Category, number: int, names: Names) -> dict[str, Any]:
    table = p.TABLE_NAMES.get(entry.row.table, str(entry.row.table))
    drop: dict[str, Any] = {"node": node, "table": table, "packets": entry.packets}
    if category is p.Category.DENY:
        caller, callee = (names.workload(id_) for id_ in p.call_of(number))
        return {**drop, "reason": p.DropReason.DENIED.label, "caller": caller, "function": callee}
    reason = p.DROP_REASONS.get(number)
    return {**drop, "reason": reason.label if reason else str(number)}

"""Reconciliation: desired tables - actual tables -> changes in a safe order.

Works on values that have OpenFlow port numbers already. Pure; which connections a change forbids is
flushing.py's business, who sends it and when is worker.py's.

The order inside one switch's changes: meters and groups before the rows that use them, an instance out of
its group before its rows go, rows before the groups and meters they used. A row that nobody desires is deleted,
whoever put it there: the controller owns every flow of its bridges.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from controllers.rows import Group, Meter, Row, RowKey, Tables


@dataclass(frozen=True, slots=True)
class PutGroup:
    """Add the group, or replace the buckets of one that exists."""

    group: Group
    exists: bool


@dataclass(frozen=True, slots=True)
class PutRow:
    """Add the row. `keep_counters`: it exists with the same cookie and only its actions change."""

    row: Row
    keep_counters: bool = False


@dataclass(frozen=True, slots=True)
class DeleteRow:
    row: Row


@dataclass(frozen=True, slots=True)
class DeleteGroup:
    id: int


@dataclass(frozen=True, slots=True)
class PutMeter:
    """Add the meter, or give one that exists new settings. Not part of the bundle: it goes before it."""

    meter: Meter
    exists: bool


@dataclass(frozen=True, slots=True)
class DeleteMeter:
    """Not part of the bundle: it goes after it, because a switch deletes the rows that still use the meter."""

    id: int


Change = PutMeter | PutGroup | PutRow | DeleteRow | DeleteGroup | DeleteMeter


def reconcile(desired: Tables, actual: Tables) -> tuple[Change, ...]:
    """The changes that turn `actual` into `desired`, in a safe order; none where they agree."""
    return changes(
        desired,
        actual,
        desired.rows.keys() | actual.rows.keys(),
        desired.groups.keys() | actual.groups.keys(),
        desired.meters.keys() | actual.meters.keys(),
    )


def changes(
    desired: Tables, actual: Tables, rows: Iterable[RowKey], groups: Iterable[int], meters: Iterable[int] = ()
) -> tuple[Change, ...]:
    """`reconcile`, looking only at the rows, groups and meters named."""
    put_groups, delete_groups = _group_changes(desired, actual, groups)
    put_meters, delete_meters = _meter_changes(desired, actual, meters)
    put_rows: list[Change] = []
    delete_rows: list[Change] = []
    for key in sorted(rows, key=_downstream_first):
        want, have = desired.rows.get(key), actual.rows.get(key)
        if want is None and have is not None:
            delete_rows.append(DeleteRow(have))
        elif want is not None and want != have:
            put_rows.append(PutRow(want, keep_counters=have is not None and have.cookie == want.cookie))
    return (*put_meters, *put_groups, *put_rows, *reversed(delete_rows), *delete_groups, *delete_meters)


def _downstream_first(key: RowKey) -> tuple[int, int, str]:
    """Rows come from the last table to the first, and go the other way: no packet meets half a path."""
    return -key.table, -key.priority, str(key.match)


def _group_changes(desired: Tables, actual: Tables, groups: Iterable[int]) -> tuple[list[Change], list[Change]]:
    put: list[Change] = []
    delete: list[Change] = []
    for group_id in sorted(groups):
        want, have = desired.groups.get(group_id), actual.groups.get(group_id)
        if want is None and have is not None:
            delete.append(DeleteGroup(group_id))
        elif want is not None and want != have:
            put.append(PutGroup(want, exists=have is not None))
    return put, delete


def _meter_changes(desired: Tables, actual: Tables, meters: Iterable[int]) -> tuple[list[Change], list[Change]]:
    put: list[Change] = []
    delete: list[Change] = []
    for meter_id in sorted(meters):
        want, have = desired.meters.get(meter_id), actual.meters.get(meter_id)
        if want is None and have is not None:
            delete.append(DeleteMeter(meter_id))
        elif want is not None and want != have:
            put.append(PutMeter(want, exists=have is not None))
    return put, delete


def apply(tables: Tables, ordered: Iterable[Change]) -> None:
    """What a switch does with the changes; keeps the controller's own picture of it current."""
    for change in ordered:
        match change:
            case PutGroup(group, _):
                tables.groups[group.id] = group
            case PutRow(row, _):
                tables.rows[row.key] = row
            case DeleteRow(row):
                tables.rows.pop(row.key, None)
            case DeleteGroup(group_id):
                tables.groups.pop(group_id, None)
            case PutMeter(meter, _):
                tables.meters[meter.id] = meter
            case DeleteMeter(meter_id):
                tables.meters.pop(meter_id, None)

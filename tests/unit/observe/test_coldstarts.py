"""The phases of cold starts, from what apiserver and controller have kept."""

from __future__ import annotations

import pytest

from testbed.observe.coldstarts import cold_starts, medians_ms

MS = 1_000_000
KEPT = {
    "instance": "f.t.1", "function": "f.t", "node": 2, "version": 7,
    "decided_ns": 0, "noticed_ns": 2 * MS, "sandbox_ns": 12 * MS, "launch_ns": 14 * MS,
    "process_ns": 15 * MS, "ready_ns": 100 * MS,
}  # fmt: skip


def change(version: int, ms: float) -> dict[str, float]:
    return {"version": version, "generate_ms": ms, "translate_ms": ms, "install_ms": ms}


def test_phases_end_where_the_next_begins_and_rows_are_the_first_change_that_holds_the_instance() -> None:
    [start] = cold_starts([KEPT], [change(9, 5), change(6, 1), change(8, 2)])
    assert start.phases_ms == {"decision": 2, "sandbox": 10, "launch": 2, "isolation": 1, "readiness": 85, "rows": 6}
    assert start.total_ms == 106


def test_what_is_not_known_is_left_out() -> None:
    [start] = cold_starts([{key: value for key, value in KEPT.items() if key != "noticed_ns"}], [change(6, 1)])
    assert start.phases_ms == {"launch": 2, "isolation": 1, "readiness": 85}


def test_medians_are_over_what_is_known() -> None:
    starts = cold_starts([KEPT, {**KEPT, "version": 9}, {**KEPT, "ready_ns": 115 * MS}], [change(8, 1)])
    assert medians_ms(starts) == pytest.approx(
        {"decision": 2, "sandbox": 10, "launch": 2, "isolation": 1, "readiness": 85, "rows": 3, "total": 103}
    )
    assert medians_ms([]) == {}

"""The clocks that measurements use, and how good they are on this machine.

All durations come from CLOCK_MONOTONIC in ns (`time.perf_counter_ns` and `time.monotonic_ns` are the
same clock on Linux), which every process of a lab shares, so that times of different processes compare.
"""

from __future__ import annotations

import os
import statistics
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any


@dataclass(frozen=True)
class ClockReport:
    """How finely this machine tells time and how late it wakes sleepers.

    `cpu_tick_ms` is the grain of CPU accounting in /proc; `wake_late_*` is how much later than asked
    a sleep of 1 ms ends.
    """

    resolution_ns: int
    cpu_tick_ms: float
    wake_late_median_ms: float
    wake_late_worst_ms: float

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def inspect_clocks(sleeps: int = 100) -> ClockReport:
    """Measure the clocks; takes about `sleeps` times 1.1 ms."""
    late_ms = []
    for _ in range(sleeps):
        before_ns = time.monotonic_ns()
        time.sleep(0.001)
        late_ms.append((time.monotonic_ns() - before_ns) / 1e6 - 1.0)
    return ClockReport(
        resolution_ns=max(1, round(time.get_clock_info("perf_counter").resolution * 1e9)),
        cpu_tick_ms=1000.0 / os.sysconf("SC_CLK_TCK"),
        wake_late_median_ms=statistics.median(late_ms),
        wake_late_worst_ms=max(late_ms),
    )


def utc_stamp(moment: datetime | None = None) -> str:
    """A moment (default: now) as names of run directories carry it, e.g. "20260131T120501Z"."""
    return (moment or datetime.now(UTC)).astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")

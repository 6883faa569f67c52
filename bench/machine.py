"""What a result was measured on, and what else the machine did meanwhile. Observes; changes nothing."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from experiments import manifest
from testbed.measure.cpu import CpuTimes, parse_machine


class Observer:
    """Made when a measurement begins."""

    def __init__(self) -> None:
        self._started = datetime.now(UTC)
        self._began_s = time.monotonic()
        self._load = os.getloadavg()
        self._before = _times()
        self._collected = manifest.collect((), 0)

    def finish(self, datapath: str) -> tuple[str, dict[str, Any]]:
        """(when it began, the machine and its mood since then). Shares are of the whole machine, 0..1."""
        after = _times()
        total_s = max(after.total_s - self._before.total_s, 1e-9)
        return self._started.isoformat(timespec="seconds"), {
            "took_s": round(time.monotonic() - self._began_s, 1),
            "commit": self._collected["commit"],
            "uncommitted_changes": self._collected["uncommitted_changes"],
            **self._collected["machine"],
            "datapath": datapath,
            "python": self._collected["python"],
            "load_at_start": [round(value, 2) for value in self._load],
            "steal_share": round((after.steal_s - self._before.steal_s) / total_s, 4),
            "idle_share": round((after.idle_s - self._before.idle_s) / total_s, 3),
        }


def _times() -> CpuTimes:
    return parse_machine(Path("/proc/stat").read_text(), os.sysconf("SC_CLK_TCK"))

"""What functions use, from their instances' cgroups, averaged since somebody last asked or over a short while."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from dataclasses import dataclass

from testbed.network.process.cgroups import Cgroups

SHORT_S, LONG_S = 0.5, 60.0
"""Between these ages an earlier reading is what usage is averaged since."""
WHILE_S = 0.2


@dataclass(frozen=True)
class _Reading:
    at_s: float
    cpu_s: float


class UsageMeter:
    """Reads cgroups when it is asked, and never otherwise: measuring is not measured."""

    def __init__(self, groups: Cgroups | None) -> None:
        self._groups = groups
        self._readings: dict[str, _Reading] = {}

    async def of(self, instances: Iterable[str]) -> dict[str, float] | None:
        """The FunctionUsage of these instances together: cpu in millicores, anonymous bytes; None where unknown."""
        wanted = list(instances)
        if self._groups is None or not self._groups.writable:
            return None
        now_s = time.monotonic()
        self._readings = {key: one for key, one in self._readings.items() if now_s - one.at_s < LONG_S}
        before = {one: self._readings[one] for one in wanted if one in self._readings}
        if any(one not in before or now_s - before[one].at_s < SHORT_S for one in wanted):
            before = self._read(wanted)[0]
            await asyncio.sleep(WHILE_S)
        after, memory_bytes = self._read(wanted)
        if wanted and not after:
            return None
        self._readings.update(after)
        cores = sum(
            (one.cpu_s - before[key].cpu_s) / (one.at_s - before[key].at_s)
            for key, one in after.items()
            if key in before
        )
        return {"cpu": round(1000 * cores, 3), "totalMemoryBytes": memory_bytes}

    def _read(self, instances: list[str]) -> tuple[dict[str, _Reading], int]:
        readings, memory_bytes = {}, 0
        for one in instances:
            usage = self._groups.usage(f"functions/{one}") if self._groups else None
            if usage is not None:
                readings[one] = _Reading(time.monotonic(), usage.cpu_s)
                memory_bytes += usage.anonymous_bytes
        return readings, memory_bytes

"""From counters that only rise, and sometimes begin again, to events a second. Pure.

A rate is taken over the readings themselves: how much the counters rose between the newest reading and the
youngest one that is at least a window older, divided by the time between them. Nothing is extrapolated.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Mapping

Key = tuple[str, ...]
"""A counter: the function it counts for, then whatever tells it from the function's others."""

CORRECTED = 0.9
"""A counter that falls to no less than this share of itself has not begun again."""


class Totals:
    """How much each function's counters have risen in all since they were first read.

    A counter that is lower than before has begun again from 0, because its process is a new one or its row was
    put anew: then all that it shows is new. One that is missing stands at 0. So a restart never gives a
    negative rise, and never more than has been counted since. One that is a little lower has been put right: taking
    that for a restart would count everything once more.
    """

    def __init__(self) -> None:
        self._before: Mapping[Key, float] | None = None
        self._totals: dict[str, float] = defaultdict(float)

    def take(self, values: Mapping[Key, float]) -> None:
        """A reading of all counters. The first one only tells from where they rise."""
        if self._before is not None:
            for key, value in values.items():
                before = self._before.get(key, 0.0)
                self._totals[key[0]] += _rise(before, value)
        self._before = values

    def of(self, function: str) -> float:
        return self._totals.get(function, 0.0)


def _rise(before: float, value: float) -> float:
    if value >= before:
        return value - before
    return value if value < before * CORRECTED else 0.0


class RateWindow:
    """Readings of one function's total, as many as a window needs."""

    def __init__(self, window_s: float) -> None:
        self.window_s = window_s
        self._readings: deque[tuple[float, float]] = deque()

    def add(self, at_s: float, total: float) -> None:
        """A reading taken at `at_s`, later than those before."""
        self._readings.append((at_s, total))
        while len(self._readings) > 1 and self._readings[1][0] <= at_s - self.window_s:
            self._readings.popleft()

    def rate(self) -> float | None:
        """Events a second; None while there is one reading only."""
        if len(self._readings) < 2:
            return None
        (first_s, before), (last_s, after) = self._readings[0], self._readings[-1]
        return (after - before) / (last_s - first_s)

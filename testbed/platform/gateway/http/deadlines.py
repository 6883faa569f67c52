"""How long things may take: the limits of connections and requests, and a queue that watches over one of them.

The queue is cheap enough for every request: all its deadlines lie equally far in the future, so insertion order is
deadline order, one timer serves them all, and adding or removing costs one dictionary operation.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Limits:
    """Times in seconds. A time of 0 means no limit."""

    read_timeout_s: float = 60.0
    write_timeout_s: float = 60.0
    upstream_timeout_s: float = 60.0


class Deadlines(Generic[T]):
    """Calls `expired(item)` when an added item was not removed within `timeout_s`; 0 or less means never."""

    def __init__(self, timeout_s: float, expired: Callable[[T], None]) -> None:
        self._timeout_s = timeout_s
        self._expired = expired
        self._due_s: dict[T, float] = {}
        self._armed = False

    def add(self, item: T, now_s: float) -> None:
        """Start the clock of `item` at `now_s`, a reading of the event loop's clock (time.monotonic)."""
        if self._timeout_s <= 0:
            return
        self._due_s[item] = now_s + self._timeout_s
        if not self._armed:
            self._arm()

    def remove(self, item: T) -> None:
        self._due_s.pop(item, None)

    def __len__(self) -> int:
        return len(self._due_s)

    def _arm(self) -> None:
        first = next(iter(self._due_s.values()), None)
        self._armed = first is not None
        if first is not None:
            asyncio.get_running_loop().call_at(first, self._fire)

    def _fire(self) -> None:
        now_s = asyncio.get_running_loop().time()
        due = []
        for item, due_s in self._due_s.items():
            if due_s > now_s:
                break
            due.append(item)
        try:
            for item in due:
                if self._due_s.pop(item, None) is not None:
                    self._expired(item)
        finally:  # or one mistake would be the end of all time limits
            self._arm()

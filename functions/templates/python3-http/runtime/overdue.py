"""Notices invocations that take too long while they still run in their threads.

One sleeping thread serves all of them. It wakes for the earliest deadline that it knows, so an
invocation that ends in time costs two dictionary operations and wakes nobody.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


class Overdue:
    """Calls `expire()` of an added invocation unless it was discarded before its deadline."""

    def __init__(self) -> None:
        self._due_s: dict[Callable[[], None], float] = {}
        self._changed = threading.Condition()
        self._wakes_at_s = float("inf")
        self._thread: threading.Thread | None = None

    def add(self, expire: Callable[[], None], due_s: float) -> None:
        """`due_s` is a reading of time.monotonic."""
        with self._changed:
            self._due_s[expire] = due_s
            if due_s < self._wakes_at_s:
                self._wakes_at_s = due_s
                self._changed.notify()
        if self._thread is None:
            self._thread = threading.Thread(target=self._watch, name="overdue", daemon=True)
            self._thread.start()

    def discard(self, expire: Callable[[], None]) -> bool:
        """Whether `expire` had not been called; it will not be called any more."""
        return self._due_s.pop(expire, None) is not None

    def _watch(self) -> None:
        while True:
            with self._changed:
                now_s = time.monotonic()
                due = [expire for expire, due_s in list(self._due_s.items()) if due_s <= now_s]
                if not due:
                    self._wakes_at_s = min(list(self._due_s.values()), default=float("inf"))
                    wait_s = self._wakes_at_s - now_s
                    self._changed.wait(None if wait_s == float("inf") else wait_s)
            for expire in due:
                if self.discard(expire):
                    expire()

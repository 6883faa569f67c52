"""Waiting for what comes true with a delay: the one loop of the tests that do. It knows nothing of what is waited for.

Bounds are generous, because a machine may be slow: they say when to give up. How long something takes is the
benches' question.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
WITHIN_S = 15.0
"""Switches forget and count with a delay."""
PAUSE_S = 0.05


def last(read: Callable[[], T], good: Callable[[T], object], within_s: float = WITHIN_S, pause_s: float = PAUSE_S) -> T:
    """What `read` gives once it is good, or what it gave last when the time was over."""
    deadline_s = time.monotonic() + within_s
    while not good(value := read()) and time.monotonic() < deadline_s:
        time.sleep(pause_s)
    return value


def eventually(condition: Callable[[], T], within_s: float = WITHIN_S, pause_s: float = PAUSE_S) -> T:
    """What the condition gives once it is true, or something false when it is not so in time."""
    return last(condition, bool, within_s, pause_s)


def until(condition: Callable[[], T], what: str, within_s: float = WITHIN_S, pause_s: float = PAUSE_S) -> T:
    """What the condition gives once it is true; fails with `what` was waited for when it is not so in time."""
    value = eventually(condition, within_s, pause_s)
    assert value, f"within {within_s:g} s not so: {what}"
    return value

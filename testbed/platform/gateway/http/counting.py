"""What an exchange is counted in, as far as it needs to know. Who counts, and under which names, is decided above."""

from __future__ import annotations

from typing import Protocol


class Counting(Protocol):
    """Counts what has begun, and is told how each ended: the answer's status, and how long it took."""

    started: int

    def finished(self, code: int, seconds: float) -> None: ...

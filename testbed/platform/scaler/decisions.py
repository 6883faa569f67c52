"""Every decision of the scaler, with all that it was made from: in memory, and as NDJSON in a file.

The file is also the scaler's memory: after a restart it goes on from the last decisions in it.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

KEPT = 10_000
"""How many decisions GET /decisions can go back."""
FILE_LIMIT_BYTES = 64 << 20
"""A file that has grown so large is put aside, once."""

Decision = Mapping[str, Any]


class DecisionLog:
    """Numbered decisions. `path` None: in memory only."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._kept: deque[Decision] = deque(maxlen=KEPT)
        self._number = 0
        if path is not None and path.exists():
            for decision in _lines(path):
                self._kept.append(decision)
                self._number = decision["number"]

    def add(self, fields: Mapping[str, Any]) -> Decision:
        """Number and date a decision, and keep it."""
        self._number += 1
        time = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        decision = {"number": self._number, "time": time, **fields}
        self._kept.append(decision)
        if self._path is not None:
            if self._path.exists() and self._path.stat().st_size > FILE_LIMIT_BYTES:
                self._path.rename(self._path.with_suffix(".1.ndjson"))
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(decision, separators=(",", ":")) + "\n")
        return decision

    def since(self, number: int, function: str = "") -> list[Decision]:
        """The decisions after `number`, of one function or of all."""
        return [
            decision
            for decision in self._kept
            if decision["number"] > number and function in ("", decision["function"])
        ]

    def last(self, function: str, by: str) -> Decision | None:
        """The newest decision of that kind about a function."""
        return next((one for one in reversed(self._kept) if (one["function"], one["by"]) == (function, by)), None)


def _lines(path: Path) -> Iterator[Decision]:
    """The complete lines of the file; the last one may have been cut off when the scaler was killed."""
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            yield json.loads(line)
        except ValueError:
            continue

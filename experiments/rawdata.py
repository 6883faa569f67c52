"""Raw data on its way to disk: rows are appended as they come, so that an interrupted run keeps what it has."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any


class RawWriter:
    """Appends rows to raw/<name>.csv; the first row of a file decides its columns."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._columns: dict[str, list[str]] = {}

    def rows(self, name: str, rows: Iterable[Mapping[str, Any]]) -> None:
        """Append rows, all with the same keys; booleans become 0 and 1."""
        rows = [{key: int(value) if isinstance(value, bool) else value for key, value in row.items()} for row in rows]
        if not rows:
            return
        fresh = name not in self._columns
        columns = self._columns.setdefault(name, list(rows[0]))
        with (self.folder / f"{name}.csv").open("a", newline="") as file:
            writer = csv.DictWriter(file, columns)
            if fresh:
                writer.writeheader()
            writer.writerows(rows)


def invocation_rows(logs: Iterable[Path]) -> Iterable[dict[str, Any]]:
    """The invocation records in functions' logs; other lines are passed over."""
    for log in logs:
        with log.open(errors="replace") as file:
            for line in file:
                if not line.startswith('{"invocation"'):
                    continue
                try:
                    record = json.loads(line)["invocation"]
                except (ValueError, KeyError):  # a line that was cut off when its function was stopped
                    continue
                yield {column: record.get(column, "") for column in INVOCATION_COLUMNS}


INVOCATION_COLUMNS = (
    "call_id", "caller", "function", "namespace", "instance", "started_ns", "ended_ns", "cold", "status",
)  # fmt: skip

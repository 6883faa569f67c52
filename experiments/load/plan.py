"""What a load driver is told to do and what it answers, as rows of CSV files.

Pure values and their file form. A plan is a list of requests in order; an outcome is what became of
one of them. All times are CLOCK_MONOTONIC in ns, the clock that functions in the same lab use too.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class PlannedRequest:
    """One request. `expected` names the functions that must have answered, separated by blanks.

    `warmup` requests are sent and recorded like the others and left out of every result.
    """

    index: int
    block: int
    arm: str
    url: str
    call_id: str
    expected: str = ""
    warmup: bool = False


@dataclass(frozen=True)
class Result:
    """What became of a planned request.

    `intended_ns` is when it should have started, `connected_ns` 0 when no connection came about,
    `status` 0 when no answer did; `error` is empty or says in a word what failed.
    """

    index: int
    intended_ns: int
    started_ns: int
    connected_ns: int
    ended_ns: int
    status: int
    bytes: int
    error: str
    correct: bool

    @property
    def failed(self) -> bool:
        return bool(self.error) or not 200 <= self.status < 300


@dataclass(frozen=True)
class LoadCounts:
    """Offered = planned; issued = sent; completed = answered 2xx with the right answer; failed = the rest of issued."""

    offered: int
    issued: int
    completed: int
    failed: int


def count(planned: int, results: Sequence[Result]) -> LoadCounts:
    """The four numbers that stand beside every latency."""
    completed = sum(not result.failed and result.correct for result in results)
    return LoadCounts(planned, len(results), completed, len(results) - completed)


def visited_functions(body: bytes) -> list[str] | None:
    """The functions that a chain's answer says it visited, in order; None when the answer says nothing of the kind."""
    try:
        answer = json.loads(body)
    except ValueError:
        return None
    visited = answer.get("functions") if isinstance(answer, dict) else None
    return [str(name) for name in visited] if isinstance(visited, list) else None


def is_correct(expected: str, body: bytes) -> bool:
    """Did exactly the expected functions answer, in order? Nothing expected: any answer is right."""
    return not expected or visited_functions(body) == expected.split()


def write_rows(path: Path, rows: Iterable[Any]) -> None:
    """Write dataclass rows as CSV with a header; booleans become 0 and 1."""
    with path.open("w", newline="") as file:
        writer: Any = None
        for row in rows:
            values = {key: int(value) if isinstance(value, bool) else value for key, value in asdict(row).items()}
            if writer is None:
                writer = csv.DictWriter(file, list(values))
                writer.writeheader()
            writer.writerow(values)


def read_plan(path: Path) -> list[PlannedRequest]:
    """The requests of a plan file, in order."""
    return [PlannedRequest(**values) for values in _typed(path, PlannedRequest)]


def read_results(path: Path) -> list[Result]:
    """The results of a driver's output file, in order of completion."""
    return [Result(**values) for values in _typed(path, Result)]


def _typed(path: Path, kind: Any) -> Iterable[dict[str, Any]]:
    convert: dict[str, Any] = {"int": int, "str": str, "bool": lambda text: text == "1"}
    kinds = {field.name: convert[str(field.type)] for field in fields(kind)}
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            yield {name: to_type(row[name]) for name, to_type in kinds.items()}

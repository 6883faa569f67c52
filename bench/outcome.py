"""What a subject found: figures for budgets, series of raw values, tables. Values and their JSON form; no I/O."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from bench.budgets import budget, verdict
from experiments.analysis.statistics import bootstrap

KEPT_VALUES = 500
"""A longer series keeps its quantiles and as many values, evenly spaced in time."""
FEWEST_FOR_INTERVAL = 5


@dataclass(frozen=True)
class Estimate:
    """A figure with its 95 % interval, where there was enough to make one."""

    value: float
    low: float | None = None
    high: float | None = None

    def to_json(self) -> dict[str, float | None]:
        return {
            "value": _round(self.value),
            "low": None if self.low is None else _round(self.low),
            "high": None if self.high is None else _round(self.high),
        }


@dataclass
class Outcome:
    """Filled in by a subject as it goes. `datapath`: the lab's, or what stands for it; "" where there is no network."""

    datapath: str = ""
    figures: dict[str, tuple[Estimate | None, str]] = field(default_factory=dict)
    series: dict[str, dict[str, Any]] = field(default_factory=dict)
    tables: list[dict[str, Any]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)

    def figure(self, name: str, value: Estimate | float | None, note: str = "") -> None:
        """The figure for the budget `name`; None when it could not be had, for the reason in `note`."""
        budget(name)
        self.figures[name] = (Estimate(value) if isinstance(value, int | float) else value, note)

    def add_series(self, name: str, unit: str, values: Sequence[float]) -> None:
        """Raw values in the order in which they were measured."""
        self.series[name] = summary(values, unit)

    def table(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """A table for the report; a column is as wide as it needs to be."""
        self.tables.append({"title": title, "columns": list(columns), "rows": [list(row) for row in rows]})

    def budgets_json(self, subject_budgets: Sequence[str], *, quick: bool) -> list[dict[str, Any]]:
        """Every budget of the subject with its figure and verdict."""
        return [self._budget_json(name, quick=quick) for name in subject_budgets]

    def _budget_json(self, name: str, *, quick: bool) -> dict[str, Any]:
        known, (estimate, note) = budget(name), self.figures.get(name, (None, "not measured"))
        measured = None if estimate is None else estimate.value
        return {
            "name": name,
            "what": known.what,
            "limit": known.limit,
            "unit": known.unit,
            "measured": None if estimate is None else estimate.to_json(),
            "verdict": verdict(known.limit, measured, enough=not quick).value,
            "note": note,
        }


def summary(values: Sequence[float], unit: str) -> dict[str, Any]:
    """Count, quartiles, extremes, p99 from 100 values, and the values themselves or some of them."""
    if not values:
        return {"unit": unit, "n": 0, "values": []}
    array = np.asarray(values, dtype=np.float64)
    p25, p50, p75 = (float(value) for value in np.quantile(array, [0.25, 0.5, 0.75]))
    step = -(-len(values) // KEPT_VALUES)
    return {
        "unit": unit,
        "n": len(values),
        "min": _round(float(array.min())),
        "p25": _round(p25),
        "p50": _round(p50),
        "p75": _round(p75),
        **({"p99": _round(float(np.quantile(array, 0.99)))} if len(values) >= 100 else {}),
        "max": _round(float(array.max())),
        "kept_every": step,
        "values": [_round(float(value)) for value in values[::step]],
    }


def ratio_of_medians(first: Sequence[float], second: Sequence[float], seed: int) -> Estimate:
    """median(first) / median(second) of paired rounds, with an interval from resampled rounds.

    Raises:
        ValueError: the two differ in length or are empty.
    """
    if len(first) != len(second) or not first:
        raise ValueError("a ratio needs the same rounds on both sides")
    above, below = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    value = float(np.median(above) / np.median(below)) if np.median(below) else float("inf")
    if len(first) < FEWEST_FOR_INTERVAL:
        return Estimate(value)

    def of(picks: Any) -> Any:
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.median(above[picks], axis=-1) / np.median(below[picks], axis=-1)

    try:
        interval = bootstrap(len(first), of, seed, "percentile")
    except ValueError:  # some resample has nothing to divide by
        return Estimate(value)
    return Estimate(value, interval.low, interval.high)


def median_of(values: Sequence[float], seed: int) -> Estimate:
    """The median with its interval."""
    array = np.asarray(values, dtype=np.float64)
    value = float(np.median(array))
    if len(values) < FEWEST_FOR_INTERVAL:
        return Estimate(value)
    interval = bootstrap(len(values), lambda picks: np.median(array[picks], axis=-1), seed, "percentile")
    return Estimate(value, interval.low, interval.high)


def _round(value: float) -> float:
    """Five significant digits: more than any clock here can mean."""
    return float(f"{value:.5g}")

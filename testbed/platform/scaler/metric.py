"""A metric as the scaler's decisions see it: its value now, or that it could not be read. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from testbed.model.scaling.settings import Fallback, MetricType, Trigger


@dataclass(frozen=True)
class Metric:
    """`value` in the trigger's unit over all instances, None when it could not be read; then `problem` says why.

    `failures` counts failed readings in a row. Values are cut to thousandths, as KEDA hands them to the HPA.
    """

    name: str
    threshold: float
    activation_threshold: float
    metric_type: MetricType
    value: float | None
    failures: int = 0
    problem: str = ""

    def fallen_back(self, fallback: Fallback | None) -> bool:
        """Whether KEDA's fallback stands in: after more than failureThreshold failures in a row."""
        return fallback is not None and self.value is None and self.failures > fallback.failure_threshold

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Reading:
    """What a source says of one function. `failed` is false when there is merely nothing to compare with yet."""

    value: float | None
    problem: str = ""
    failed: bool = False


def metric_of(trigger: Trigger, reading: Reading, failures: int) -> Metric:
    """The trigger's metric after this reading; `failures` as of now."""
    value = None if reading.value is None else math.floor(reading.value * 1000) / 1000
    return Metric(
        trigger.metric,
        trigger.threshold,
        trigger.activation_threshold,
        trigger.metric_type,
        value,
        failures,
        reading.problem,
    )


def sum_of(readings: Mapping[str, Reading]) -> Reading:
    """One reading from several parts, by source: their sum when all could be read."""
    for name, reading in readings.items():
        if reading.value is None:
            return Reading(None, f"{name}: {reading.problem}", reading.failed)
    return Reading(sum(reading.value or 0.0 for reading in readings.values()))

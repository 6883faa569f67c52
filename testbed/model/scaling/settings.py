"""How a function is to be scaled: KEDA's and HPA's settings as values, and the presets. Pure.

They are read from a function's annotations in `annotations`. Nothing is decided here: see keda.py and hpa.py of
testbed/platform/scaler.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

MAX_REPLICAS = 200
"""More instances of one function than this are taken for a slip of the pen."""

INVOCATIONS, CPU = "invocations", "cpu"
DEFAULT_THRESHOLDS = {INVOCATIONS: 5.0, CPU: 500.0}
"""Invocations a second and instance (OpenFaaS's own alert rule), and millicores an instance."""

MetricType = Literal["AverageValue", "Value"]
Kind = Literal["Pods", "Percent"]
Select = Literal["Max", "Min", "Disabled"]


@dataclass(frozen=True)
class Trigger:
    """A metric to scale by. `threshold` in invocations/s or millicores, an instance (AverageValue) or in all."""

    metric: str
    threshold: float
    activation_threshold: float = 0.0
    metric_type: MetricType = "AverageValue"


@dataclass(frozen=True)
class Fallback:
    """What holds after more than `failure_threshold` failed readings in a row."""

    failure_threshold: int
    replicas: int


@dataclass(frozen=True)
class Policy:
    """At most `value` instances, or percent of them, more or fewer within `period_s`."""

    kind: Kind
    value: int
    period_s: int

    def text(self) -> str:
        return f"{self.kind}:{self.value}:{self.period_s}"


@dataclass(frozen=True)
class Behaviour:
    """How fast one direction may go (HPA's `behavior`)."""

    stabilization_window_s: int
    policies: tuple[Policy, ...]
    select: Select = "Max"


@dataclass(frozen=True)
class Settings:
    """All that decides about one function. Times in seconds.

    `sync_s` and `rate_window_s` are the preset's: in Kubernetes the first belongs to the controller manager
    and the second to the query of a trigger.
    """

    sync_s: float
    rate_window_s: float
    polling_interval_s: float
    cooldown_s: float
    initial_cooldown_s: float
    scale_up: Behaviour
    scale_down: Behaviour
    max_replicas: int
    min_replicas: int = 0
    idle_replicas: int | None = None
    triggers: tuple[Trigger, ...] = field(default_factory=tuple)
    fallback: Fallback | None = None
    tolerance: float = 0.1
    paused: bool = False

    def to_json(self) -> dict[str, Any]:
        """The settings under their original names."""
        shown: dict[str, Any] = {
            "syncPeriod": self.sync_s,
            "rateWindowSeconds": self.rate_window_s,
            "pollingInterval": self.polling_interval_s,
            "cooldownPeriod": self.cooldown_s,
            "initialCooldownPeriod": self.initial_cooldown_s,
            "minReplicaCount": self.min_replicas,
            "maxReplicaCount": self.max_replicas,
            "idleReplicaCount": self.idle_replicas,
            "tolerance": self.tolerance,
            "paused": self.paused,
            "fallback": None,
            "triggers": [
                {
                    "metric": trigger.metric,
                    "metricType": trigger.metric_type,
                    "threshold": trigger.threshold,
                    "activationThreshold": trigger.activation_threshold,
                }
                for trigger in self.triggers
            ],
        }
        if self.fallback:
            shown["fallback"] = {
                "failureThreshold": self.fallback.failure_threshold,
                "replicas": self.fallback.replicas,
            }
        for name, behaviour in (("scaleUp", self.scale_up), ("scaleDown", self.scale_down)):
            shown[name] = {
                "stabilizationWindowSeconds": behaviour.stabilization_window_s,
                "selectPolicy": behaviour.select,
                "policies": [policy.text() for policy in behaviour.policies],
            }
        return shown


PRESETS: Mapping[str, Settings] = {
    "keda": Settings(
        sync_s=15,
        rate_window_s=10,
        polling_interval_s=30,
        cooldown_s=300,
        initial_cooldown_s=0,
        scale_up=Behaviour(0, (Policy("Pods", 4, 15), Policy("Percent", 100, 15))),
        scale_down=Behaviour(300, (Policy("Percent", 100, 15),)),
        max_replicas=100,
    ),
    "lab": Settings(
        sync_s=1,
        rate_window_s=3,
        polling_interval_s=1,
        cooldown_s=5,
        initial_cooldown_s=0,
        scale_up=Behaviour(0, (Policy("Pods", 4, 3), Policy("Percent", 100, 3))),
        scale_down=Behaviour(5, (Policy("Percent", 100, 3),)),
        max_replicas=5,
    ),
}
"""`keda`: the originals' defaults. `lab`: the same with short periods, and with OpenFaaS CE's maximum of 5."""

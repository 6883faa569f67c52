"""KEDA's part: between no instance and some. Pure.

After KEDA 2's scale executor (`RequestScale`). A function is active when any metric is above its
activationThreshold. Beyond KEDA, a function whose first instance is still starting counts as active, so that a
cooldown shorter than a cold start cannot take away what a waiting call needs.
"""

from __future__ import annotations

from dataclasses import dataclass

from testbed.model.scaling.settings import CPU, Settings
from testbed.platform.scaler.metric import Metric


@dataclass(frozen=True)
class KedaInputs:
    """All that is decided from. Times are seconds of one clock; `last_active_s` is None before the first call."""

    now_s: float
    replicas: int
    metrics: tuple[Metric, ...]
    created_s: float
    last_active_s: float | None
    starting: bool = False


@dataclass(frozen=True)
class KedaOutcome:
    """What to do, and the `last_active_s` to remember."""

    desired: int
    active: bool
    last_active_s: float | None
    reason: str


def is_active(metric: Metric) -> bool:
    """Strictly above its activationThreshold. CPU never is: an idle instance uses some, and none has none."""
    return metric.name != CPU and metric.value is not None and metric.value > metric.activation_threshold


def decide(settings: Settings, inputs: KedaInputs) -> KedaOutcome:
    """How many replicas there should be as far as KEDA is concerned; mostly as many as there are."""
    if settings.paused:
        return KedaOutcome(inputs.replicas, False, inputs.last_active_s, "paused")
    active = next((metric for metric in inputs.metrics if is_active(metric)), None)
    if active is not None or inputs.starting:
        return _active(settings, inputs, active)
    desired, reason = _inactive(settings, inputs)
    return KedaOutcome(desired, False, inputs.last_active_s, reason)


def first_replicas(settings: Settings) -> int:
    """What an active function without instances gets."""
    return min(max(1, settings.min_replicas), settings.max_replicas)


def _active(settings: Settings, inputs: KedaInputs, metric: Metric | None) -> KedaOutcome:
    why = (
        f"active: {metric.name} {metric.value:g} is above {metric.activation_threshold:g}"
        if metric
        else "its first instance is starting"
    )
    below = settings.idle_replicas is not None and inputs.replicas < settings.min_replicas
    if inputs.replicas == 0 or below:
        return KedaOutcome(first_replicas(settings), True, inputs.now_s, why)
    return KedaOutcome(inputs.replicas, True, inputs.now_s, why)


def _inactive(settings: Settings, inputs: KedaInputs) -> tuple[int, str]:
    unread = [metric for metric in inputs.metrics if metric.value is None and metric.name != CPU]
    if any(metric.fallen_back(settings.fallback) for metric in unread) and settings.fallback:
        return settings.fallback.replicas, f"fallback: {unread[0].problem}"
    if unread:
        return inputs.replicas, f"not known whether active: {unread[0].problem}"
    down_to = settings.idle_replicas if settings.idle_replicas is not None else settings.min_replicas
    if down_to == 0 and inputs.replicas > 0:
        return _cooled(settings, inputs)
    if inputs.replicas < settings.min_replicas and settings.idle_replicas is None:
        return settings.min_replicas, f"fewer than minReplicaCount {settings.min_replicas}"
    return inputs.replicas, "inactive"


def _cooled(settings: Settings, inputs: KedaInputs) -> tuple[int, str]:
    """To zero once the cooldown since the last activity has passed, or the first one since the creation."""
    if inputs.last_active_s is None:
        since, wait_s, what = inputs.created_s, settings.initial_cooldown_s, "it was made"
    else:
        since, wait_s, what = inputs.last_active_s, settings.cooldown_s, "it was active"
    passed_s = inputs.now_s - since
    if since + wait_s < inputs.now_s:
        return 0, f"inactive, and {passed_s:.1f} s since {what} exceed {wait_s:g} s"
    return inputs.replicas, f"inactive; cooling down, {passed_s:.1f} of {wait_s:g} s since {what}"

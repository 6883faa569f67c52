"""The HPA's part: between one instance and many. Pure.

After Kubernetes' horizontal pod autoscaler (autoscaling/v2, `normalizeDesiredReplicasWithBehaviors`): a
recommendation from each metric, the largest counts; then stabilisation, then how fast it may go, then the limits.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from testbed.model.scaling.settings import Behaviour, Settings
from testbed.platform.scaler.metric import Metric

Dated = tuple[float, int]
"""(when, in seconds of one clock; a number of instances)."""


@dataclass(frozen=True)
class HpaInputs:
    """All that is decided from.

    `replicas` is what is asked for, `existing` and `ready` what is there. `recommendations` are earlier ones as
    they came from the metrics; `added` and `removed` are the changes that were made.
    """

    now_s: float
    replicas: int
    existing: int
    ready: int
    metrics: tuple[Metric, ...]
    recommendations: tuple[Dated, ...] = ()
    added: tuple[Dated, ...] = ()
    removed: tuple[Dated, ...] = ()


@dataclass(frozen=True)
class HpaOutcome:
    """`recommended` comes from the metrics (None: not one could be read, or none was needed).

    `by_metric`: what each metric recommends; `stabilised` and `desired` follow from it step by step.
    """

    by_metric: tuple[int | None, ...]
    recommended: int | None
    stabilised: int
    desired: int
    reason: str


def decide(settings: Settings, inputs: HpaInputs) -> HpaOutcome:
    """How many replicas there should be; `inputs.replicas` is at least 1."""
    smallest = max(1, settings.min_replicas)
    if settings.paused:
        return _without_metrics(inputs.replicas, "paused")
    if inputs.replicas > settings.max_replicas:
        return _without_metrics(settings.max_replicas, f"more than maxReplicaCount {settings.max_replicas}")
    if inputs.replicas < smallest:
        return _without_metrics(smallest, f"fewer than minReplicaCount {smallest}")
    by_metric = tuple(recommendation(settings, inputs, metric) for metric in inputs.metrics)
    known = [(wanted, metric) for wanted, metric in zip(by_metric, inputs.metrics, strict=True) if wanted is not None]
    problem = next((metric.problem for metric, n in zip(inputs.metrics, by_metric, strict=True) if n is None), "")
    if not known:
        return HpaOutcome(by_metric, None, inputs.replicas, inputs.replicas, f"no metric can be read: {problem}")
    recommended, metric = max(known, key=lambda pair: pair[0])
    if problem and recommended < inputs.replicas:
        return HpaOutcome(
            by_metric, None, inputs.replicas, inputs.replicas, f"not fewer while a metric cannot be read: {problem}"
        )
    stabilised = _stabilised(settings, inputs, recommended)
    desired, limit = _limited(settings, inputs, stabilised, smallest)
    value = "fallback" if metric.value is None else f"{metric.value:g} of {metric.threshold:g}"
    steps = [f"{metric.name} {value}: {recommended}"]
    if stabilised != recommended:
        steps.append(f"stabilised: {stabilised}")
    if limit:
        steps.append(f"{limit}: {desired}")
    return HpaOutcome(by_metric, recommended, stabilised, desired, "; ".join(steps))


def recommendation(settings: Settings, inputs: HpaInputs, metric: Metric) -> int | None:
    """What one metric recommends by itself; None when it cannot be read.

    AverageValue: total / (target * existing) within the tolerance of 1 keeps what there is, else
    ceil(total / target). Value: total / target within the tolerance keeps, else ceil(total / target * ready).
    In exact arithmetic: 11 of 10 is within a tolerance of 0.1.
    """
    value, target = metric.value, _exact(metric.threshold)
    if metric.fallen_back(settings.fallback) and settings.fallback:
        if metric.metric_type == "Value":
            return settings.fallback.replicas
        value = settings.fallback.replicas * metric.threshold  # KEDA's way of having the HPA want so many
    if value is None:
        return None
    share = _exact(value) / target
    if metric.metric_type == "Value":
        ratio, changed = share, math.ceil(share * inputs.ready)
    else:
        ratio, changed = share / max(1, inputs.existing), math.ceil(share)
    return inputs.replicas if abs(1 - ratio) <= _exact(settings.tolerance) else changed


def _exact(number: float) -> Fraction:
    """The number as it is written."""
    return Fraction(repr(number))


def _without_metrics(desired: int, reason: str) -> HpaOutcome:
    return HpaOutcome((), None, desired, desired, reason)


def _stabilised(settings: Settings, inputs: HpaInputs, recommended: int) -> int:
    """Up no further than the lowest recommendation in its window, down no further than the highest in its."""
    up = down = recommended
    for at_s, replicas in inputs.recommendations:
        if at_s > inputs.now_s - settings.scale_up.stabilization_window_s:
            up = min(replicas, up)
        if at_s > inputs.now_s - settings.scale_down.stabilization_window_s:
            down = max(replicas, down)
    return min(max(inputs.replicas, up), down)


def _limited(settings: Settings, inputs: HpaInputs, wanted: int, smallest: int) -> tuple[int, str]:
    """As far towards `wanted` as policies and limits let it go, and which of them did not."""
    current = inputs.replicas
    if wanted > current:
        fastest = max(current, _rise_limit(settings.scale_up, inputs))
        limit = min(settings.max_replicas, fastest)
        name = "maxReplicaCount" if settings.max_replicas <= fastest else "scaleUp policies"
        return (limit, name) if wanted > limit else (wanted, "")
    if wanted < current:
        fastest = min(current, _fall_limit(settings.scale_down, inputs))
        limit = max(smallest, fastest)
        name = "minReplicaCount" if smallest >= fastest else "scaleDown policies"
        return (limit, name) if wanted < limit else (wanted, "")
    return current, ""


def _rise_limit(behaviour: Behaviour, inputs: HpaInputs) -> int:
    """The most that scaleUp allows now: each policy counts from what there was when its period began."""
    proposals = []
    for policy in behaviour.policies:
        start = _at_start(policy.period_s, inputs)
        rise = start + policy.value if policy.kind == "Pods" else -(-start * (100 + policy.value) // 100)
        proposals.append(rise)
    if behaviour.select == "Disabled":
        return inputs.replicas
    return min(proposals) if behaviour.select == "Min" else max(proposals)


def _fall_limit(behaviour: Behaviour, inputs: HpaInputs) -> int:
    """The fewest that scaleDown allows now. "Max" is the policy that changes most."""
    proposals = []
    for policy in behaviour.policies:
        start = _at_start(policy.period_s, inputs)
        fall = start - policy.value if policy.kind == "Pods" else start * (100 - policy.value) // 100
        proposals.append(fall)
    if behaviour.select == "Disabled":
        return inputs.replicas
    return max(proposals) if behaviour.select == "Min" else min(proposals)


def _at_start(period_s: float, inputs: HpaInputs) -> int:
    since_s = inputs.now_s - period_s
    return inputs.replicas - _changed(inputs.added, since_s) + _changed(inputs.removed, since_s)


def _changed(changes: Sequence[Dated], since_s: float) -> int:
    return sum(replicas for at_s, replicas in changes if at_s > since_s)

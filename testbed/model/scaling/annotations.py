"""A function's scaling settings, read from its annotations and labels, with every mistake named. Pure.

A setting is an annotation `autoscaling.keda.sh/<name>`, with KEDA's and HPA's own names; OpenFaaS's labels
`com.openfaas.scale.…` are understood where no annotation says otherwise, and a preset fills in the rest.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import NoReturn, TypeVar

from testbed.model import durations
from testbed.model.annotations import KEDA_PREFIX, SCALE_PREFIX
from testbed.model.errors import UsageError
from testbed.model.scaling.settings import (
    CPU,
    DEFAULT_THRESHOLDS,
    INVOCATIONS,
    MAX_REPLICAS,
    Behaviour,
    Fallback,
    Kind,
    MetricType,
    Policy,
    Select,
    Settings,
    Trigger,
)

T = TypeVar("T")

_TRIGGER_NAMES = ("threshold", "activationThreshold", "metricType")
_NAMES = (
    *("pollingInterval", "cooldownPeriod", "initialCooldownPeriod", "minReplicaCount", "maxReplicaCount"),
    *("idleReplicaCount", "fallback.failureThreshold", "fallback.replicas", "tolerance", "paused", "triggers"),
    *(f"{way}.{name}" for way in ("scaleUp", "scaleDown")
      for name in ("stabilizationWindowSeconds", "policies", "selectPolicy")),
    *("rateWindowSeconds", *_TRIGGER_NAMES),
    *(f"{metric}.{name}" for metric in DEFAULT_THRESHOLDS for name in _TRIGGER_NAMES),
)  # fmt: skip
_LABEL_METRICS = {"rps": INVOCATIONS, "cpu": CPU}


class ScalingError(UsageError):
    """A setting that cannot be used. `key` is the annotation or label that says it."""

    def __init__(self, message: str, key: str) -> None:
        super().__init__(message)
        self.key = key


def read_settings(
    function: str, labels: Mapping[str, str], annotations: Mapping[str, str], preset: Settings
) -> Settings | None:
    """The function's settings, or None when it is not to be scaled.

    It is when it has an annotation of KEDA's, the label com.openfaas.scale.min "0", or a
    com.openfaas.scale.max above its minimum. Raises ScalingError with one sentence.
    """
    values = _Values(function, labels, annotations)
    values.check_names()
    smallest, largest = values.whole("min", 1), values.label("max")
    wanted = smallest == 0 or (largest is not None and values.whole("max", 1) > smallest)
    if not (values.annotated or wanted):
        return None
    settings = replace(
        preset,
        polling_interval_s=values.seconds("pollingInterval", preset.polling_interval_s, least=1),
        cooldown_s=values.seconds("cooldownPeriod", _cooldown(values, preset.cooldown_s)),
        initial_cooldown_s=values.seconds("initialCooldownPeriod", preset.initial_cooldown_s),
        rate_window_s=values.seconds("rateWindowSeconds", preset.rate_window_s, least=1),
        tolerance=values.decimal("tolerance", preset.tolerance),
        scale_up=_behaviour(values, "scaleUp", preset.scale_up),
        scale_down=_behaviour(values, "scaleDown", preset.scale_down),
        triggers=_triggers(values),
        fallback=_fallback(values),
        paused=values.choice("paused", ("true", "false"), "false") == "true",
    )
    return _with_limits(values, settings)


class _Values:
    """The texts of one function's annotations and labels, and the sentences about them."""

    def __init__(self, function: str, labels: Mapping[str, str], annotations: Mapping[str, str]) -> None:
        self._function = function
        self._labels = labels
        self._annotations = annotations
        self.annotated = any(key.startswith(KEDA_PREFIX) for key in annotations)

    def check_names(self) -> None:
        for key in self._annotations:
            name = key.removeprefix(KEDA_PREFIX)
            if name != key and name not in _NAMES:
                near = difflib.get_close_matches(name, _NAMES, 1)
                remedy = f'did you mean "{KEDA_PREFIX}{near[0]}"?' if near else f"known are {', '.join(_NAMES)}"
                self._fail(key, f"is not known; {remedy}")

    def has(self, name: str) -> bool:
        return KEDA_PREFIX + name in self._annotations

    def text(self, name: str) -> str | None:
        return self._annotations.get(KEDA_PREFIX + name)

    def label(self, name: str) -> str | None:
        return self._labels.get(SCALE_PREFIX + name)

    def whole(self, label: str, default: int) -> int:
        """A label that must be a whole number."""
        text = self.label(label)
        if text is None:
            return default
        if not re.fullmatch(r"\d{1,9}", text):
            self.refuse_label(label, f'must be a whole number, not "{text}"')
        return int(text)

    def number(self, name: str, default: int | None, least: int = 0) -> int | None:
        text = self.text(name)
        if text is None:
            return default
        if not re.fullmatch(r"\d{1,9}", text) or int(text) < least:
            self.refuse(name, f'must be a whole number of at least {least}, not "{text}"')
        return int(text)

    def seconds(self, name: str, default: float, least: int = 0) -> float:
        number = self.number(name, None, least)
        return default if number is None else number

    def decimal(self, name: str, default: float, *, positive: bool = False) -> float:
        text = self.text(name)
        if text is None:
            return default
        if not re.fullmatch(r"\d{1,9}(\.\d{1,9})?", text) or (positive and float(text) == 0):
            self.refuse(name, f'must be a number{" above 0" if positive else ""}, not "{text}"')
        return float(text)

    def choice(self, name: str, known: Iterable[T], default: T) -> T:
        text = self.text(name)
        chosen = {str(value): value for value in known}
        if text is None:
            return default
        if text not in chosen:
            self.refuse(name, f'must be {" or ".join(chosen)}, not "{text}"')
        return chosen[text]

    def refuse(self, name: str, complaint: str) -> NoReturn:
        self._fail(KEDA_PREFIX + name, complaint)

    def refuse_label(self, name: str, complaint: str) -> NoReturn:
        raise ScalingError(f"label {SCALE_PREFIX}{name} of function {self._function} {complaint}", SCALE_PREFIX + name)

    def refuse_first(self, names: Iterable[str], label: str, complaint: str) -> NoReturn:
        """Refuse the first of these annotations that is there, or else the label."""
        for name in filter(self.has, names):
            self.refuse(name, complaint)
        self.refuse_label(label, complaint)

    def _fail(self, key: str, complaint: str) -> NoReturn:
        raise ScalingError(f"annotation {key} of function {self._function} {complaint}", key)


def _cooldown(values: _Values, default: float) -> float:
    """OpenFaaS's label zero-duration, a Go duration such as 15m or 1m30s."""
    text = values.label("zero-duration")
    if text is None:
        return default
    try:
        found_s = durations.go_duration_s(text)
    except ValueError:
        values.refuse_label("zero-duration", f'must be a duration such as 15m or 90s, not "{text}"')
    return int(found_s) if found_s.is_integer() else found_s  # shown as 90, not as 90.0


def _behaviour(values: _Values, way: str, preset: Behaviour) -> Behaviour:
    window = values.number(f"{way}.stabilizationWindowSeconds", preset.stabilization_window_s)
    assert window is not None
    if window > 3600:
        values.refuse(f"{way}.stabilizationWindowSeconds", f"is {window}; Kubernetes allows at most 3600 seconds")
    choices: tuple[Select, ...] = ("Max", "Min", "Disabled")
    select = values.choice(f"{way}.selectPolicy", choices, preset.select)
    return Behaviour(window, _policies(values, f"{way}.policies", preset.policies), select)


def _policies(values: _Values, name: str, preset: tuple[Policy, ...]) -> tuple[Policy, ...]:
    text = values.text(name)
    if text is None:
        return preset
    kinds: dict[str, Kind] = {"Pods": "Pods", "Percent": "Percent"}
    policies = []
    for part in text.split(","):
        found = re.fullmatch(r"\s*(Pods|Percent):(\d{1,6}):(\d{1,4})\s*", part)
        if not found or int(found[2]) == 0 or not 1 <= int(found[3]) <= 1800:
            values.refuse(
                name,
                f'must list policies as type:value:periodSeconds, e.g. "Pods:4:15, Percent:100:15", not "{text}"',
            )
        policies.append(Policy(kinds[found[1]], int(found[2]), int(found[3])))
    return tuple(policies)


def _triggers(values: _Values) -> tuple[Trigger, ...]:
    """Names without a metric before them are the first trigger's."""
    metrics = _metrics(values)
    triggers = []
    for metric in metrics:
        first = metric == metrics[0]

        def named(name: str, metric: str = metric, first: bool = first) -> str:
            own = f"{metric}.{name}"
            return own if values.has(own) or not first else name

        types: tuple[MetricType, ...] = ("AverageValue", "Value")
        default = _target(values, DEFAULT_THRESHOLDS[metric]) if first else DEFAULT_THRESHOLDS[metric]
        triggers.append(
            Trigger(
                metric,
                values.decimal(named("threshold"), default, positive=True),
                values.decimal(named("activationThreshold"), 0.0),
                values.choice(named("metricType"), types, types[0]),
            )
        )
    for metric in DEFAULT_THRESHOLDS.keys() - set(metrics):
        for name in _TRIGGER_NAMES:
            if values.has(f"{metric}.{name}"):
                values.refuse(f"{metric}.{name}", f"has no use; name {metric} among its {KEDA_PREFIX}triggers")
    return tuple(triggers)


def _metrics(values: _Values) -> list[str]:
    text, kind = values.text("triggers"), values.label("type")
    if text is None:
        if kind is not None and kind not in _LABEL_METRICS:
            values.refuse_label("type", f'must be {" or ".join(_LABEL_METRICS)}, not "{kind}"')
        return [_LABEL_METRICS[kind]] if kind else [INVOCATIONS]
    metrics = [part.strip() for part in text.split(",")]
    if len(set(metrics)) != len(metrics) or not set(metrics) <= DEFAULT_THRESHOLDS.keys():
        values.refuse("triggers", f'must be one or more of {", ".join(DEFAULT_THRESHOLDS)}, each once, not "{text}"')
    return metrics


def _target(values: _Values, default: float) -> float:
    target = values.label("target")
    if target is None:
        return default
    if values.whole("target", 0) == 0:
        values.refuse_label("target", f'must be a whole number above 0, not "{target}"')
    return float(target)


def _fallback(values: _Values) -> Fallback | None:
    failures, replicas = values.number("fallback.failureThreshold", None), values.number("fallback.replicas", None)
    if failures is None and replicas is None:
        return None
    if replicas is None:
        values.refuse("fallback.failureThreshold", f"needs {KEDA_PREFIX}fallback.replicas beside it; add it")
    if failures is None:
        values.refuse("fallback.replicas", f"needs {KEDA_PREFIX}fallback.failureThreshold beside it; add it")
    return Fallback(failures, replicas)


def _with_limits(values: _Values, settings: Settings) -> Settings:
    """The smallest and largest number of instances, which must fit each other and the triggers."""
    smallest = values.number("minReplicaCount", None)
    if smallest is None:
        # A ScaledObject starts from 0 by default, a function with OpenFaaS's labels from 1.
        smallest = values.whole("min", 0 if values.annotated else 1)
    largest = values.number("maxReplicaCount", None)
    if largest is None:
        largest = values.whole("max", max(settings.max_replicas, smallest))
    if smallest > largest:
        values.refuse_first(
            ("minReplicaCount", "maxReplicaCount"),
            "max",
            f"leaves a minimum of {smallest} above a maximum of {largest}; change one of them",
        )
    if smallest > MAX_REPLICAS:
        values.refuse_first(("minReplicaCount",), "min", f"is {smallest}; at most {MAX_REPLICAS} can run")
    idle = values.number("idleReplicaCount", None)
    if idle is not None and (idle != 0 or smallest == 0):
        values.refuse("idleReplicaCount", "can only be 0, beside a minReplicaCount above 0, as in KEDA; take it out")
    if values.label("zero") not in (None, "true", "false"):
        values.refuse_label("zero", f'must be "true" or "false", not "{values.label("zero")}"')
    if values.label("zero") == "true" and smallest > 0:
        idle = 0
    limited = replace(settings, min_replicas=smallest, max_replicas=min(largest, MAX_REPLICAS), idle_replicas=idle)
    if (smallest == 0 or idle == 0) and all(trigger.metric == CPU for trigger in limited.triggers):
        values.refuse_first(
            ("triggers",),
            "type",
            f"is {CPU} alone, which cannot tell a call from none; add {INVOCATIONS}, or raise minReplicaCount to 1",
        )
    return limited

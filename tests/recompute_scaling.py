"""Recomputes the scaler's decisions from the inputs that its log gives, straight from KEDA's and the HPA's rules.

Written apart from testbed/platform/scaler_*.py and sharing nothing with it, from the sources that the formulas
come from: KEDA 2 (pkg/scaling/executor) and Kubernetes (pkg/controller/podautoscaler).
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

Entry = dict[str, Any]


def recomputed(entry: Entry) -> int:
    """The number of instances that `entry` of the log should have come to."""
    settings, inputs = entry["inputs"]["settings"], entry["inputs"]
    if settings["paused"]:
        return int(inputs["replicas"])
    return keda(settings, inputs) if entry["by"] == "keda" else hpa(settings, inputs)


def check_sequence(entries: list[Entry]) -> list[str]:
    """What does not follow from the entries before, of one function: remembered activity, recommendations, changes."""
    complaints = []
    recommendations: list[tuple[float, int]] = []
    changes: dict[str, list[tuple[float, int]]] = {"added": [], "removed": []}
    last_active: float | None = None
    for entry in entries:
        inputs, outcome, number = entry["inputs"], entry["outcome"], entry["number"]
        if entry["by"] == "keda":
            told = inputs["last_active_s"]
            if last_active is not None and (told is None or told < last_active):
                complaints.append(f"{number}: activity at {last_active} is forgotten ({told})")
            last_active = outcome["last_active_s"]
        if entry["by"] == "hpa":
            window = inputs["now_s"] - settings_window(inputs["settings"])
            seen = {(at, n) for at, n in map(tuple, inputs["recommendations"])}
            complaints += [f"{number}: recommendation {one} is missing" for one in recommendations
                           if one[0] > window and one not in seen]  # fmt: skip
            for way, made in changes.items():
                if made != [tuple(one) for one in inputs[way]]:
                    complaints.append(f"{number}: {way} should be {made}")
            if outcome["recommended"] is not None:
                recommendations.append((inputs["now_s"], outcome["recommended"]))
            change = entry["desired"] - entry["current"]
            if entry["applied"] and change:
                changes["added" if change > 0 else "removed"].append((inputs["now_s"], abs(change)))
    return complaints


def settings_window(settings: Entry) -> int:
    return max(settings[way]["stabilizationWindowSeconds"] for way in ("scaleUp", "scaleDown"))


def keda(settings: Entry, inputs: Entry) -> int:
    """KEDA: only between zero (or idle) and the minimum; the rest is the HPA's."""
    now, replicas, least = inputs["now_s"], inputs["replicas"], settings["minReplicaCount"]
    idle = settings["idleReplicaCount"]
    by_calls = [metric for metric in inputs["metrics"] if metric["name"] != "cpu"]
    active = any(m["value"] is not None and m["value"] > m["activation_threshold"] for m in by_calls)
    if active or inputs["starting"]:
        if replicas == 0 or (idle is not None and replicas < least):
            return int(min(least if least > 0 else 1, settings["maxReplicaCount"]))
        return int(replicas)
    failed = [metric for metric in by_calls if metric["value"] is None]
    if failed:
        fallback = settings["fallback"]
        if fallback and any(metric["failures"] > fallback["failureThreshold"] for metric in failed):
            return int(fallback["replicas"])
        return int(replicas)
    if replicas > 0 and (least == 0 or idle is not None):
        if inputs["last_active_s"] is None:
            rested = now - inputs["created_s"] > settings["initialCooldownPeriod"]
        else:
            rested = now - inputs["last_active_s"] > settings["cooldownPeriod"]
        return 0 if rested else int(replicas)
    return int(least) if replicas < least and idle is None else int(replicas)


def hpa(settings: Entry, inputs: Entry) -> int:
    """The HPA: metrics -> largest -> stabilised -> as fast as policies allow -> within the limits."""
    current, most = inputs["replicas"], settings["maxReplicaCount"]
    least = max(1, settings["minReplicaCount"])
    if current > most:
        return int(most)
    if current < least:
        return least
    wishes = [wish(settings, inputs, metric) for metric in inputs["metrics"]]
    told = [one for one in wishes if one is not None]
    if not told or (None in wishes and max(told) < current):
        return int(current)
    wanted = stabilised(settings, inputs, max(told))
    if wanted > current:
        fastest = max(speed(settings["scaleUp"], inputs, +1), current)
        return int(min(wanted, fastest, most))
    if wanted < current:
        slowest = min(speed(settings["scaleDown"], inputs, -1), current)
        return int(max(wanted, slowest, least))
    return int(current)


def wish(settings: Entry, inputs: Entry, metric: Entry) -> int | None:
    """One metric's recommendation, in exact arithmetic."""
    target = Fraction(str(metric["threshold"]))
    value = None if metric["value"] is None else Fraction(str(metric["value"]))
    average = metric["metric_type"] == "AverageValue"
    if value is None:
        fallback = settings["fallback"]
        if not fallback or metric["failures"] <= fallback["failureThreshold"]:
            return None
        if not average:
            return int(fallback["replicas"])
        value = fallback["replicas"] * target
    ratio = value / target / max(1, inputs["existing"]) if average else value / target
    if abs(1 - ratio) <= Fraction(str(settings["tolerance"])):
        return int(inputs["replicas"])
    exact = value / target if average else ratio * inputs["ready"]
    return -((-exact.numerator) // exact.denominator)


def stabilised(settings: Entry, inputs: Entry, raw: int) -> int:
    def recent(way: str) -> list[int]:
        since = inputs["now_s"] - settings[way]["stabilizationWindowSeconds"]
        return [raw, *(n for at, n in inputs["recommendations"] if at > since)]

    lowest, highest = min(recent("scaleUp")), max(recent("scaleDown"))
    result = inputs["replicas"]
    result = max(result, lowest)
    result = min(result, highest)
    return int(result)


def speed(behaviour: Entry, inputs: Entry, sign: int) -> int:
    """How far scaling may have gone by now in the direction of `sign`."""
    if behaviour["selectPolicy"] == "Disabled":
        return int(inputs["replicas"])
    reach = []
    for policy in behaviour["policies"]:
        kind, value, period = policy.split(":")
        since = inputs["now_s"] - int(period)
        start = inputs["replicas"]
        start -= sum(n for at, n in inputs["added"] if at > since)
        start += sum(n for at, n in inputs["removed"] if at > since)
        if kind == "Pods":
            reach.append(start + sign * int(value))
        elif sign > 0:
            grown = Fraction(start * (100 + int(value)), 100)
            reach.append(int(grown) + (grown.denominator > 1))
        else:
            reach.append(int(Fraction(start * (100 - int(value)), 100)))
    furthest = behaviour["selectPolicy"] == "Max"
    return max(reach) if (sign > 0) == furthest else min(reach)

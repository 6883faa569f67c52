"""KEDA's and the HPA's rules, case by case."""

from __future__ import annotations

from dataclasses import replace

import pytest

from testbed.model.scaling.settings import PRESETS, Behaviour, Fallback, MetricType, Policy, Settings, Trigger
from testbed.platform.scaler import hpa, keda
from testbed.platform.scaler.metric import Metric, Reading, metric_of, sum_of

NOW = 1000.0
KEDA = replace(PRESETS["keda"], triggers=(Trigger("invocations", 10.0),))
FREE = Behaviour(0, (Policy("Percent", 900, 15),))
UNHURRIED = replace(KEDA, scale_up=FREE, scale_down=Behaviour(0, (Policy("Percent", 100, 15),)))


def metric(
    value: float | None, kind: MetricType = "AverageValue", failures: int = 0, name: str = "invocations"
) -> Metric:
    return Metric(name, 10.0, 0.0, kind, value, failures, "" if value is not None else "it is away")


def wanted(settings: Settings, replicas: int, *metrics: Metric, ready: int | None = None, **more: object) -> int:
    inputs = hpa.HpaInputs(NOW, replicas, replicas, replicas if ready is None else ready, metrics)
    return hpa.decide(settings, replace(inputs, **more)).desired  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("replicas", "total", "desired"),
    [
        (1, 10, 1),
        (1, 11, 1),  # 1.1 of the target is within the tolerance
        (1, 11.001, 2),
        (2, 18, 2),  # and so is 0.9
        (2, 17.999, 2),
        (3, 26.9, 3),
        (3, 20.1, 3),
        (3, 20, 2),
        (4, 1, 1),
        (4, 0, 1),
        (4, 99.9, 10),
    ],
)
def test_average_value_is_the_total_divided_by_the_target_rounded_up(replicas: int, total: float, desired: int) -> None:
    assert wanted(UNHURRIED, replicas, metric(total)) == desired


def test_value_multiplies_what_is_ready() -> None:
    assert wanted(UNHURRIED, 4, metric(20, "Value"), ready=3) == 6
    assert wanted(UNHURRIED, 4, metric(10.9, "Value"), ready=3) == 4
    assert wanted(UNHURRIED, 4, metric(5, "Value"), ready=3) == 2


def test_of_several_metrics_the_largest_counts() -> None:
    assert wanted(UNHURRIED, 2, metric(10), metric(45, name="cpu")) == 5


def test_the_limits_hold() -> None:
    assert wanted(replace(UNHURRIED, max_replicas=3), 2, metric(500)) == 3
    assert wanted(replace(UNHURRIED, min_replicas=2), 5, metric(0)) == 2
    assert wanted(replace(UNHURRIED, max_replicas=3), 7, metric(500)) == 3
    assert wanted(replace(UNHURRIED, min_replicas=4), 1, metric(0)) == 4


@pytest.mark.parametrize(("replicas", "desired"), [(1, 5), (3, 7), (4, 8), (5, 10), (20, 40)])
def test_it_rises_by_four_or_doubles_whichever_is_more(replicas: int, desired: int) -> None:
    assert wanted(KEDA, replicas, metric(1000)) == desired


def test_what_was_added_within_the_period_counts_against_the_policies() -> None:
    assert wanted(KEDA, 5, metric(1000), added=((NOW - 14, 4),)) == 5
    assert wanted(KEDA, 5, metric(1000), added=((NOW - 15, 4),)) == 10
    assert wanted(KEDA, 5, metric(1000), added=((NOW - 14, 4),), removed=((NOW - 10, 3),)) == 8


def test_policies_may_be_chosen_by_the_least_or_switched_off() -> None:
    slow = replace(KEDA, scale_up=replace(KEDA.scale_up, select="Min"))
    assert wanted(slow, 3, metric(1000)) == 6
    assert wanted(replace(KEDA, scale_up=replace(KEDA.scale_up, select="Disabled")), 3, metric(1000)) == 3
    half = Behaviour(0, (Policy("Percent", 50, 15), Policy("Pods", 1, 15)))
    assert wanted(replace(KEDA, scale_down=half), 9, metric(0)) == 4
    assert wanted(replace(KEDA, scale_down=replace(half, select="Min")), 9, metric(0)) == 8
    assert wanted(replace(KEDA, scale_down=replace(half, select="Disabled")), 9, metric(0)) == 9


def test_it_falls_to_the_highest_recommendation_of_the_window() -> None:
    earlier = ((NOW - 300, 9), (NOW - 299, 4), (NOW - 100, 3))
    assert wanted(KEDA, 5, metric(10), recommendations=earlier) == 4
    assert wanted(KEDA, 5, metric(10), recommendations=earlier[2:]) == 3


def test_it_rises_to_the_lowest_recommendation_of_its_window() -> None:
    careful = replace(UNHURRIED, scale_up=replace(FREE, stabilization_window_s=60))
    assert wanted(careful, 1, metric(50), recommendations=((NOW - 59, 2), (NOW - 10, 4))) == 2
    assert wanted(careful, 1, metric(50), recommendations=((NOW - 60, 2), (NOW - 10, 4))) == 4


def test_what_cannot_be_read_never_takes_an_instance_away() -> None:
    assert wanted(UNHURRIED, 4, metric(None)) == 4
    assert wanted(UNHURRIED, 4, metric(10), metric(None, name="cpu")) == 4
    assert wanted(UNHURRIED, 4, metric(60), metric(None, name="cpu")) == 6


def test_the_fallback_stands_in_after_more_failures_than_its_threshold() -> None:
    settings = replace(UNHURRIED, fallback=Fallback(3, 6))
    assert wanted(settings, 2, metric(None, failures=3)) == 2
    assert wanted(settings, 2, metric(None, failures=4)) == 6
    assert wanted(settings, 2, metric(None, "Value", failures=4)) == 6


def test_a_paused_function_stays_as_it_is() -> None:
    assert wanted(replace(UNHURRIED, paused=True), 2, metric(500)) == 2
    assert to_zero(replace(KEDA, paused=True), 2, metric(0), last_active_s=0.0) == 2


def to_zero(
    settings: Settings, replicas: int, *metrics: Metric, last_active_s: float | None = NOW - 301, starting: bool = False
) -> int:
    inputs = keda.KedaInputs(NOW, replicas, metrics, NOW - 50, last_active_s, starting)
    return keda.decide(settings, inputs).desired


def test_active_is_strictly_above_the_activation_threshold() -> None:
    assert keda.is_active(metric(0.001))
    assert not keda.is_active(metric(0))
    five = replace(metric(5), activation_threshold=5.0)
    assert not keda.is_active(five)
    assert keda.is_active(replace(five, value=5.001))
    assert not keda.is_active(metric(50, name="cpu"))


def test_from_zero_to_the_minimum_and_at_least_one() -> None:
    assert to_zero(KEDA, 0, metric(1)) == 1
    assert to_zero(replace(KEDA, min_replicas=3), 0, metric(1)) == 3
    assert to_zero(replace(KEDA, max_replicas=0), 0, metric(1)) == 0
    assert to_zero(KEDA, 0, metric(0)) == 0
    assert to_zero(replace(KEDA, min_replicas=2), 0, metric(0)) == 2


def test_to_zero_once_the_cooldown_is_over() -> None:
    assert to_zero(KEDA, 4, metric(0), last_active_s=NOW - 300) == 4
    assert to_zero(KEDA, 4, metric(0), last_active_s=NOW - 300.1) == 0
    assert to_zero(replace(KEDA, min_replicas=1), 4, metric(0)) == 4
    assert to_zero(KEDA, 4, metric(1)) == 4


def test_a_new_function_waits_for_its_initial_cooldown_only() -> None:
    assert to_zero(KEDA, 1, metric(0), last_active_s=None) == 0
    assert to_zero(replace(KEDA, initial_cooldown_s=50), 1, metric(0), last_active_s=None) == 1
    assert to_zero(replace(KEDA, initial_cooldown_s=49), 1, metric(0), last_active_s=None) == 0


def test_idle_is_zero_and_active_the_minimum() -> None:
    settings = replace(KEDA, min_replicas=3, idle_replicas=0)
    assert to_zero(settings, 3, metric(0)) == 0
    assert to_zero(settings, 0, metric(0)) == 0
    assert to_zero(settings, 0, metric(1)) == 3
    assert to_zero(settings, 1, metric(1)) == 3


def test_a_first_instance_that_is_starting_is_not_taken_away() -> None:
    assert to_zero(KEDA, 1, metric(0), starting=True) == 1


def test_what_cannot_be_read_never_puts_to_zero() -> None:
    assert to_zero(KEDA, 1, metric(None)) == 1
    assert to_zero(KEDA, 1, metric(0), metric(None, name="cpu")) == 0
    settings = replace(KEDA, fallback=Fallback(3, 2))
    assert to_zero(settings, 0, metric(None, failures=3)) == 0
    assert to_zero(settings, 0, metric(None, failures=4)) == 2


def test_values_are_cut_to_thousandths() -> None:
    trigger = Trigger("invocations", 10.0)
    assert metric_of(trigger, Reading(10.00099), 0).value == 10.0
    assert metric_of(trigger, Reading(0.0009), 0).value == 0


def test_a_sum_needs_all_its_parts() -> None:
    assert sum_of({"gateway": Reading(1.5), "switches": Reading(2.0)}) == Reading(3.5)
    assert sum_of({"gateway": Reading(1.5), "switches": Reading(None, "gone", True)}) == Reading(
        None, "switches: gone", True
    )

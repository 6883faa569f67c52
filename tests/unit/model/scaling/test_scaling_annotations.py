"""Which settings a function's annotations and labels say, and which are refused, in which words."""

from __future__ import annotations

import pytest

from testbed.model.annotations import KEDA_PREFIX, SCALE_PREFIX
from testbed.model.scaling.annotations import ScalingError, read_settings
from testbed.model.scaling.settings import DEFAULT_THRESHOLDS, PRESETS, Behaviour, Fallback, Policy, Settings, Trigger

KEDA, LAB = PRESETS["keda"], PRESETS["lab"]


def settings(annotations: dict[str, str], labels: dict[str, str] | None = None, preset: Settings = KEDA) -> Settings:
    found = maybe(annotations, labels or {}, preset)
    assert found is not None
    return found


def maybe(annotations: dict[str, str], labels: dict[str, str], preset: Settings = KEDA) -> Settings | None:
    return read_settings(
        "f",
        {SCALE_PREFIX + name: value for name, value in labels.items()},
        {KEDA_PREFIX + name: value for name, value in annotations.items()},
        preset,
    )


def test_the_keda_preset_has_the_originals_defaults() -> None:
    found = settings({"threshold": "7"})
    assert (found.polling_interval_s, found.cooldown_s, found.initial_cooldown_s) == (30, 300, 0)
    assert (found.min_replicas, found.max_replicas, found.idle_replicas) == (0, 100, None)
    assert (found.sync_s, found.tolerance, found.fallback) == (15, 0.1, None)
    assert found.scale_up == Behaviour(0, (Policy("Pods", 4, 15), Policy("Percent", 100, 15)), "Max")
    assert found.scale_down == Behaviour(300, (Policy("Percent", 100, 15),), "Max")
    assert found.triggers == (Trigger("invocations", 7.0, 0.0, "AverageValue"),)


def test_the_lab_preset_differs_in_times_and_maximum_only() -> None:
    keda, lab = settings({"threshold": "7"}).to_json(), settings({"threshold": "7"}, preset=LAB).to_json()
    different = {name for name in keda if keda[name] != lab[name]}
    assert different == {
        *("syncPeriod", "rateWindowSeconds", "pollingInterval", "cooldownPeriod", "maxReplicaCount"),
        *("scaleUp", "scaleDown"),
    }


def test_every_annotation_is_understood() -> None:
    found = settings(
        {
            "pollingInterval": "2",
            "cooldownPeriod": "3",
            "initialCooldownPeriod": "4",
            "minReplicaCount": "1",
            "maxReplicaCount": "9",
            "idleReplicaCount": "0",
            "rateWindowSeconds": "6",
            "tolerance": "0.25",
            "paused": "true",
            "fallback.failureThreshold": "3",
            "fallback.replicas": "2",
            "triggers": "invocations, cpu",
            "threshold": "12.5",
            "activationThreshold": "1",
            "metricType": "Value",
            "cpu.threshold": "250",
            "scaleUp.stabilizationWindowSeconds": "10",
            "scaleUp.policies": "Pods:1:5",
            "scaleUp.selectPolicy": "Min",
            "scaleDown.stabilizationWindowSeconds": "20",
            "scaleDown.policies": "Percent:50:60, Pods:2:30",
            "scaleDown.selectPolicy": "Disabled",
        }
    )
    assert found == Settings(
        sync_s=15,
        rate_window_s=6,
        polling_interval_s=2,
        cooldown_s=3,
        initial_cooldown_s=4,
        min_replicas=1,
        max_replicas=9,
        idle_replicas=0,
        tolerance=0.25,
        paused=True,
        fallback=Fallback(3, 2),
        triggers=(Trigger("invocations", 12.5, 1.0, "Value"), Trigger("cpu", 250.0)),
        scale_up=Behaviour(10, (Policy("Pods", 1, 5),), "Min"),
        scale_down=Behaviour(20, (Policy("Percent", 50, 60), Policy("Pods", 2, 30)), "Disabled"),
    )


@pytest.mark.parametrize(
    ("labels", "managed"),
    [
        ({}, False),
        ({"min": "1"}, False),
        ({"min": "3", "max": "3"}, False),
        ({"target": "50"}, False),
        ({"min": "0"}, True),
        ({"max": "2"}, True),
        ({"min": "2", "max": "3"}, True),
    ],
)
def test_only_functions_that_ask_for_it_are_scaled(labels: dict[str, str], managed: bool) -> None:
    assert (maybe({}, labels) is not None) is managed


def test_labels_of_openfaas_are_understood() -> None:
    found = settings(
        {}, {"min": "2", "max": "7", "target": "40", "type": "rps", "zero": "true", "zero-duration": "1m30s"}
    )
    assert (found.min_replicas, found.max_replicas, found.idle_replicas, found.cooldown_s) == (2, 7, 0, 90)
    assert found.triggers == (Trigger("invocations", 40.0),)
    assert settings({}, {"max": "7", "type": "cpu"}).triggers == (Trigger("cpu", DEFAULT_THRESHOLDS["cpu"]),)


def test_annotations_win_over_labels() -> None:
    found = settings(
        {
            "minReplicaCount": "3",
            "maxReplicaCount": "4",
            "threshold": "1",
            "cooldownPeriod": "8",
            "triggers": "invocations",
        },
        {"min": "1", "max": "9", "target": "40", "type": "cpu", "zero-duration": "15m"},
    )
    assert (found.min_replicas, found.max_replicas, found.cooldown_s) == (3, 4, 8)
    assert found.triggers == (Trigger("invocations", 1.0),)


def test_a_function_with_labels_alone_starts_from_one_and_an_annotated_one_from_zero() -> None:
    assert settings({}, {"max": "5"}).min_replicas == 1
    assert settings({"threshold": "5"}).min_replicas == 0


def test_a_minimum_above_the_presets_maximum_raises_that() -> None:
    assert settings({"minReplicaCount": "8"}, preset=LAB).max_replicas == 8


@pytest.mark.parametrize(
    ("annotations", "labels", "message"),
    [
        ({"poolingInterval": "1"}, {}, 'poolingInterval of function f is not known; did you mean "autoscaling.keda.sh'),
        ({"pollingInterval": "0"}, {}, 'pollingInterval of function f must be a whole number of at least 1, not "0"'),
        ({"cooldownPeriod": "5m"}, {}, 'cooldownPeriod of function f must be a whole number of at least 0, not "5m"'),
        ({"threshold": "0"}, {}, 'threshold of function f must be a number above 0, not "0"'),
        ({"threshold": "nan"}, {}, 'threshold of function f must be a number above 0, not "nan"'),
        ({"metricType": "Utilization"}, {}, 'metricType of function f must be AverageValue or Value, not "Utilization'),
        ({"paused": "yes"}, {}, 'paused of function f must be true or false, not "yes"'),
        ({"triggers": "cpu,memory"}, {}, 'triggers of function f must be one or more of invocations, cpu, each once, '),
        ({"triggers": "cpu"}, {}, "triggers of function f is cpu alone, which cannot tell a call from none; add invoc"),
        ({"cpu.threshold": "1"}, {}, "cpu.threshold of function f has no use; name cpu among its autoscaling.keda.sh/"),
        ({"minReplicaCount": "3", "maxReplicaCount": "2"}, {}, "minReplicaCount of function f leaves a minimum of 3 a"),
        ({"maxReplicaCount": "2"}, {"min": "3"}, "maxReplicaCount of function f leaves a minimum of 3 above a maximum"),
        ({"minReplicaCount": "201"}, {}, "minReplicaCount of function f is 201; at most 200 can run"),
        ({"idleReplicaCount": "1", "minReplicaCount": "2"}, {}, "idleReplicaCount of function f can only be 0, beside"),
        ({"idleReplicaCount": "0"}, {}, "idleReplicaCount of function f can only be 0, beside a minReplicaCount above"),
        ({"fallback.replicas": "2"}, {}, "fallback.replicas of function f needs autoscaling.keda.sh/fallback.failureT"),
        ({"fallback.failureThreshold": "2"}, {}, "fallback.failureThreshold of function f needs autoscaling.keda.sh/f"),
        ({"scaleUp.policies": "Pods=4"}, {}, "scaleUp.policies of function f must list policies as type:value:periodS"),
        ({"scaleUp.policies": "Pods:4:1801"}, {}, "scaleUp.policies of function f must list policies as type:value:pe"),
        ({"scaleDown.stabilizationWindowSeconds": "3601"}, {}, "stabilizationWindowSeconds of function f is 3601; Kub"),
        ({}, {"min": "0", "type": "capacity"}, 'com.openfaas.scale.type of function f must be rps or cpu, not "capaci'),
        ({}, {"min": "0", "type": "cpu"}, "com.openfaas.scale.type of function f is cpu alone, which cannot tell"),
        ({}, {"min": "0", "target": "0"}, 'scale.target of function f must be a whole number above 0, not "0"'),
        ({}, {"min": "0", "zero": "yes"}, 'scale.zero of function f must be "true" or "false", not "yes"'),
        ({}, {"min": "0", "zero-duration": "soon"}, "zero-duration of function f must be a duration such as 15m or 90"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_in_one_sentence(
    annotations: dict[str, str], labels: dict[str, str], message: str
) -> None:
    with pytest.raises(ScalingError) as caught:
        maybe(annotations, labels)
    assert message in str(caught.value)
    assert caught.value.key in str(caught.value)

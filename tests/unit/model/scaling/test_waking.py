"""Which functions a call may start: the rule reads two settings, as all the settings would be read."""

from __future__ import annotations

import pytest

from testbed.model.annotations import KEDA_PREFIX, SCALE_PREFIX
from testbed.model.scaling.annotations import read_settings
from testbed.model.scaling.settings import PRESETS
from testbed.model.scaling.waking import may_wake, why_not


def texts(prefix: str, values: dict[str, str]) -> dict[str, str]:
    return {prefix + name: text for name, text in values.items()}


@pytest.mark.parametrize(
    ("annotations", "labels", "may"),
    [
        ({}, {}, True),
        ({"paused": "false"}, {}, True),
        ({"paused": "true"}, {}, False),
        ({"paused": "true", "maxReplicaCount": "3"}, {"min": "0"}, False),
        ({"maxReplicaCount": "0"}, {}, False),
        ({"maxReplicaCount": "00"}, {}, False),
        ({"maxReplicaCount": "10"}, {}, True),
        ({}, {"min": "0", "max": "0"}, False),
        ({}, {"min": "0", "max": "1"}, True),
        ({"maxReplicaCount": "2"}, {"min": "0", "max": "0"}, True),
        ({"maxReplicaCount": "0"}, {"min": "0", "max": "5"}, False),
    ],
)
def test_a_call_wakes_what_is_neither_paused_nor_limited_to_none(
    annotations: dict[str, str], labels: dict[str, str], may: bool
) -> None:
    annotations, labels = texts(KEDA_PREFIX, annotations), texts(SCALE_PREFIX, labels)
    assert may_wake(labels, annotations) is may
    settings = read_settings("f", labels, annotations, PRESETS["lab"])
    assert may == (settings is None or not (settings.paused or settings.max_replicas == 0))


def test_what_stands_in_the_way_is_said_with_its_remedy() -> None:
    assert why_not({}, {}) is None
    assert (
        why_not({}, texts(KEDA_PREFIX, {"paused": "true"}))
        == "is paused; take its annotation autoscaling.keda.sh/paused away"
    )
    assert why_not({}, texts(KEDA_PREFIX, {"maxReplicaCount": "0"})) == "has a maxReplicaCount of 0; raise it"
    assert why_not(texts(SCALE_PREFIX, {"max": "0"}), {}) == "has a com.openfaas.scale.max of 0; raise it"


@pytest.mark.parametrize("text", ["", "few", "-1"])
def test_a_largest_number_that_is_none_keeps_nobody_asleep(text: str) -> None:
    assert may_wake({}, texts(KEDA_PREFIX, {"maxReplicaCount": text}))

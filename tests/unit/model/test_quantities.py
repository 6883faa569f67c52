"""Limits as Kubernetes writes them, and what is said of those that are wrong."""

from __future__ import annotations

import pytest

from testbed.model.errors import UsageError
from testbed.model.quantities import Limits, cpu_cores, memory_bytes, parse_limits


@pytest.mark.parametrize(
    ("text", "value"),
    [("128Mi", 128 << 20), ("64M", 64_000_000), ("1Gi", 1 << 30), ("8388608", 1 << 23), ("1e8", 10**8),
     ("0.5G", 5 * 10**8), ("16384Ki", 1 << 24), ("10000k", 10**7), ("8388608000m", 8388608)],
)  # fmt: skip
def test_memory(text: str, value: int) -> None:
    assert memory_bytes(text) == value


@pytest.mark.parametrize(("text", "value"), [("100m", 0.1), ("0.5", 0.5), ("2", 2.0), (".25", 0.25), ("1500m", 1.5)])
def test_cpu(text: str, value: float) -> None:
    assert cpu_cores(text) == value


def test_both_and_neither() -> None:
    assert parse_limits({"memory": "128Mi", "cpu": "100m"}) == Limits(128 << 20, 0.1)
    assert parse_limits({"memory": "", "cpu": "1"}) == Limits(None, 1.0)
    assert not parse_limits({})
    assert parse_limits({"cpu": "1"})


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({"memory": "lots"}, 'memory limit "lots" is not a Kubernetes quantity; write it like "128Mi"'),
        ({"memory": "128MB"}, 'memory limit "128MB" ends in an unknown unit "MB"; write it like "128Mi"'),
        ({"memory": "-1Mi"}, 'memory limit "-1Mi" is not a Kubernetes quantity; write it like "128Mi"'),
        ({"memory": "128"}, 'memory limit "128" is 128 bytes; no function starts with less than 4Mi'),
        ({"cpu": "100 m"}, 'cpu limit "100 m" is not a Kubernetes quantity; write it like "100m"'),
        ({"cpu": "1m"}, 'cpu limit "1m" is less than 10m, the least that is enforced'),
        ({"disk": "1"}, '"disk" in limits is not known; give memory and cpu'),
    ],
)
def test_wrong_limits_are_named(limits: dict[str, str], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_limits(limits)
    assert str(caught.value) == message

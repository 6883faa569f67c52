"""Held calls ask for a function's first instance: one scale request, whoever asks how often."""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any

import pytest

from testbed.model.cluster import ClusterState, Deployment, Function
from testbed.model.errors import PlatformError
from testbed.model.scaling.settings import PRESETS
from testbed.platform.scaler.activation import Activator, UnknownFunction, WillNotScale
from testbed.platform.scaler.decisions import DecisionLog
from testbed.platform.scaler.engine import Engine
from testbed.platform.scaler.meter import Meter
from testbed.platform.scaler.service import Scaler
from testbed.platform.scaler.sources import NotReadable

NAME = "f.t"


def in_loop(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run the test in an event loop of its own."""

    @functools.wraps(test)
    def run(*arguments: Any, **named: Any) -> None:
        asyncio.run(test(*arguments, **named))

    return run


class Asked:
    """Stands for the apiserver: counts scale requests, and fails as often as it is told to."""

    def __init__(self, failures: int = 0) -> None:
        self.requests: list[tuple[str, int]] = []
        self._failures = failures

    async def scale(self, function: Function, replicas: int) -> None:
        self.requests.append((function.full_name, replicas))
        await asyncio.sleep(0)
        if self._failures:
            self._failures -= 1
            raise PlatformError("the apiserver is away")


def state(replicas: int, annotations: dict[str, str] | None = None) -> ClusterState:
    annotated = {f"autoscaling.keda.sh/{key}": value for key, value in (annotations or {}).items()}
    function = Function("t", "f", 256, "10.96.1.0", "i", replicas, annotations=annotated)
    return ClusterState(1, (1, 2), {"t": Deployment("t")}, {NAME: function})


async def no_usage(_: Function) -> float:
    raise NotReadable("no cgroups")


def scaler(asked: Asked, cluster: ClusterState, dry_run: bool = False) -> Scaler:
    meter = Meter({}, no_usage, time.monotonic)
    engine = Engine(PRESETS["lab"], meter, asked.scale, DecisionLog(None), time.monotonic, dry_run=dry_run)
    made = Scaler(engine, Activator(asked.scale))
    made.changed(cluster)
    return made


@in_loop
async def test_many_activations_make_one_scale_request() -> None:
    asked = Asked()
    one = scaler(asked, state(0))
    assert await asyncio.gather(*[one.activate(NAME) for _ in range(50)]) == [1] * 50
    assert await one.activate(NAME) == 1
    assert asked.requests == [(NAME, 1)]


@in_loop
async def test_a_function_that_has_been_at_zero_again_is_asked_for_again() -> None:
    asked = Asked()
    one = scaler(asked, state(0))
    await one.activate(NAME)
    one.changed(replace(state(1), version=2))
    assert await one.activate(NAME) == 1
    one.changed(replace(state(0), version=3))
    await one.activate(NAME)
    assert asked.requests == [(NAME, 1)] * 2


@in_loop
async def test_a_minimum_is_what_it_starts_with() -> None:
    asked = Asked()
    assert await scaler(asked, state(0, {"minReplicaCount": "3", "idleReplicaCount": "0"})).activate(NAME) == 3
    assert asked.requests == [(NAME, 3)]


@pytest.mark.parametrize("annotations", [{"paused": "true"}, {"maxReplicaCount": "0"}])
@in_loop
async def test_what_must_stay_at_zero_is_refused(annotations: dict[str, str]) -> None:
    asked = Asked()
    with pytest.raises(WillNotScale):
        await scaler(asked, state(0, annotations)).activate(NAME)
    assert asked.requests == []


@in_loop
async def test_a_dry_run_changes_nothing() -> None:
    asked = Asked()
    with pytest.raises(WillNotScale, match="dry run"):
        await scaler(asked, state(0), dry_run=True).activate(NAME)
    assert asked.requests == []


@in_loop
async def test_unknown_functions_and_a_silent_apiserver_are_told_apart() -> None:
    with pytest.raises(UnknownFunction):
        await scaler(Asked(), state(0)).activate("g.t")
    with pytest.raises(PlatformError, match="not heard"):
        await scaler(Asked(), ClusterState()).activate(NAME)


@in_loop
async def test_after_a_failure_the_next_activation_asks_again() -> None:
    asked = Asked(failures=1)
    one = scaler(asked, state(0))
    with pytest.raises(PlatformError):
        await one.activate(NAME)
    assert await one.activate(NAME) == 1
    assert asked.requests == [(NAME, 1)] * 2

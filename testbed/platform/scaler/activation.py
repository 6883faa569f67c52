"""The way from no instance to one, at once: the controller, which holds a call for a function, asks for it here.

However many ask, the apiserver gets one scale request a function. Scaling by metrics is elsewhere
(`engine`); which function may be woken, `testbed.model.scaling.waking` says.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from testbed.model.cluster import Function
from testbed.model.errors import TestbedError
from testbed.model.scaling import waking
from testbed.model.scaling.settings import Settings
from testbed.platform.scaler import keda

UNSEEN_S = 2.0
"""So long after a scale request the watch has surely told of it, unless the apiserver is away."""


class UnknownFunction(TestbedError):
    """There is no such function."""


class WillNotScale(TestbedError):
    """The function stays at zero whoever asks."""


Scale = Callable[[Function, int], Coroutine[Any, Any, None]]
"""Asks the apiserver for that many replicas; raises PlatformError."""


def first_replicas(function: Function, settings: Settings | None) -> int:
    """How many instances a function gets that had none: its minimum, at least 1. Raises WillNotScale."""
    reason = waking.why_not(function.labels, function.annotations)
    if reason:
        raise WillNotScale(f"{function.full_name} {reason}")
    if settings is None:
        return 1
    return keda.first_replicas(settings)


class Activator:
    """Scale requests under way, by function."""

    def __init__(self, scale: Scale) -> None:
        self._scale = scale
        self._under_way: dict[str, asyncio.Task[None]] = {}

    async def activate(self, function: Function, replicas: int) -> bool:
        """Ask for `replicas`, unless that has been asked already; whether this call was the one that did.

        Returns once the apiserver has agreed; raises PlatformError when it has not.
        """
        task = self._under_way.get(function.full_name)
        first = task is None
        if task is None:
            task = self._under_way[function.full_name] = asyncio.create_task(self._scale(function, replicas))
            task.add_done_callback(lambda done: self._asked(function.full_name, done))
        await asyncio.shield(task)
        return first

    def seen(self, full_name: str) -> None:
        """The watch tells of replicas: the next time that there are none is a new one."""
        self._under_way.pop(full_name, None)

    def _asked(self, full_name: str, task: asyncio.Task[None]) -> None:
        def forget() -> None:
            if self._under_way.get(full_name) is task:
                del self._under_way[full_name]

        if task.cancelled() or task.exception() is not None:
            forget()
        else:
            asyncio.get_running_loop().call_later(UNSEEN_S, forget)

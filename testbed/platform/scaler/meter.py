"""What each function's metrics are now, from as few questions to their sources as possible.

It keeps what is needed to turn counters into rates. A source that does not answer gives failed readings and
leaves all that is known as it was: nothing falls because a counter was away.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass

from testbed.model.cluster import ClusterState, Function, Route
from testbed.model.scaling.settings import CPU, Settings
from testbed.platform.scaler.metric import Reading, sum_of
from testbed.platform.scaler.rates import Key, RateWindow, Totals
from testbed.platform.scaler.sources import NotReadable

ReadCounters = Callable[[], Awaitable[Mapping[Key, float]]]
ReadCpu = Callable[[Function], Awaitable[float]]

BY_GATEWAY, BY_SWITCHES = "gateway", "switches"


@dataclass(frozen=True)
class Asked:
    """A function whose metrics are wanted."""

    function: Function
    settings: Settings


def parts(function: Function, state: ClusterState) -> tuple[str, ...]:
    """Where the function's invocations are counted: by the gateway, by switches, or in part by each."""
    direct = state.route(function.namespace) is Route.DIRECT
    called = direct and any(
        function.name in other.calls
        for other in state.functions.values()
        if other.namespace == function.namespace and other is not function
    )
    by_gateway = function.ingress or not called
    return (*((BY_GATEWAY,) if by_gateway else ()), *((BY_SWITCHES,) if called else ()))


class Meter:
    """The sources, and the readings kept of them."""

    def __init__(self, counters: Mapping[str, ReadCounters], cpu: ReadCpu, clock: Callable[[], float]) -> None:
        self._counters = counters
        self._cpu = cpu
        self._clock = clock
        self._totals = {name: Totals() for name in counters}
        self._windows: dict[tuple[str, str], RateWindow] = {}

    async def read(self, asked: Iterable[Asked], state: ClusterState) -> dict[str, dict[str, Reading]]:
        """Function -> metric -> reading; every source that is needed is asked once."""
        asked = list(asked)
        wanted = {one.function.full_name: parts(one.function, state) for one in asked}
        needed = sorted({source for sources in wanted.values() for source in sources})
        problems = dict(zip(needed, await asyncio.gather(*map(self._take, needed)), strict=True))
        found = await asyncio.gather(*(self._of(one, wanted[one.function.full_name], problems) for one in asked))
        return {one.function.full_name: readings for one, readings in zip(asked, found, strict=True)}

    def forget(self, full_name: str) -> None:
        """The function is no longer scaled."""
        for key in [key for key in self._windows if key[1] == full_name]:
            del self._windows[key]

    async def _take(self, source: str) -> tuple[float, str]:
        """Read a source; (when that was, "" or what went wrong)."""
        try:
            self._totals[source].take(await self._counters[source]())
        except NotReadable as error:
            return self._clock(), str(error)
        return self._clock(), ""

    async def _of(
        self, one: Asked, sources: tuple[str, ...], problems: Mapping[str, tuple[float, str]]
    ) -> dict[str, Reading]:
        readings: dict[str, Reading] = {}
        for trigger in one.settings.triggers:
            if trigger.metric == CPU:
                readings[trigger.metric] = await self._usage(one.function)
            else:
                found = {source: self._rate(source, one, *problems[source]) for source in sources}
                readings[trigger.metric] = sum_of(found)
        return readings

    def _rate(self, source: str, one: Asked, at_s: float, problem: str) -> Reading:
        if problem:
            return Reading(None, problem, failed=True)
        name = one.function.full_name
        window = self._windows.get((source, name))
        if window is None or window.window_s != one.settings.rate_window_s:
            window = self._windows[source, name] = RateWindow(one.settings.rate_window_s)
        window.add(at_s, self._totals[source].of(name))
        rate = window.rate()
        return Reading(None, "this is the first reading") if rate is None else Reading(rate)

    async def _usage(self, function: Function) -> Reading:
        if not function.replicas:
            return Reading(0.0)
        try:
            return Reading(await self._cpu(function))
        except NotReadable as error:
            return Reading(None, str(error), failed=True)

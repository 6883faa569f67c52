"""Decides for every function that is to be scaled, when it is time to, and has the decision carried out.

What to decide is in `keda` and `hpa`; this module knows when, keeps what they must remember, and
writes each decision down. While no function is to be scaled it asks nobody anything.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from testbed.model.cluster import ClusterState, Function, Phase
from testbed.model.errors import PlatformError
from testbed.model.scaling.annotations import ScalingError, read_settings
from testbed.model.scaling.settings import Settings
from testbed.platform.scaler import hpa, keda
from testbed.platform.scaler.decisions import Decision, DecisionLog
from testbed.platform.scaler.meter import Asked, Meter
from testbed.platform.scaler.metric import Metric, Reading, metric_of

START_PATIENCE_S = 100.0
"""So long a first instance may take to start, as OpenFaaS's gateway waits."""
REMEMBERED_S = 3600.0
"""Recommendations and changes older than any window or period may be."""

log = logging.getLogger("scaler")

Scale = Callable[[Function, int], Awaitable[Any]]


@dataclass
class Scaled:
    """A function that is scaled, and what has to be remembered of it. Times by the engine's clock."""

    settings: Settings
    id: int
    created_s: float
    last_active_s: float | None
    starting_since_s: float | None = None
    next_poll_s: float = 0.0
    next_sync_s: float = 0.0
    failures: dict[str, int] = field(default_factory=dict)
    recommendations: tuple[hpa.Dated, ...] = ()
    added: tuple[hpa.Dated, ...] = ()
    removed: tuple[hpa.Dated, ...] = ()
    idle_said: bool = False
    metrics: tuple[Metric, ...] = ()

    def starting(self, now_s: float) -> bool:
        return self.starting_since_s is not None and now_s - self.starting_since_s < START_PATIENCE_S


class Engine:
    """All functions that are scaled. `connected` tells whether the cluster state is fresh."""

    def __init__(
        self,
        preset: Settings,
        meter: Meter,
        scale: Scale,
        book: DecisionLog,
        clock: Callable[[], float],
        connected: Callable[[], bool] = lambda: True,
        dry_run: bool = False,
    ) -> None:
        self.preset = preset
        self.dry_run = dry_run
        self.state = ClusterState()
        self.scaled: dict[str, Scaled] = {}
        self.book = book
        self._meter = meter
        self._scale = scale
        self._clock = clock
        self._connected = connected
        self._wake = asyncio.Event()

    # What the cluster tells

    def changed(self, state: ClusterState) -> None:
        """The watch's news: functions come and go, and others scale them too."""
        before, self.state = self.state, state
        first = not before.nodes
        for name, function in state.functions.items():
            old = before.functions.get(name)
            if old is not function:
                self._changed_function(function, old, first)
        for name in self.scaled.keys() - state.functions.keys():
            self._forget(name)
        self._notice_starts()

    def activated(self, function: Function, replicas: int) -> None:
        """A call that waited has had the function scaled from zero."""
        inputs = {"replicas": 0}
        self._write(function, "activation", inputs, {}, replicas, "a call waits for it", applied=True)

    def _changed_function(self, function: Function, old: Function | None, first: bool) -> None:
        name, now_s = function.full_name, self._clock()
        settings = self._settings_of(function)
        if settings is None:
            self._forget(name)
            return
        scaled = self.scaled.get(name)
        if scaled is None or scaled.id != function.id:
            self._forget(name)
            scaled = self.scaled[name] = self._remembered(function, settings, first, now_s)
            self._wake.set()
        elif scaled.settings != settings:
            scaled.settings = settings
            scaled.next_poll_s = scaled.next_sync_s = 0.0
            self._wake.set()
        if old is not None and old.replicas == 0 < function.replicas:
            scaled.starting_since_s = now_s  # whoever did it: the cooldown begins when an instance is ready

    def _settings_of(self, function: Function) -> Settings | None:
        try:
            return read_settings(function.name, function.labels, function.annotations, self.preset)
        except ScalingError as error:  # the apiserver refuses such; an older database may hold one
            log.warning("%s is not scaled: %s", function.full_name, error)
            return None

    def _remembered(self, function: Function, settings: Settings, first: bool, now_s: float) -> Scaled:
        """A function new to this process.

        When one that was there before the scaler was active last, nobody knows: its cooldown counts from now, and
        what it has is taken for the first recommendation, so that a restart takes nothing away.
        """
        scaled = Scaled(settings, function.id, now_s, now_s if first and function.replicas else None)
        if first:
            _recall(scaled, self.book.last(function.full_name, "hpa"))
        return scaled

    def _forget(self, name: str) -> None:
        if self.scaled.pop(name, None) is not None:
            self._meter.forget(name)

    def _notice_starts(self) -> None:
        """A function's first instance is ready: its cooldown begins anew."""
        waiting = {name: one for name, one in self.scaled.items() if one.starting_since_s is not None}
        for instance in self.state.instances.values() if waiting else ():
            scaled = waiting.get(instance.function_name)
            if scaled is not None and instance.phase is Phase.READY:
                scaled.starting_since_s = None
                scaled.last_active_s = self._clock()

    # When

    async def run(self) -> None:
        """Decide whenever it is time to, for ever."""
        while True:
            self._wake.clear()
            due_s = min((min(one.next_poll_s, one.next_sync_s) for one in self.scaled.values()), default=None)
            wait_s = None if due_s is None else max(0.0, due_s - self._clock())
            try:
                await asyncio.wait_for(self._wake.wait(), wait_s)
            except TimeoutError:
                await self.tick()

    async def tick(self) -> None:
        """Decide for all functions whose time has come. Nothing is decided while the cluster's state is stale."""
        now_s = self._clock()
        polls = {name for name, one in self.scaled.items() if one.next_poll_s <= now_s}
        syncs = {name for name, one in self.scaled.items() if one.next_sync_s <= now_s}
        for name in polls:
            self.scaled[name].next_poll_s = _next(now_s, self.scaled[name].settings.polling_interval_s)
        for name in syncs:
            self.scaled[name].next_sync_s = _next(now_s, self.scaled[name].settings.sync_s)
        if not self._connected():
            return
        syncs = {name for name in syncs if name in polls or self.state.functions[name].replicas}
        asked = [Asked(self.state.functions[name], self.scaled[name].settings) for name in sorted(polls | syncs)]
        if not asked:
            return
        readings = await self._meter.read(asked, self.state)
        await asyncio.gather(*(self._decide(name, one, name in polls, name in syncs) for name, one in readings.items()))

    # What

    async def _decide(self, name: str, readings: Mapping[str, Reading], poll: bool, sync: bool) -> None:
        scaled, function = self.scaled.get(name), self.state.functions.get(name)
        if scaled is None or function is None:
            return  # it went while its metrics were read
        scaled.metrics = _metrics(scaled, readings)
        if poll and await self._by_keda(function, scaled):
            return
        if sync and function.replicas:
            await self._by_hpa(function, scaled)

    async def _by_keda(self, function: Function, scaled: Scaled) -> bool:
        """KEDA's decision; whether it is to change something."""
        now_s = self._clock()
        inputs = keda.KedaInputs(
            now_s, function.replicas, scaled.metrics, scaled.created_s, scaled.last_active_s, scaled.starting(now_s)
        )
        outcome = keda.decide(scaled.settings, inputs)
        scaled.last_active_s = outcome.last_active_s
        change = outcome.desired != function.replicas
        idle = not (change or outcome.active or function.replicas or any(one.failures for one in scaled.metrics))
        if not (idle and scaled.idle_said):  # a function that rests at zero says so once
            await self._carry_out(function, "keda", scaled, inputs, outcome)
        scaled.idle_said = idle
        return change

    async def _by_hpa(self, function: Function, scaled: Scaled) -> None:
        now_s = self._clock()
        instances = [one for one in self.state.instances.values() if one.function_name == function.full_name]
        if not scaled.recommendations:  # what there is counts as the first recommendation, as in the HPA
            scaled.recommendations = ((now_s, function.replicas),)
        inputs = hpa.HpaInputs(
            now_s,
            function.replicas,
            sum(one.phase is not Phase.DRAINING for one in instances),
            sum(one.phase is Phase.READY for one in instances),
            scaled.metrics,
            scaled.recommendations,
            scaled.added,
            scaled.removed,
        )
        outcome = hpa.decide(scaled.settings, inputs)
        applied = await self._carry_out(function, "hpa", scaled, inputs, outcome)
        _remember(scaled, inputs, outcome, applied)

    async def _carry_out(
        self,
        function: Function,
        by: str,
        scaled: Scaled,
        inputs: keda.KedaInputs | hpa.HpaInputs,
        outcome: keda.KedaOutcome | hpa.HpaOutcome,
    ) -> bool:
        """Have the apiserver scale when that is decided, and write the decision down; whether it was applied."""
        applied, error = False, ""
        if outcome.desired != function.replicas and not self.dry_run:
            try:
                await self._scale(function, outcome.desired)
                applied = True
            except PlatformError as problem:
                error = str(problem)
        told = {"settings": scaled.settings.to_json(), **asdict(inputs)}
        self._write(function, by, told, asdict(outcome), outcome.desired, outcome.reason, applied=applied, error=error)
        if applied:
            log.info("%s: %d -> %d, %s: %s", function.full_name, function.replicas, outcome.desired, by, outcome.reason)
        return applied

    def _write(
        self,
        function: Function,
        by: str,
        inputs: Mapping[str, Any],
        outcome: Mapping[str, Any],
        desired: int,
        reason: str,
        *,
        applied: bool,
        error: str = "",
    ) -> None:
        self.book.add(
            {
                "function": function.full_name,
                "id": function.id,
                "by": by,
                "current": inputs["replicas"],
                "desired": desired,
                "reason": reason,
                "applied": applied,
                "dry_run": self.dry_run,
                "error": error,
                "inputs": inputs,
                "outcome": outcome,
            }
        )


def _metrics(scaled: Scaled, readings: Mapping[str, Reading]) -> tuple[Metric, ...]:
    metrics = []
    for trigger in scaled.settings.triggers:
        reading = readings.get(trigger.metric, Reading(None, "it has only just been asked for"))
        if reading.failed:
            scaled.failures[trigger.metric] = scaled.failures.get(trigger.metric, 0) + 1
        elif reading.value is not None:
            scaled.failures[trigger.metric] = 0
        metrics.append(metric_of(trigger, reading, scaled.failures.get(trigger.metric, 0)))
    return tuple(metrics)


def _remember(scaled: Scaled, inputs: hpa.HpaInputs, outcome: hpa.HpaOutcome, applied: bool) -> None:
    """What later decisions need of this one."""
    now_s, change = inputs.now_s, outcome.desired - inputs.replicas
    longest_s = max(scaled.settings.scale_up.stabilization_window_s, scaled.settings.scale_down.stabilization_window_s)
    if outcome.recommended is not None:
        kept = tuple(one for one in inputs.recommendations if one[0] > now_s - longest_s)
        scaled.recommendations = (*kept, (now_s, outcome.recommended))
    if applied and change > 0:
        scaled.added = (*_recent(inputs.added, now_s), (now_s, change))
    if applied and change < 0:
        scaled.removed = (*_recent(inputs.removed, now_s), (now_s, -change))


def _recent(changes: tuple[hpa.Dated, ...], now_s: float) -> tuple[hpa.Dated, ...]:
    return tuple(change for change in changes if change[0] > now_s - REMEMBERED_S)


def _recall(scaled: Scaled, by_hpa: Decision | None) -> None:
    """The changes that an earlier scaler made count for the policies still; the clock goes on over its restart."""
    if by_hpa is None or by_hpa["id"] != scaled.id:
        return
    dated = {name: tuple(map(tuple, by_hpa["inputs"][name])) for name in ("added", "removed")}
    before = hpa.HpaInputs(by_hpa["inputs"]["now_s"], by_hpa["current"], 0, 0, (), (), **dated)
    scaled.added, scaled.removed = before.added, before.removed
    _remember(scaled, before, hpa.HpaOutcome((), None, 0, by_hpa["desired"], ""), by_hpa["applied"])


def _next(now_s: float, interval_s: float) -> float:
    """The next whole multiple of the interval: functions with the same one share their readings."""
    return (math.floor(now_s / interval_s) + 1) * interval_s

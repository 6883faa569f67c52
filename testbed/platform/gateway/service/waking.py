"""Scaling as OpenFaaS's gateway does it: a function at zero is woken by the first call; alerts scale by steps.

A call to a function without a ready instance waits here. However many wait, the apiserver is asked once
(and again when that had no effect); the watch tells when an instance is ready, and everything that waits
then goes on at once, without polling. Which functions may be woken is the model's to say (`model.scaling.waking`);
what decides about the load of a running function is the scaler.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from testbed.model.annotations import MAX_SCALE_LABEL, MIN_SCALE_LABEL, SCALE_FACTOR_LABEL
from testbed.model.errors import PlatformError
from testbed.platform.gateway.http.answers import Answer
from testbed.platform.gateway.http.deadlines import Deadlines
from testbed.platform.gateway.http.exchange import Exchange
from testbed.platform.gateway.service import error_table
from testbed.platform.gateway.service.apiserver_client import ApiserverClient
from testbed.platform.gateway.service.functions import FunctionUpstream

TRIES = 20
TRY_PAUSE_S = 0.1
LONGEST_WAIT_S = 100.0
"""OpenFaaS polls 1000 times, 100 ms apart."""
ASK_AGAIN_S = 1.0

DEFAULT_MAX_REPLICAS = 20
DEFAULT_FACTOR_PERCENT = 20

Proceed = Callable[[Exchange, FunctionUpstream, bytes, bytes], None]
"""Sends a call on: (exchange, upstream, name as written, target)."""


@dataclass(frozen=True)
class ScalingLabels:
    """What a function's labels say of its scaling. A label that is no number counts as missing."""

    least: int = 1
    most: int = DEFAULT_MAX_REPLICAS
    factor_percent: int = DEFAULT_FACTOR_PERCENT

    @classmethod
    def of(cls, labels: Mapping[str, str]) -> ScalingLabels:
        factor = _number(labels, SCALE_FACTOR_LABEL, DEFAULT_FACTOR_PERCENT)
        return cls(
            _number(labels, MIN_SCALE_LABEL, 1),
            _number(labels, MAX_SCALE_LABEL, DEFAULT_MAX_REPLICAS),
            factor if factor <= 100 else DEFAULT_FACTOR_PERCENT,
        )


def after_alert(status: str, replicas: int, labels: ScalingLabels) -> int:
    """The replicas that OpenFaaS sets after an alert with this status ("firing", "resolved")."""
    step = math.ceil(labels.most / 100 * labels.factor_percent)
    if status == "firing" and step > 0:
        return min(replicas + step, labels.most)
    return labels.least


class Waking:
    """The calls that wait for their function's first instance. `calls` is empty when none does."""

    def __init__(self, apiserver: ApiserverClient, proceed: Proceed) -> None:
        self._apiserver = apiserver
        self._proceed = proceed
        self._waiting: dict[FunctionUpstream, dict[Exchange, tuple[bytes, bytes]]] = {}
        self.calls: dict[Exchange, FunctionUpstream] = {}
        self._asking: dict[FunctionUpstream, asyncio.Task[None]] = {}
        self._asked_s: dict[FunctionUpstream, float] = {}
        self._overdue: Deadlines[Exchange] = Deadlines(LONGEST_WAIT_S, self._give_up)

    def wait(self, exchange: Exchange, upstream: FunctionUpstream, name: bytes, target: bytes) -> None:
        """Keep a call until an instance of its function is ready."""
        self._waiting.setdefault(upstream, {})[exchange] = (name, target)
        self.calls[exchange] = upstream
        self._overdue.add(exchange, exchange.started_s)
        self._ask(upstream)

    def forget(self, exchange: Exchange) -> None:
        """The call is over: it went on, was answered, or its client has gone."""
        upstream = self.calls.pop(exchange, None)
        if upstream is None:
            return
        self._overdue.remove(exchange)
        calls = self._waiting[upstream]
        del calls[exchange]
        if not calls:
            del self._waiting[upstream]
            self._asked_s.pop(upstream, None)

    def changed(self) -> None:
        """The cluster state has changed: let go on what can."""
        for upstream in tuple(self._waiting):
            if upstream.removed:
                function = upstream.function
                self._answer(upstream, error_table.unknown_function(function.name, function.namespace))
            elif upstream.endpoints:
                for exchange, (name, target) in tuple(self._waiting[upstream].items()):
                    self.forget(exchange)
                    exchange.started_s = time.monotonic()  # what is measured and limited is the call itself
                    self._proceed(exchange, upstream, name, target)

    def sweep(self, now_s: float) -> None:
        """Ask again where asking had no effect, for instance because something scaled down meanwhile."""
        for upstream in tuple(self._waiting):
            if now_s - self._asked_s.get(upstream, now_s) > ASK_AGAIN_S:
                self._ask(upstream)

    def _ask(self, upstream: FunctionUpstream) -> None:
        if upstream.function.replicas > 0 or upstream in self._asking:
            return
        asked_s = self._asked_s.get(upstream)
        if asked_s is not None and time.monotonic() - asked_s < ASK_AGAIN_S:
            return  # taken by the apiserver; the watch will say so
        task = self._asking[upstream] = asyncio.get_running_loop().create_task(self._wake(upstream))
        task.add_done_callback(lambda _: self._asking.pop(upstream))

    async def _wake(self, upstream: FunctionUpstream) -> None:
        name, namespace = upstream.function.name, upstream.function.namespace
        replicas = max(1, ScalingLabels.of(upstream.function.labels).least)
        problem = ""
        for attempt in range(TRIES):
            if attempt:
                await asyncio.sleep(TRY_PAUSE_S)
            if upstream not in self._waiting or upstream.function.replicas > 0:
                return
            try:
                await self._apiserver.set_replicas(name, namespace, replicas)
            except PlatformError as error:
                problem = str(error)
            else:
                self._asked_s[upstream] = time.monotonic()
                return
        self._answer(upstream, error_table.cannot_scale(name, namespace, problem))

    def _answer(self, upstream: FunctionUpstream, answer: Answer) -> None:
        for exchange in tuple(self._waiting.get(upstream, ())):
            exchange.answer(answer)

    def _give_up(self, exchange: Exchange) -> None:
        """Nothing became ready. OpenFaaS sends the call on all the same, and its provider then says this."""
        upstream = self.calls[exchange]
        name, _ = self._waiting[upstream][exchange]
        upstream.metrics.started += 1
        upstream.metrics.finished(503, 0.0)
        exchange.answer(error_table.no_endpoints(name))


def _number(labels: Mapping[str, str], name: str, default: int) -> int:
    value = labels.get(name, "")
    return int(value) if value.isdecimal() else default

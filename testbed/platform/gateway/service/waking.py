"""Scaling as OpenFaaS's gateway does it: a function at zero is woken by the first call; alerts scale by steps.

A call to a function without a ready instance waits here. However many wait, the provider is asked once
(and again when that had no effect); the watch tells when an instance is ready, and everything that waits
then goes on at once, without polling. What decides about the load of a running function is the scaler.
"""

from __future__ import annotations

import asyncio
import json
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from testbed.model.errors import PlatformError
from testbed.platform.gateway.http.deadlines import Deadlines
from testbed.platform.gateway.http.exchange import Exchange
from testbed.platform.gateway.service import routes
from testbed.platform.gateway.service.apiserver_client import Provider
from testbed.platform.gateway.service.functions import Service
from testbed.platform.gateway.service.routes import Answer

TRIES = 20
TRY_PAUSE_S = 0.1
LONGEST_WAIT_S = 100.0
"""OpenFaaS polls 1000 times, 100 ms apart."""
ASK_AGAIN_S = 1.0

DEFAULT_MAX_REPLICAS = 20
DEFAULT_FACTOR_PERCENT = 20

Proceed = Callable[[Exchange, Service, bytes, bytes], None]
"""Sends a call on: (exchange, service, name as written, target)."""


@dataclass(frozen=True)
class ScalingLabels:
    """What a function's labels say of its scaling. A label that is no number counts as missing."""

    least: int = 1
    most: int = DEFAULT_MAX_REPLICAS
    factor_percent: int = DEFAULT_FACTOR_PERCENT

    @classmethod
    def of(cls, labels: Mapping[str, str]) -> ScalingLabels:
        factor = _number(labels, "com.openfaas.scale.factor", DEFAULT_FACTOR_PERCENT)
        return cls(
            _number(labels, "com.openfaas.scale.min", 1),
            _number(labels, "com.openfaas.scale.max", DEFAULT_MAX_REPLICAS),
            factor if factor <= 100 else DEFAULT_FACTOR_PERCENT,
        )


def after_alert(status: str, replicas: int, labels: ScalingLabels) -> int:
    """The replicas that OpenFaaS sets after an alert with this status ("firing", "resolved")."""
    step = math.ceil(labels.most / 100 * labels.factor_percent)
    if status == "firing" and step > 0:
        return min(replicas + step, labels.most)
    return labels.least


async def set_replicas(provider: Provider, name: str, namespace: str, replicas: int) -> None:
    """Ask the provider for that many replicas. PlatformError, in OpenFaaS's words, when it does not take it."""
    target = f"/system/scale-function/{name}?namespace={namespace}"
    body = {"serviceName": name, "namespace": namespace, "replicas": replicas}
    status, _ = await provider.call("POST", target, json.dumps(body).encode())
    if status not in (200, 202):
        raise PlatformError(f"error scaling HTTP code {status}, http://{provider.host}:{provider.port}{target}")


class ScaleFromZero:
    """The calls that wait for their function's first instance. `calls` is empty when none does."""

    def __init__(self, provider: Provider, proceed: Proceed) -> None:
        self._provider = provider
        self._proceed = proceed
        self._waiting: dict[Service, dict[Exchange, tuple[bytes, bytes]]] = {}
        self.calls: dict[Exchange, Service] = {}
        self._asking: dict[Service, asyncio.Task[None]] = {}
        self._asked_s: dict[Service, float] = {}
        self._overdue: Deadlines[Exchange] = Deadlines(LONGEST_WAIT_S, self._give_up)

    def wait(self, exchange: Exchange, service: Service, name: bytes, target: bytes) -> None:
        """Keep a call until an instance of its function is ready."""
        self._waiting.setdefault(service, {})[exchange] = (name, target)
        self.calls[exchange] = service
        self._overdue.add(exchange, exchange.started_s)
        self._ask(service)

    def forget(self, exchange: Exchange) -> None:
        """The call is over: it went on, was answered, or its client has gone."""
        service = self.calls.pop(exchange, None)
        if service is None:
            return
        self._overdue.remove(exchange)
        calls = self._waiting[service]
        del calls[exchange]
        if not calls:
            del self._waiting[service]
            self._asked_s.pop(service, None)

    def changed(self) -> None:
        """The cluster state has changed: let go on what can."""
        for service in tuple(self._waiting):
            if service.removed:
                function = service.function
                self._answer(service, routes.unknown_function(function.name, function.namespace))
            elif service.endpoints:
                for exchange, (name, target) in tuple(self._waiting[service].items()):
                    self.forget(exchange)
                    exchange.started_s = time.monotonic()  # what is measured and limited is the call itself
                    self._proceed(exchange, service, name, target)

    def sweep(self, now_s: float) -> None:
        """Ask again where asking had no effect, for instance because something scaled down meanwhile."""
        for service in tuple(self._waiting):
            if now_s - self._asked_s.get(service, now_s) > ASK_AGAIN_S:
                self._ask(service)

    def _ask(self, service: Service) -> None:
        if service.function.replicas > 0 or service in self._asking:
            return
        asked_s = self._asked_s.get(service)
        if asked_s is not None and time.monotonic() - asked_s < ASK_AGAIN_S:
            return  # taken by the provider; the watch will say so
        task = self._asking[service] = asyncio.get_running_loop().create_task(self._wake(service))
        task.add_done_callback(lambda _: self._asking.pop(service))

    async def _wake(self, service: Service) -> None:
        name, namespace = service.function.name, service.function.namespace
        replicas = max(1, ScalingLabels.of(service.function.labels).least)
        problem = ""
        for attempt in range(TRIES):
            if attempt:
                await asyncio.sleep(TRY_PAUSE_S)
            if service not in self._waiting or service.function.replicas > 0:
                return
            try:
                await set_replicas(self._provider, name, namespace, replicas)
            except PlatformError as error:
                problem = str(error)
            else:
                self._asked_s[service] = time.monotonic()
                return
        self._answer(service, routes.cannot_scale(name, namespace, problem))

    def _answer(self, service: Service, answer: Answer) -> None:
        for exchange in tuple(self._waiting.get(service, ())):
            exchange.answer(answer)

    def _give_up(self, exchange: Exchange) -> None:
        """Nothing became ready. OpenFaaS sends the call on all the same, and the provider then says this."""
        service = self.calls[exchange]
        name, _ = self._waiting[service][exchange]
        service.metrics.started += 1
        service.metrics.finished(503, 0.0)
        exchange.answer(routes.no_endpoints(name))


def _number(labels: Mapping[str, str], name: str, default: int) -> int:
    value = labels.get(name, "")
    return int(value) if value.isdecimal() else default

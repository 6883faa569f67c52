"""What all client connections of the gateway share, and where a request goes.

Decides (by `gateway_routes`) and hands over to the exchange; reads and writes no bytes itself.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from testbed.model.cluster import ClusterState
from testbed.model.scaling.waking import may_wake
from testbed.platform.gateway.http.deadlines import Deadlines
from testbed.platform.gateway.http.exchange import Exchange
from testbed.platform.gateway.service import routes
from testbed.platform.gateway.service.apiserver_client import Provider
from testbed.platform.gateway.service.functions import Service, Services, Upstream
from testbed.platform.gateway.service.routes import Kind
from testbed.platform.gateway.service.system import System
from testbed.platform.gateway.service.tokens import Tokens
from testbed.platform.gateway.service.waking import ScaleFromZero

if TYPE_CHECKING:
    from testbed.platform.gateway.http.client_connection import Downstream

SWEEP_S = 1.0


@dataclass(frozen=True)
class Limits:
    """Times in seconds. A time of 0 means no limit."""

    read_timeout_s: float = 60.0
    write_timeout_s: float = 60.0
    upstream_timeout_s: float = 60.0


class Gateway:
    """What all client connections share."""

    originates = True
    """Calls begin here: what a client says of their start is not believed."""

    def __init__(
        self,
        services: Services,
        provider: Upstream,
        api: Provider,
        limits: Limits,
        authorization: bytes | None,
        namespace: str,
        *,
        scale_from_zero: bool = True,
    ) -> None:
        self.services = services
        self.limits = limits
        self.provider = provider
        self.connections: set[Downstream] = set()
        self.draining = False
        self.version = 0
        self._namespace = namespace
        self._scale_from_zero = scale_from_zero
        self.cold = ScaleFromZero(api, self._proceed)
        self.tokens = Tokens(api)
        self.overdue: Deadlines[Exchange] = Deadlines(limits.upstream_timeout_s, Exchange.timed_out)
        self.system = System(services, provider, api, self.overdue, authorization, namespace)

    def dispatch(self, exchange: Exchange) -> None:
        """Send a request where it belongs, or answer it."""
        if exchange.refusal is not None:
            exchange.answer(exchange.refusal)
            return
        kind, name, target = routes.match(exchange.url)
        if kind is Kind.FUNCTION:
            self._invoke(exchange, name, target)
        else:
            self.system.serve(exchange, kind, target)

    def _invoke(self, exchange: Exchange, name: bytes, target: bytes) -> None:
        if exchange.method not in routes.FUNCTION_METHODS:
            exchange.answer(routes.METHOD_NOT_ALLOWED)
            return
        service = self.services.find(name)
        if self.tokens.digests:
            namespace = service.function.namespace if service else self._split(name)[1]
            refusal = self.tokens.refusal(namespace, exchange.lines)
            if refusal is not None:
                exchange.answer(refusal)
                return
        if service is None:
            known = self.services.ready
            exchange.answer(routes.unknown_function(*self._split(name)) if known else routes.PROVIDER_DOWN)
            return
        if service.endpoints:
            self._proceed(exchange, service, name, target)
        elif self._scale_from_zero and may_wake(service.function.labels, service.function.annotations):
            self.cold.wait(exchange, service, name, target)
        else:
            service.metrics.started += 1
            service.metrics.finished(503, 0.0)
            exchange.answer(routes.no_endpoints(name))

    def _split(self, name: bytes) -> tuple[str, str]:
        return routes.full_name(name.decode(), self._namespace)

    def _proceed(self, exchange: Exchange, service: Service, name: bytes, target: bytes) -> None:
        self.overdue.add(exchange, exchange.started_s)
        exchange.forward(service, target, function=name, metrics=service.metrics)

    def finished(self, exchange: Exchange) -> None:
        self.overdue.remove(exchange)
        if self.cold.calls:
            self.cold.forget(exchange)

    def updated(self, state: ClusterState) -> None:
        """Follow the cluster state."""
        self.version = state.version
        self.tokens.follow(state)  # first: nobody gets in before the token counts
        self.services.update(state)
        self.cold.changed()

    def sweep(self) -> None:
        """Close what has been idle for too long, on both sides. Called every SWEEP_S."""
        now_s = time.monotonic()
        for connection in tuple(self.connections):
            connection.check(now_s)
        for pool in (*self.services.pools(), self.provider.pool):
            pool.expire(now_s)
        self.cold.sweep(now_s)

    def drain(self) -> None:
        """Take no new request; connections close as soon as they are idle."""
        self.draining = True
        for connection in tuple(self.connections):
            connection.close_if_idle()

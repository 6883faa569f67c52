"""What all client connections of the gateway share, and where a request goes.

Decides (by `gateway_routes`) and hands over to the exchange; reads and writes no bytes itself.
"""

from __future__ import annotations

import hmac
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from testbed.model import ClusterState
from testbed.platform import gateway_routes as routes
from testbed.platform.gateway_deadlines import Deadlines
from testbed.platform.gateway_exchange import Exchange
from testbed.platform.gateway_provider import Provider
from testbed.platform.gateway_routes import Kind
from testbed.platform.gateway_scaling import ScaleFromZero, may_wake
from testbed.platform.gateway_services import Service, Services, Upstream

if TYPE_CHECKING:
    from testbed.platform.gateway_server import Downstream

SWEEP_S = 1.0


@dataclass(frozen=True)
class Limits:
    """Times in seconds. A time of 0 means no limit."""

    read_timeout_s: float = 60.0
    write_timeout_s: float = 60.0
    upstream_timeout_s: float = 60.0


class Gateway:
    """What all client connections share."""

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
        self._authorization = authorization
        self._namespace = namespace
        self._scale_from_zero = scale_from_zero
        self.cold = ScaleFromZero(api, self._proceed)
        self._overdue: Deadlines[Exchange] = Deadlines(limits.upstream_timeout_s, Exchange.timed_out)

    def dispatch(self, exchange: Exchange) -> None:
        """Send a request where it belongs, or answer it."""
        if exchange.refusal is not None:
            exchange.answer(exchange.refusal)
            return
        kind, name, target = routes.match(exchange.url)
        if kind is Kind.FUNCTION:
            self._invoke(exchange, name, target)
        elif kind is Kind.NOTHING:
            exchange.answer(routes.NOT_FOUND)
        elif kind is Kind.SYSTEM and not self._authorized(exchange):
            exchange.answer(routes.UNAUTHORIZED)
        else:
            if not target.startswith(b"/system/logs"):  # a followed log has no end
                self._overdue.add(exchange, exchange.started_s)
            exchange.forward(self.provider, target)

    def _invoke(self, exchange: Exchange, name: bytes, target: bytes) -> None:
        if exchange.method not in routes.FUNCTION_METHODS:
            exchange.answer(routes.METHOD_NOT_ALLOWED)
            return
        service = self.services.find(name)
        if service is None:
            if not self.services.ready:
                exchange.answer(routes.PROVIDER_DOWN)
            else:
                exchange.answer(routes.unknown_function(*routes.full_name(name.decode(), self._namespace)))
            return
        if service.endpoints:
            self._proceed(exchange, service, name, target)
        elif self._scale_from_zero and may_wake(service.function):
            self.cold.wait(exchange, service, name, target)
        else:
            service.metrics.started += 1
            service.metrics.finished(503, 0.0)
            exchange.answer(routes.no_endpoints(name))

    def _proceed(self, exchange: Exchange, service: Service, name: bytes, target: bytes) -> None:
        self._overdue.add(exchange, exchange.started_s)
        exchange.forward(service, target, function=name, metrics=service.metrics)

    def finished(self, exchange: Exchange) -> None:
        self._overdue.remove(exchange)
        if self.cold.calls:
            self.cold.forget(exchange)

    def updated(self, state: ClusterState) -> None:
        """Follow the cluster state."""
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

    def _authorized(self, exchange: Exchange) -> bool:
        if self._authorization is None:
            return True
        given = next((line for line in exchange.lines if line[:14].lower() == b"authorization:"), b"")
        scheme, _, credentials = given[14:].strip().partition(b" ")
        return scheme.lower() == b"basic" and hmac.compare_digest(credentials.strip(), self._authorization)

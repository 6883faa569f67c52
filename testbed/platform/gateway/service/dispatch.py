"""Where a request goes, and what all client connections of a process share.

Decides (by `routes`) and hands over to the exchange; reads and writes no bytes itself. `Gateway` is the gateway's
way of deciding; the provider proxy has another (`gateway.provider_proxy`).
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass

from testbed.model.cluster import ClusterState
from testbed.model.scaling.waking import may_wake
from testbed.platform.gateway.http import answers
from testbed.platform.gateway.http.client_connection import ClientConnection
from testbed.platform.gateway.http.deadlines import Deadlines, Limits
from testbed.platform.gateway.http.exchange import Exchange
from testbed.platform.gateway.http.pool import Pool, Upstream
from testbed.platform.gateway.service import error_table, routes
from testbed.platform.gateway.service.apiserver_client import ApiserverClient
from testbed.platform.gateway.service.functions import Functions, FunctionUpstream
from testbed.platform.gateway.service.routes import Kind
from testbed.platform.gateway.service.system import System
from testbed.platform.gateway.service.tokens import Tokens
from testbed.platform.gateway.service.waking import Waking

SWEEP_S = 1.0


@dataclass(frozen=True)
class Parts:
    """What a dispatcher is made of. The apiserver is an upstream for clients' requests, and answers our own.

    `authorization`: "user:password" in base64, None without basic auth.
    """

    functions: Functions
    apiserver_upstream: Upstream
    apiserver: ApiserverClient
    limits: Limits
    authorization: bytes | None
    default_namespace: str


class Dispatcher(ABC):
    """What all client connections share. A subclass says where a request goes."""

    originates = True
    """Calls begin here: what a client says of their start is not believed."""

    def __init__(self, parts: Parts) -> None:
        self.functions = parts.functions
        self.limits = parts.limits
        self.connections: set[ClientConnection] = set()
        self.draining = False
        self.version = 0
        self.overdue: Deadlines[Exchange] = Deadlines(parts.limits.upstream_timeout_s, Exchange.timed_out)
        self.system = System(
            parts.functions, parts.apiserver_upstream, parts.apiserver, self.overdue, parts.authorization,
            parts.default_namespace,
        )  # fmt: skip
        self._apiserver_upstream = parts.apiserver_upstream

    @abstractmethod
    def dispatch(self, exchange: Exchange) -> None:
        """Send a request where it belongs, or answer it."""

    def finished(self, exchange: Exchange) -> None:
        self.overdue.remove(exchange)

    def updated(self, state: ClusterState) -> None:
        """Follow the cluster state."""
        self.version = state.version
        self.functions.update(state)

    def pools(self) -> Iterator[Pool]:
        """Every pool of connections to an upstream."""
        yield from self.functions.pools()
        yield self._apiserver_upstream.pool

    def sweep(self) -> None:
        """Close what has been idle for too long, on both sides. Called every SWEEP_S."""
        now_s = time.monotonic()
        for connection in tuple(self.connections):
            connection.check(now_s)
        for pool in self.pools():
            pool.expire(now_s)

    def drain(self) -> None:
        """Take no new request; connections close as soon as they are idle."""
        self.draining = True
        for connection in tuple(self.connections):
            connection.close_if_idle()


class Gateway(Dispatcher):
    """OpenFaaS's gateway: checks namespaces' tokens, and wakes functions that have no instance."""

    def __init__(self, parts: Parts, *, scale_from_zero: bool = True) -> None:
        super().__init__(parts)
        self.waking = Waking(parts.apiserver, self._proceed)
        self.tokens = Tokens(parts.apiserver)
        self._default_namespace = parts.default_namespace
        self._scale_from_zero = scale_from_zero

    def dispatch(self, exchange: Exchange) -> None:
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
            exchange.answer(error_table.METHOD_NOT_ALLOWED)
            return
        upstream = self.functions.find(name)
        if self.tokens.digests:
            namespace = upstream.function.namespace if upstream else self._split(name)[1]
            refusal = self.tokens.refusal(namespace, exchange.lines)
            if refusal is not None:
                exchange.answer(refusal)
                return
        if upstream is None:
            known = self.functions.ready
            exchange.answer(error_table.unknown_function(*self._split(name)) if known else answers.BAD_GATEWAY)
            return
        if upstream.endpoints:
            self._proceed(exchange, upstream, name, target)
        elif self._scale_from_zero and may_wake(upstream.function.labels, upstream.function.annotations):
            self.waking.wait(exchange, upstream, name, target)
        else:
            upstream.metrics.started += 1
            upstream.metrics.finished(503, 0.0)
            exchange.answer(error_table.no_endpoints(name))

    def _split(self, name: bytes) -> tuple[str, str]:
        return routes.full_name(name.decode(), self._default_namespace)

    def _proceed(self, exchange: Exchange, upstream: FunctionUpstream, name: bytes, target: bytes) -> None:
        self.overdue.add(exchange, exchange.started_s)
        exchange.forward(upstream, target, function=name, metrics=upstream.metrics)

    def finished(self, exchange: Exchange) -> None:
        self.overdue.remove(exchange)  # not by super(): this is done for every request
        if self.waking.calls:
            self.waking.forget(exchange)

    def updated(self, state: ClusterState) -> None:
        self.tokens.follow(state)  # first: nobody gets in before the token counts
        super().updated(state)
        self.waking.changed()

    def sweep(self) -> None:
        super().sweep()
        self.waking.sweep(time.monotonic())

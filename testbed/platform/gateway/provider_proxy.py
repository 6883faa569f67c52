"""faas-provider's own side of an invocation, for a gateway program that is not ours: `python -m …provider_proxy`.

It runs in the gateway's host, so that what a foreign gateway sends to a function crosses the switches like
everything else, and passes /system and /healthz on to the apiserver, with the proof of whoever asks and never its
own. It does not wake functions and checks no tokens: that is a gateway's job. The settings are the gateway's
(`config`), with `port` 8081 on the loopback only. With TESTBED_LISTEN_FD it also carries what arrives there, unread,
to the gateway's port (`gateway_port`, 8080).
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import Mapping
from typing import Any

from testbed.model import addressing
from testbed.platform.common.prometheus import CONTENT_TYPE
from testbed.platform.gateway import lifecycle
from testbed.platform.gateway.config import from_environment
from testbed.platform.gateway.http import answers
from testbed.platform.gateway.http.answers import Answer
from testbed.platform.gateway.http.client_connection import ClientConnection
from testbed.platform.gateway.http.exchange import Exchange
from testbed.platform.gateway.service import error_table, routes
from testbed.platform.gateway.service.dispatch import Dispatcher
from testbed.platform.gateway.service.metrics import render_provider
from testbed.platform.gateway.service.routes import Kind

LOOPBACK = "127.0.0.1"
NO_SAMPLES = Answer(200, b'{"status":"success","data":{"resultType":"vector","result":[]}}', (answers.JSON,))
"""OpenFaaS's gateway asks a Prometheus for invocation counts, and breaks off the connection when there is none."""
_HEALTH_METHODS = frozenset({b"GET", b"HEAD"})

log = logging.getLogger("provider")


class ProviderProxy(Dispatcher):
    """Where a foreign gateway's requests go."""

    originates = False

    def dispatch(self, exchange: Exchange) -> None:
        if exchange.refusal is not None:
            exchange.answer(exchange.refusal)
            return
        kind, name, target = routes.match(exchange.url)
        path = target.partition(b"?")[0]
        if kind is Kind.FUNCTION:
            self._call(exchange, name, target)
        elif path == b"/metrics" and not self.system.authorized(exchange):
            exchange.answer(error_table.UNAUTHORIZED)
        elif path == b"/metrics":
            text = render_provider(self.functions.metrics(), self.system.metrics, self.version)
            exchange.answer(Answer(200, text.encode(), (b"Content-Type: " + CONTENT_TYPE.encode(),)))
        elif path == b"/api/v1/query":
            exchange.answer(NO_SAMPLES)
        elif kind is Kind.HEALTH and exchange.method in _HEALTH_METHODS:
            self.system.pass_on(exchange, kind, target)
        elif not kind.protected or kind is Kind.UI or kind is Kind.ALERT:
            exchange.answer(error_table.NOT_FOUND)
        elif not self.system.authorized(exchange):
            exchange.answer(error_table.UNAUTHORIZED)
        else:
            self.system.pass_on(exchange, kind, target)

    def _call(self, exchange: Exchange, name: bytes, target: bytes) -> None:
        if exchange.method not in routes.FUNCTION_METHODS:
            exchange.answer(error_table.METHOD_NOT_ALLOWED)
            return
        metrics = self.system.metrics.of(exchange.method, b"/function")
        upstream = self.functions.find(name)
        if upstream is None or not upstream.endpoints:
            metrics.finished(503, 0.0)
            exchange.answer(error_table.no_endpoints(name))
            return
        unreachable = answers.unreachable(name)
        self.overdue.add(exchange, exchange.started_s)
        exchange.forward(upstream, target, metrics=metrics, instead=lambda status: None if status else unreachable)


class Relay(asyncio.Protocol):
    """One end of a connection that is carried on; a slow reader at one end pauses the other."""

    def __init__(self, port: int, other: Relay | None = None) -> None:
        self.other = other
        self._port = port
        self.transport: Any = None
        self.ended = False
        self._early: list[bytes] = []
        self._dialling: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        if self.other is None:
            self._dialling = asyncio.get_running_loop().create_task(self._dial())

    async def _dial(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            _, self.other = await loop.create_connection(lambda: Relay(self._port, self), LOOPBACK, self._port)
        except OSError:
            self._close(self)
        else:
            self.other.transport.writelines(self._early)
            self.transport.resume_reading()
            if self.transport.is_closing():
                self._close(self.other)

    def data_received(self, data: bytes) -> None:
        if self.other is not None:
            self.other.transport.write(data)
        else:
            self._early.append(data)
            self.transport.pause_reading()

    def eof_received(self) -> bool:
        self.ended = True
        if self.other is None or self.other.ended or self.other.transport.is_closing():
            return False
        self.other.transport.write_eof()
        return True  # the other direction goes on

    def connection_lost(self, exc: Exception | None) -> None:
        self._close(self.other)
        self.other = None

    def pause_writing(self) -> None:
        if self.other is not None:
            self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        if self.other is not None:
            self.other.transport.resume_reading()

    @staticmethod
    def _close(end: Relay | None) -> None:
        if end is not None:
            end.transport.close()


def main(environment: Mapping[str, str] = os.environ) -> int:
    """Run until a signal ends it. Returns the exit code."""
    settings = {"port": str(addressing.PROVIDER_PROXY_PORT), **environment}
    return lifecycle.run("provider", lambda: serve(settings))


async def serve(environment: Mapping[str, str]) -> None:
    """Serve until SIGTERM or SIGINT."""
    config = from_environment(environment)
    proxy = ProviderProxy(lifecycle.parts(config))
    loop = asyncio.get_running_loop()
    own = lifecycle.listener(config.port, LOOPBACK)
    servers = [await loop.create_server(lambda: ClientConnection(proxy), sock=own)]
    if config.listen_fd is not None:
        port = int(environment.get("gateway_port") or addressing.FUNCTION_PORT)
        inherited = lifecycle.inherited(config.listen_fd)
        servers.append(await loop.create_server(lambda: Relay(port), sock=inherited))
    log.info("listening on port %d of the loopback", config.port)
    await lifecycle.serve(proxy, lifecycle.watch(config, proxy), servers)


if __name__ == "__main__":
    sys.exit(main())

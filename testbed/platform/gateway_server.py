"""The gateway's side towards its clients: parses requests, keeps their order, sends answers.

`Gateway` holds what all connections share and decides where a request goes; `Downstream` is one
client connection. Requests that a client pipelines wait for their turn, and the connection is not
read meanwhile. An answer that is given before its request was read to the end closes the
connection, in a way that lets the client still read the answer.
"""

from __future__ import annotations

import asyncio
import hmac
import time
from collections import deque
from dataclasses import dataclass
from typing import Any

import httptools

from testbed.platform import gateway_routes as routes
from testbed.platform.gateway_deadlines import Deadlines
from testbed.platform.gateway_exchange import Exchange
from testbed.platform.gateway_routes import Answer, Kind
from testbed.platform.gateway_services import Services, Upstream
from testbed.platform.gateway_upstream import WRITE_HIGH_WATER
from testbed.platform.http1 import HOP_BY_HOP, nominated, without

MAX_HEAD = 1 << 20
"""Bytes of a request's head; Go's net/http has the same limit."""
LINGER_S = 0.5
"""How long input is thrown away after an early answer, so that no reset overtakes the answer."""
SWEEP_S = 1.0

_SPECIAL = HOP_BY_HOP | {
    b"host",
    b"content-length",
    b"expect",
    b"x-call-id",
    b"x-start-time",
    b"x-forwarded-for",
    b"x-forwarded-host",
    b"authorization",
}


@dataclass(frozen=True)
class Limits:
    """Times in seconds. A time of 0 means no limit."""

    read_timeout_s: float = 60.0
    write_timeout_s: float = 60.0
    upstream_timeout_s: float = 60.0


class Gateway:
    """What all client connections share."""

    def __init__(
        self, services: Services, provider: Upstream, limits: Limits, authorization: bytes | None, namespace: str
    ) -> None:
        self.services = services
        self.limits = limits
        self.provider = provider
        self.connections: set[Downstream] = set()
        self.draining = False
        self._authorization = authorization
        self._namespace = namespace
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
            exchange.forward(
                self.provider, target, on_unreachable=routes.PROVIDER_DOWN, on_timeout=routes.UPSTREAM_TIMEOUT
            )

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
        if not service.endpoints:
            service.metrics.started += 1
            service.metrics.finished(503, 0.0)
            exchange.answer(routes.no_endpoints(name))
            return
        self._overdue.add(exchange, exchange.started_s)
        exchange.forward(
            service,
            target,
            on_unreachable=routes.unreachable(name),
            on_timeout=routes.UPSTREAM_TIMEOUT,
            metrics=service.metrics,
        )

    def finished(self, exchange: Exchange) -> None:
        self._overdue.remove(exchange)

    def sweep(self) -> None:
        """Close what has been idle for too long, on both sides. Called every SWEEP_S."""
        now_s = time.monotonic()
        for connection in tuple(self.connections):
            connection.check(now_s)
        for pool in (*self.services.pools(), self.provider.pool):
            pool.expire(now_s)

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


class Downstream(asyncio.Protocol):
    """One client connection."""

    __slots__ = (
        "_closing", "_current", "_head_bytes", "_incoming", "_parser", "_paused", "_queue", "_since_s",
        "forwarded_for", "gateway", "transport", "write",
    )  # fmt: skip

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        self.transport: Any = None
        self.write: Any = None
        self.forwarded_for = b""
        self._parser = httptools.HttpRequestParser(self)
        self._incoming: Exchange | None = None  # whose head or body is being read
        self._current: Exchange | None = None  # whose turn it is
        self._queue: deque[Exchange] = deque()
        self._head_bytes = 0
        self._paused = False
        self._closing = False
        self._since_s = 0.0  # since when the connection waits for a request, or for the rest of one

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.write = self.transport.write
        self.transport.set_write_buffer_limits(high=WRITE_HIGH_WATER)
        peer = transport.get_extra_info("peername") or ("", 0)
        self.forwarded_for = b"X-Forwarded-For: %b:%d\r\n" % (peer[0].encode(), peer[1])
        self.gateway.connections.add(self)
        self._since_s = time.monotonic()

    def connection_lost(self, exc: Exception | None) -> None:
        self.gateway.connections.discard(self)
        self._closing = True
        self._queue.clear()
        if self._current is not None:
            self._current.cancel()

    def data_received(self, data: bytes) -> None:
        if self._closing:
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._refuse_upgrade(data, upgrade)
        except httptools.HttpParserError:
            self._refuse(routes.BAD_REQUEST)
        incoming = self._incoming
        if incoming is not None and not incoming.method:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD:
                self._refuse(routes.HEAD_TOO_LARGE)
        self._advance()

    def pause_writing(self) -> None:
        if self._current is not None:
            self._current.pause_response()

    def resume_writing(self) -> None:
        if self._current is not None:
            self._current.resume_response()

    # httptools

    def on_message_begin(self) -> None:
        self._incoming = Exchange(self)
        self._head_bytes = 0

    def on_url(self, url: bytes) -> None:
        if self._incoming is not None:
            self._incoming.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        incoming = self._incoming
        if incoming is None:
            return
        key = name.lower()
        if key in _SPECIAL:
            self._special(incoming, key, name, value)
        elif not incoming.method:  # else a trailer
            incoming.lines.append(b"%b: %b\r\n" % (name, value))

    def _special(self, incoming: Exchange, key: bytes, name: bytes, value: bytes) -> None:
        if incoming.method:
            return
        if key == b"host":
            if incoming.host is not None:
                incoming.refusal = routes.BAD_REQUEST
            incoming.host = value
        elif key == b"content-length":
            incoming.length = value
        elif key == b"transfer-encoding":
            if incoming.chunked or value.strip().lower() != b"chunked":
                incoming.refusal = routes.UNSUPPORTED_CODING
            incoming.chunked = True
        elif key == b"connection":
            incoming.connection_header += value + b","
        elif key == b"expect":
            incoming.expects_continue = value.lower() == b"100-continue"
        elif key == b"x-call-id":
            incoming.call_id = value
        elif key in (b"x-forwarded-for", b"x-forwarded-host", b"authorization"):
            incoming.forwarded_for |= key == b"x-forwarded-for"
            incoming.forwarded_host |= key == b"x-forwarded-host"
            incoming.lines.append(b"%b: %b\r\n" % (name, value))

    def on_headers_complete(self) -> None:
        incoming = self._incoming
        if incoming is None:
            return
        parser = self._parser
        incoming.method = parser.get_method()
        incoming.http10 = parser.get_http_version() == "1.0"
        incoming.keep_alive = parser.should_keep_alive() and not self.gateway.draining
        if incoming.connection_header:
            names = nominated(incoming.connection_header)
            if names:
                incoming.lines = without(incoming.lines, names)
        if incoming.host is None and not incoming.http10:
            incoming.refusal = routes.MISSING_HOST
        self._queue.append(incoming)

    def on_body(self, data: bytes) -> None:
        incoming = self._incoming
        if incoming is not None:
            incoming.body.append(data)
            incoming.pending_bytes += len(data)

    def on_message_complete(self) -> None:
        if self._incoming is not None:
            self._incoming.complete = True
            self._incoming = None

    # The order of things

    def _advance(self) -> None:
        current = self._current
        if current is not None and not current.sent:
            current.request_progress()
        while self._current is None and self._queue and not self._closing:
            self._current = self._queue.popleft()
            self._current.start()
        if self._queue and not self._paused:
            self._paused = True
            self.transport.pause_reading()

    def exchange_finished(self, exchange: Exchange, *, abort: bool) -> None:
        """`exchange`'s answer was written (or, with `abort`, can never be completed)."""
        self.gateway.finished(exchange)
        self._current = None
        self._since_s = time.monotonic()
        if self._closing:
            return
        if abort:
            self._closing = True
            self.transport.abort()
        elif not exchange.complete:
            self._linger()
        elif not exchange.keep_alive or (self.gateway.draining and not self._queue):
            self._closing = True
            self.transport.close()
        else:
            if self._paused:
                self._paused = False
                self.transport.resume_reading()
            if self._queue:
                asyncio.get_running_loop().call_soon(self._advance)

    def pause_request(self) -> None:
        if not self._paused and not self._closing:
            self._paused = True
            self.transport.pause_reading()

    def resume_request(self) -> None:
        if self._paused and not self._queue and not self._closing:
            self._paused = False
            self.transport.resume_reading()

    def check(self, now_s: float) -> None:
        """Close the connection when it waits for its client for too long."""
        limits = self.gateway.limits
        current = self._current
        if current is None or not current.complete:
            if limits.read_timeout_s and now_s - self._since_s > limits.read_timeout_s:
                self.transport.abort() if current is not None else self.transport.close()
        elif (
            limits.write_timeout_s
            and self.transport.get_write_buffer_size()
            and now_s - current.started_s > limits.write_timeout_s
        ):
            self.transport.abort()

    def close_if_idle(self) -> None:
        if self._current is None and not self._queue and self._incoming is None:
            self._closing = True
            self.transport.close()

    # Refusals

    def _refuse(self, answer: Answer) -> None:
        """The client does not speak HTTP: answer what came before, then say so and close."""
        exchange = self._incoming if self._incoming is not None and self._incoming.method else None
        if exchange is not None and exchange is self._current:
            exchange.answer(routes.BAD_REQUEST) if not exchange.done else None
            return
        if exchange is None or exchange not in self._queue:
            exchange = Exchange(self)
            exchange.method = b"GET"
            self._queue.append(exchange)
        exchange.refusal = answer
        exchange.keep_alive = False
        self._incoming = None

    def _refuse_upgrade(self, data: bytes, upgrade: httptools.HttpParserUpgrade) -> None:
        """An upgrade is not offered: the request is served as if it had not asked, CONNECT is refused."""
        self._parser = httptools.HttpRequestParser(self)
        rest = data[upgrade.args[0] :]
        if rest:
            self._parser.feed_data(rest)

    def _linger(self) -> None:
        """End the connection after an answer that came before the end of its request.

        Closing now would reset the connection because of the unread request, and the reset could
        destroy the answer on its way: stop writing, throw away what comes, close a little later.
        """
        self._closing = True
        if self._paused:
            self.transport.resume_reading()
        self.transport.write_eof()
        asyncio.get_running_loop().call_later(LINGER_S, self.transport.close)

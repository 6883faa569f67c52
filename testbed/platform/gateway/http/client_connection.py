"""One client connection of the gateway: parses requests, keeps their order, sends answers.

Requests that a client pipelines wait for their turn, and the connection is not
read meanwhile. An answer that is given before its request was read to the end closes the
connection, in a way that lets the client still read the answer.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import Any, Protocol

import httptools

from testbed.platform.common.http1 import HOP_BY_HOP, nominated, without
from testbed.platform.gateway.http import answers
from testbed.platform.gateway.http.answers import Answer
from testbed.platform.gateway.http.deadlines import Limits
from testbed.platform.gateway.http.exchange import Dispatching, Exchange
from testbed.platform.gateway.http.pool import WRITE_HIGH_WATER

LONGEST_CALL_ID = 128
MAX_HEAD = 1 << 20
"""Bytes of a request's head; Go's net/http has the same limit."""
LINGER_S = 0.5
"""How long input is thrown away after an early answer, so that no reset overtakes the answer."""
MAX_PIPELINED = 256
"""Requests that may wait for their turn on one connection; after that many it is closed."""
FLUSH_S = 10.0
"""How long a client may take to read its last answer before the connection is dropped."""

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


class Shared(Dispatching, Protocol):
    """What client connections need of the dispatcher that they share. `originates`: calls begin here."""

    originates: bool
    limits: Limits
    connections: set[ClientConnection]

    def finished(self, exchange: Exchange) -> None: ...


class ClientConnection(asyncio.Protocol):
    """One client connection."""

    __slots__ = (
        "_closing", "_current", "_deaf", "_head_bytes", "_incoming", "_last", "_parser", "_paused", "_queue",
        "_since_s", "dispatcher", "forwarded_for", "transport", "write",
    )  # fmt: skip

    def __init__(self, dispatcher: Shared) -> None:
        self.dispatcher = dispatcher
        self.transport: Any = None
        self.write: Any = None
        self.forwarded_for = b""
        self._parser: Any = httptools.HttpRequestParser(self)
        self._incoming: Exchange | None = None  # whose head or body is being read
        self._current: Exchange | None = None  # whose turn it is
        self._queue: deque[Exchange] = deque()
        self._head_bytes = 0
        self._paused = False
        self._closing = False
        self._deaf = False  # nothing that still arrives matters
        self._last: Exchange | None = None
        self._since_s = 0.0  # since when the connection waits for a request, or for the rest of one

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.write = self.transport.write
        self.transport.set_write_buffer_limits(high=WRITE_HIGH_WATER)
        peer = transport.get_extra_info("peername") or ("", 0)
        self.forwarded_for = b"X-Forwarded-For: %b:%d\r\n" % (peer[0].encode(), peer[1])
        self.dispatcher.connections.add(self)
        self._since_s = time.monotonic()

    def connection_lost(self, exc: Exception | None) -> None:
        self.dispatcher.connections.discard(self)
        self._closing = self._deaf = True
        self._queue.clear()
        if self._current is not None:
            self._current.cancel()
        # The parser and the last request refer back to this object; nobody should have to look for the cycle.
        self._parser = self._last = self._incoming = None

    def data_received(self, data: bytes) -> None:
        if self._deaf:
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._decline_upgrade(data[upgrade.args[0] :])
        except httptools.HttpParserError:
            self._refuse(answers.BAD_REQUEST)
        incoming = self._incoming
        if incoming is not None and not incoming.method:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD:
                self._refuse(answers.HEAD_TOO_LARGE)
        self._advance()

    def pause_writing(self) -> None:
        if self._current is not None:
            self._current.pause_response()

    def resume_writing(self) -> None:
        if self._current is not None:
            self._current.resume_response()

    # httptools

    def on_message_begin(self) -> None:
        if self._deaf:
            self._incoming = None
            return
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
                incoming.refusal = answers.BAD_REQUEST
            incoming.host = value
        elif key == b"content-length":
            incoming.length = value
        elif key == b"transfer-encoding":
            if incoming.chunked or value.strip().lower() != b"chunked":
                incoming.refusal = answers.UNSUPPORTED_CODING
            incoming.chunked = True
        elif key == b"connection":
            incoming.connection_header += value + b","
        elif key == b"expect":
            incoming.expects_continue = value.lower() == b"100-continue"
        elif key == b"x-call-id":
            # It stands in every callee's log; a longer one is replaced by our own.
            incoming.call_id = value if len(value) <= LONGEST_CALL_ID else b""
        elif key == b"x-start-time":
            if not self.dispatcher.originates:
                incoming.lines.append(b"%b: %b\r\n" % (name, value))
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
        version = parser.get_http_version()
        incoming.http10 = version == "1.0"
        incoming.keep_alive = parser.should_keep_alive() and not self.dispatcher.draining
        if incoming.connection_header:
            names = nominated(incoming.connection_header)
            if names:
                incoming.lines = without(incoming.lines, names)
        if incoming.host is None and not incoming.http10:
            incoming.refusal = answers.MISSING_HOST
        if version != "1.1" and (incoming.chunked or not incoming.http10):
            incoming.refusal = answers.BAD_REQUEST
        if incoming.refusal is not None:
            incoming.keep_alive = False
        self._last = incoming
        self._queue.append(incoming)
        if len(self._queue) >= MAX_PIPELINED:
            self._deaf = True
            incoming.keep_alive = False

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
        self.dispatcher.finished(exchange)
        self._current = None
        self._since_s = time.monotonic()
        if self._closing:
            return
        if abort:
            self._closing = self._deaf = True
            self.transport.abort()
        elif not exchange.complete or (self._deaf and not exchange.keep_alive):
            self._linger()
        elif not exchange.keep_alive or (self.dispatcher.draining and not self._queue):
            self._closing = self._deaf = True
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
        limits = self.dispatcher.limits
        current = self._current
        if self._closing:
            if now_s - self._since_s > FLUSH_S:
                self.transport.abort()  # the client does not read its last answer
        elif current is None or not current.complete:
            since_s = self._since_s if current is None else current.started_s
            if limits.read_timeout_s and now_s - since_s > limits.read_timeout_s:
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
        self._deaf = True
        incoming, self._incoming = self._incoming, None
        if incoming is not None and incoming is self._current:
            incoming.refuse(answer)
            return
        if incoming is None or not incoming.method:
            incoming = Exchange(self)
            incoming.method = b"GET"
            self._queue.append(incoming)
        incoming.refusal = answer
        incoming.keep_alive = False

    def _decline_upgrade(self, rest: bytes) -> None:
        """No upgrade is offered: the request is served as if it had not asked for one.

        The parser takes a body after such a head for the other protocol's bytes, and where it ends
        is not known: requests with a body (and CONNECT, whose body is a tunnel) are refused.
        """
        declined = self._last
        if declined is None or declined.method == b"CONNECT" or declined.chunked or declined.length not in (None, b"0"):
            if declined is not None:
                declined.refusal = answers.UPGRADE_WITH_BODY
                declined.keep_alive = False
            self._deaf = True
            return
        self._parser = httptools.HttpRequestParser(self)
        if rest:
            self.data_received(rest)

    def _linger(self) -> None:
        """End the connection after an answer that came before the end of its request.

        Closing now would reset the connection because of the unread request, and the reset could
        destroy the answer on its way: stop writing, throw away what comes, close a little later.
        """
        self._closing = self._deaf = True
        if self._paused:
            self.transport.resume_reading()
        self.transport.write_eof()
        asyncio.get_running_loop().call_later(LINGER_S, self.transport.close)

"""Connections from the gateway to one upstream (a function's vIP, or the apiserver), and their pool.

A connection serves one exchange at a time and tells it what arrives; it knows HTTP framing but
neither routes nor clients. The pool keeps idle connections in the order in which they became
idle and hands out the oldest, which spreads calls over all of them and so over the instances
behind the vIP. When the set of instances changes the pool moves to a new generation: connections
of an older one are closed instead of being used again, so that new instances get their share and
draining ones become free.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

import httptools

from testbed.platform.common.http1 import BODILESS_STATUS, HOP_BY_HOP, nominated, without
from testbed.platform.gateway.http.deadlines import Deadlines

WRITE_HIGH_WATER = 512 * 1024
"""Bytes that may wait for a slow reader before the other side is paused."""
FIN_GRACE_S = 1.0
"""How long the upstream may take to close a connection that it was asked to close."""

_SPECIAL = HOP_BY_HOP | {b"content-length"}


class Waiting(Protocol):
    """What an upstream connection needs of the exchange that it serves."""

    method: bytes

    def connected(self, connection: UpstreamConnection) -> None: ...
    def connect_failed(self, error: OSError) -> None: ...
    def response_arrived(self, connection: UpstreamConnection) -> None: ...
    def upstream_lost(self, connection: UpstreamConnection) -> None: ...
    def pause_request(self) -> None: ...
    def resume_request(self) -> None: ...


class UpstreamConnection(asyncio.Protocol):
    """One TCP connection to the upstream.

    Of the answer being read, `status`, `lines` (header lines fit to be passed on), `length` (the
    Content-Length value or None), `chunked`, `head_done`, `done` and `body` (bytes not yet taken)
    are for the exchange to read; it empties `body`.
    """

    __slots__ = (
        "_connection_header", "_parser", "answered", "body", "chunked", "done", "exchange", "generation", "head_done",
        "idle_since_s", "length", "lines", "pool", "status", "transport", "uses",
    )  # fmt: skip

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.generation = pool.generation
        self.transport: Any = None
        self.exchange: Waiting | None = None
        self.uses = 0
        self.idle_since_s = 0.0
        self._parser: Any = httptools.HttpResponseParser(self)
        self._reset()

    def _reset(self) -> None:
        self.status = 0
        self.lines: list[bytes] = []
        self.length: bytes | None = None
        self.chunked = False
        self.head_done = False
        self.done = False
        self.answered = False
        self.body: list[bytes] = []
        self._connection_header = b""

    def serve(self, exchange: Waiting) -> None:
        """Begin to work for `exchange`, which writes its request to `transport` itself."""
        self.exchange = exchange
        self.uses += 1

    def rest(self) -> None:
        """The exchange is over. What it read is forgotten now and not when the next one waits for it."""
        self.exchange = None
        self._reset()

    def abandon(self) -> None:
        """The exchange is given up: an answer may still come, so the connection cannot be used again."""
        self.exchange = None
        self.transport.abort()

    @property
    def reusable(self) -> bool:
        return self.generation == self.pool.generation and not self.transport.is_closing()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.transport.set_write_buffer_limits(high=WRITE_HIGH_WATER)
        self.pool.opened += 1
        self.pool.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.pool.connections.discard(self)
        self.pool.closing.remove(self)
        self._parser = None  # it refers back to this object
        exchange = self.exchange
        if exchange is None:
            return
        if exc is None and self.head_done and not self.done and self.length is None and not self.chunked:
            self.done = True  # a body that ends with the connection
            exchange.response_arrived(self)
        elif not self.done:
            exchange.upstream_lost(self)

    def data_received(self, data: bytes) -> None:
        exchange = self.exchange
        if exchange is None:
            self.transport.abort()  # nobody asked for anything
            return
        self.answered = True
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            if not self.done:
                self.abandon()
                exchange.upstream_lost(self)
                return
            self.generation = -1  # more bytes than one answer: never use it again
        if self.head_done:
            exchange.response_arrived(self)

    def pause_writing(self) -> None:
        if self.exchange is not None:
            self.exchange.pause_request()

    def resume_writing(self) -> None:
        if self.exchange is not None:
            self.exchange.resume_request()

    # httptools

    def on_message_begin(self) -> None:
        if self.done:
            self.generation = -1

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.head_done:  # a trailer, or bytes after the answer
            return
        key = name.lower()
        if key not in _SPECIAL:
            self.lines.append(b"%b: %b\r\n" % (name, value))
        elif key == b"content-length":
            self.length = value
        elif key == b"transfer-encoding":
            self.chunked = True
        elif key == b"connection":
            self._connection_header += value + b","

    def on_headers_complete(self) -> None:
        if self.done:
            return
        self.status = self._parser.get_status_code()
        if self.status < 200:
            self.lines, self.length, self.chunked, self._connection_header = [], None, False, b""
            return
        names = nominated(self._connection_header) if self._connection_header else None
        if names:
            self.lines = without(self.lines, names)
        self.head_done = True
        if self.exchange is not None and self.exchange.method == b"HEAD":
            if not self._parser.should_keep_alive():
                self.generation = -1
            # The parser cannot be told that no body follows; a new one begins with the next answer.
            self._parser = httptools.HttpResponseParser(self)
            self.done = True

    def on_body(self, data: bytes) -> None:
        if not self.done:
            self.body.append(data)

    def on_message_complete(self) -> None:
        if self.head_done and not self.done:
            self.done = True
            if not self._parser.should_keep_alive():
                self.generation = -1

    @property
    def bodiless(self) -> bool:
        return self.status in BODILESS_STATUS or (self.exchange is not None and self.exchange.method == b"HEAD")


class Pool:
    """The connections to one address. `opened` counts every connection that was ever established."""

    def __init__(self, host: str, port: int, *, pooled: bool, max_idle: int, idle_timeout_s: float) -> None:
        self.host = host
        self.port = port
        self.pooled = pooled
        self.opened = 0
        self.generation = 0
        self.connections: set[UpstreamConnection] = set()
        self.closing: Deadlines[UpstreamConnection] = Deadlines(FIN_GRACE_S, _abort)
        self._max_idle = max_idle
        self._idle_timeout_s = idle_timeout_s
        self._idle: deque[UpstreamConnection] = deque()
        self._connecting: set[asyncio.Task[None]] = set()

    def take(self) -> UpstreamConnection | None:
        """An idle connection, or None: then `connect`."""
        idle = self._idle
        while idle:
            connection = idle.popleft()
            if connection.reusable:
                return connection
            connection.transport.close()
        return None

    def connect(self, exchange: Waiting) -> None:
        """Open a connection and report to `exchange`: connected or connect_failed."""
        task = asyncio.get_running_loop().create_task(self._connect(exchange))
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)

    async def _connect(self, exchange: Waiting) -> None:
        factory: Callable[[], UpstreamConnection] = lambda: UpstreamConnection(self)  # noqa: E731
        try:
            _, connection = await asyncio.get_running_loop().create_connection(factory, self.host, self.port)
        except OSError as error:
            exchange.connect_failed(error)
        else:
            exchange.connected(connection)

    def release(self, connection: UpstreamConnection) -> None:
        """An exchange is over and its answer was read to the end."""
        connection.rest()
        if self.pooled and connection.reusable and len(self._idle) < self._max_idle:
            connection.idle_since_s = time.monotonic()
            self._idle.append(connection)
        elif self.pooled or connection.transport.is_closing():
            connection.transport.close()
        else:
            # The upstream was asked to close. Letting it close first leaves TIME_WAIT on its side,
            # where it holds no port that the next connection needs.
            self.closing.add(connection, asyncio.get_running_loop().time())

    def renew(self) -> None:
        """The set of instances behind the address changed: use no connection of before again."""
        self.generation += 1
        self._close_idle(len(self._idle))

    def expire(self, now_s: float) -> None:
        """Close connections that were idle for longer than the idle timeout (seconds, monotonic)."""
        limit_s = now_s - self._idle_timeout_s
        self._close_idle(sum(1 for connection in self._idle if connection.idle_since_s < limit_s))

    def close(self) -> None:
        """Close everything, connections in use too."""
        for task in tuple(self._connecting):
            task.cancel()
        for connection in tuple(self.connections):
            connection.transport.abort()

    def _close_idle(self, count: int) -> None:
        for _ in range(count):
            self._idle.popleft().transport.close()


class Upstream:
    """Something that exchanges are forwarded to; `head` holds the header lines that it always gets."""

    __slots__ = ("head", "pool")

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        connection = b"" if pool.pooled else b"Connection: close\r\n"
        self.head = b"Host: %b:%d\r\n%b" % (pool.host.encode(), pool.port, connection)


def _abort(connection: UpstreamConnection) -> None:
    connection.transport.abort()

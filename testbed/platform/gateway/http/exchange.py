"""One HTTP exchange through the gateway: from a request head to the last byte of its answer.

The client's connection fills in the request while it arrives and calls `start` once, then
`request_progress` after every further piece; the upstream connection calls back with the answer.
Bodies are passed on piece by piece in both directions: what cannot be written yet pauses the side
that it comes from. Which upstream serves a request is decided above (`service.dispatch`), which calls
`forward` or `answer`.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from random import getrandbits
from typing import Any, Protocol
from uuid import uuid4

from testbed.platform.common.http1 import CONTINUE, LAST_CHUNK, chunk, response, send, status_line
from testbed.platform.gateway.http import answers
from testbed.platform.gateway.http.answers import Answer
from testbed.platform.gateway.http.counting import Counting
from testbed.platform.gateway.http.pool import Upstream, UpstreamConnection

CLIENT_GONE = 499
"""The code under which an invocation is counted whose client went away."""
MAX_PENDING = 256 * 1024
"""Bytes of a request body that are kept while the upstream is being connected, or thrown away unread."""

_REPEATABLE = frozenset({b"GET", b"HEAD", b"OPTIONS", b"TRACE"})


class Dispatching(Protocol):
    """What decides where exchanges go."""

    draining: bool

    def dispatch(self, exchange: Exchange) -> None: ...


class Client(Protocol):
    """What an exchange needs of the connection of the client that asks."""

    transport: Any
    write: Any
    forwarded_for: bytes

    @property
    def dispatcher(self) -> Dispatching: ...
    def pause_request(self) -> None: ...
    def resume_request(self) -> None: ...
    def exchange_finished(self, exchange: Exchange, *, abort: bool) -> None: ...


class Exchange:
    """A request and its answer. The request part is written by the client connection's parser."""

    __slots__ = (
        "_answer_begun",
        "_body_begun",
        "_collect_bytes",
        "_collected",
        "_connection",
        "_function",
        "_head",
        "_instead",
        "_metrics",
        "_own_call_id",
        "_upstream",
        "body",
        "call_id",
        "chunked",
        "client",
        "complete",
        "connection_header",
        "done",
        "expects_continue",
        "forwarded_for",
        "forwarded_host",
        "host",
        "http10",
        "keep_alive",
        "length",
        "lines",
        "method",
        "pending_bytes",
        "refusal",
        "sent",
        "started_s",
        "started_unix_ns",
        "url",
    )  # fmt: skip

    def __init__(self, client: Client) -> None:
        self.client = client
        # the request, as it arrives
        self.url = b""
        self.method = b""
        self.lines: list[bytes] = []
        self.host: bytes | None = None
        self.length: bytes | None = None
        self.chunked = False
        self.connection_header = b""
        self.call_id = b""
        self.forwarded_for = False
        self.forwarded_host = False
        self.expects_continue = False
        self.http10 = False
        self.keep_alive = True
        self.complete = False
        self.body: list[bytes] = []
        self.pending_bytes = 0
        self.refusal: Answer | None = None
        # its way through the gateway
        self.done = False
        self.started_s = 0.0
        self.started_unix_ns = 0
        self._head = b""
        self._upstream: Upstream | None = None
        self._connection: UpstreamConnection | None = None
        self._metrics: Counting | None = None
        self._function = b""
        self._instead: Callable[[int], Answer | None] | None = None
        self._collected: Callable[[], None] | None = None
        self._collect_bytes = 0
        self._own_call_id = False
        self._body_begun = False
        self._answer_begun = False
        self.sent = False

    # Towards the upstream

    def start(self) -> None:
        """The head is complete and it is this exchange's turn."""
        self.started_s = time.monotonic()
        self.started_unix_ns = time.time_ns()
        self.client.dispatcher.dispatch(self)

    def forward(
        self,
        upstream: Upstream,
        target: bytes,
        *,
        function: bytes = b"",
        metrics: Counting | None = None,
        instead: Callable[[int], Answer | None] | None = None,
    ) -> None:
        """Send the request to `upstream`, asking for `target`. `function` is its name as the client wrote it.

        `instead` may give another answer than the upstream's, by its status (0: it gave none).
        """
        self._instead = instead
        self._upstream = upstream
        self._function = function
        self._metrics = metrics
        if metrics is not None:
            metrics.started += 1
        self._head = self._request_head(upstream, target)
        connection = upstream.pool.take()
        if connection is not None:
            self.connected(connection)
        else:
            upstream.pool.connect(self)

    def _request_head(self, upstream: Upstream, target: bytes) -> bytes:
        lines = self.lines
        if not self._function:
            tracing = b"X-Call-Id: %b\r\n" % self.call_id if self.call_id else b""
        else:
            if not self.call_id:
                self._own_call_id = True
                self.call_id = next_call_id()
            tracing = b"X-Call-Id: %b\r\nX-Start-Time: %d\r\n" % (self.call_id, self.started_unix_ns)
        framing = b""
        if self.length is not None:
            framing = b"Content-Length: %b\r\n" % self.length
        elif self.chunked:
            framing = b"Transfer-Encoding: chunked\r\n"
        if not self.forwarded_host and self.host:
            lines.append(b"X-Forwarded-Host: %b\r\n" % self.host)
        if not self.forwarded_for:
            lines.append(self.client.forwarded_for)
        return b"%b %b HTTP/1.1\r\n%b%b%b%b\r\n" % (
            self.method, target, upstream.head, b"".join(lines), framing, tracing,
        )  # fmt: skip

    def request_progress(self) -> None:
        """More of the request has arrived."""
        if self._connection is not None:
            self._send_body(self._connection)
        elif self._collected is not None:
            self._collect()
        elif self.pending_bytes > MAX_PENDING:
            self.client.pause_request()

    def when_complete(self, limit_bytes: int, then: Callable[[], None]) -> None:
        """Keep the body until all of it is here, at most this much, and go on with `then`."""
        self._collect_bytes, self._collected = limit_bytes, then
        if self.expects_continue and not self.complete and not self.body:
            self.client.write(CONTINUE)
        self._collect()

    def _collect(self) -> None:
        if self.pending_bytes > self._collect_bytes:
            self.answer(answers.BODY_TOO_LARGE)
        elif self.complete and self._collected is not None:
            then, self._collected = self._collected, None
            self.sent = True
            then()

    def connected(self, connection: UpstreamConnection) -> None:
        if self.done:
            connection.pool.release(connection)
            return
        self._connection = connection
        connection.serve(self)
        if self.expects_continue and not self.complete and not self.body:
            self.client.write(CONTINUE)
        paused = self.pending_bytes > MAX_PENDING
        self._send_body(connection, self._head)
        if paused:
            self.client.resume_request()

    def _send_body(self, connection: UpstreamConnection, head: bytes = b"") -> None:
        """Head and whatever there is of the body, in one write: two would be two packets."""
        parts = self.body
        if self.chunked:
            parts = chunk(parts)
            if self.complete:
                parts.append(LAST_CHUNK)
        if self.body:
            self._body_begun = True
            self.body = []
            self.pending_bytes = 0
        self.sent = self.complete
        if head:
            parts = [head, *parts]
        if parts:
            send(connection.transport, parts)

    def pause_request(self) -> None:
        self.client.pause_request()

    def resume_request(self) -> None:
        self.client.resume_request()

    def connect_failed(self, error: OSError) -> None:
        self._fail(self._unreachable())

    def _unreachable(self) -> Answer:
        return answers.unreachable(self._function) if self._function else self._silent(answers.BAD_GATEWAY)

    def _silent(self, default: Answer) -> Answer:
        """What to say when the upstream gave no answer."""
        return (self._instead(0) if self._instead is not None else None) or default

    def upstream_lost(self, connection: UpstreamConnection) -> None:
        """The connection broke before the answer was complete."""
        self._connection = None
        connection.exchange = None
        if self._may_retry(connection) and self._upstream is not None:
            self._upstream.pool.connect(self)
        elif not self.done:
            self._fail(self._unreachable())

    def _may_retry(self, connection: UpstreamConnection) -> bool:
        """A pooled connection may have been closed while the request was on its way (RFC 9112, 9.3.1)."""
        stale = connection.uses > 1 and not connection.answered
        return stale and self.method in _REPEATABLE and self.complete and not self._body_begun

    def timed_out(self) -> None:
        """The upstream took longer than upstream_timeout."""
        self._fail(self._silent(answers.UPSTREAM_TIMEOUT))

    def refuse(self, answer: Answer) -> None:
        """The request turns out to be no HTTP, while it is being passed on."""
        self._fail(answer)

    def _fail(self, answer: Answer) -> None:
        """Answer so, or, when another answer has begun, break it off: the client must not take it for complete."""
        if self.done:
            return
        if self._answer_begun:
            self._finish(answer.status, abort=True)
        else:
            self.answer(answer)

    # Towards the client

    def response_arrived(self, connection: UpstreamConnection) -> None:
        """The upstream's answer has progressed: pass on what there is of it."""
        parts: list[bytes] = []
        if not self._answer_begun:
            other = self._instead(connection.status) if self._instead is not None else None
            if other is not None:
                self.answer(other)
                return
            self._answer_begun = True
            parts.append(self._response_head(connection))
        body = connection.body
        framed = self._frames(connection)
        if body:
            connection.body = []
            parts += chunk(body) if framed else body
        if connection.done and framed:
            parts.append(LAST_CHUNK)
        if parts:
            send(self.client.transport, parts)
        if connection.done:
            status = connection.status
            if self.sent:  # else the rest of the request would be taken for the next one
                self._connection = None
                connection.pool.release(connection)
            self._finish(status)

    def _frames(self, connection: UpstreamConnection) -> bool:
        """Whether the answer is passed on in the chunked coding: its length is unknown, the client knows HTTP/1.1."""
        return connection.length is None and not self.http10 and not connection.bodiless

    def _response_head(self, connection: UpstreamConnection) -> bytes:
        framing = b""
        if connection.length is not None:
            framing = b"Content-Length: %b\r\n" % connection.length
        elif not connection.bodiless:
            if self.http10:
                self.keep_alive = False
            else:
                framing = b"Transfer-Encoding: chunked\r\n"
        if self._own_call_id:
            tracing = b"X-Call-Id: %b\r\nX-Start-Time: %d\r\n" % (self.call_id, self.started_unix_ns)
        else:
            tracing = b"X-Start-Time: %d\r\n" % self.started_unix_ns if self._function else b""
        return b"%b%b%b%b%b\r\n" % (
            status_line(connection.status), b"".join(connection.lines), framing, self._persistence(), tracing,
        )  # fmt: skip

    def _persistence(self) -> bytes:
        """The Connection header of the answer. An answer that overtakes its request ends the connection."""
        if not self.complete or self.client.dispatcher.draining:
            self.keep_alive = False
        if not self.keep_alive:
            return b"Connection: close\r\n"
        return b"Connection: keep-alive\r\n" if self.http10 else b""

    def pause_response(self) -> None:
        if self._connection is not None:
            self._connection.transport.pause_reading()

    def resume_response(self) -> None:
        if self._connection is not None:
            self._connection.transport.resume_reading()

    def answer(self, answer: Answer) -> None:
        """Give an answer of the gateway's own instead of the upstream's."""
        self._drop_connection()
        self._answer_begun = True
        persistence = self._persistence()
        headers = [*answer.headers, persistence[:-2]] if persistence else answer.headers
        self.client.write(response(answer.status, answer.body, headers, head_only=self.method == b"HEAD"))
        self._finish(answer.status)

    def cancel(self) -> None:
        """The client is gone."""
        if not self.done:
            self._drop_connection()
            self._finish(CLIENT_GONE, abort=True)

    def _drop_connection(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.abandon()

    def _finish(self, code: int, *, abort: bool = False) -> None:
        if self.done:
            return
        self.done = True
        self._drop_connection()
        self._upstream = self._collected = None
        if self._metrics is not None:
            self._metrics.finished(code, time.monotonic() - self.started_s)
        self.client.exchange_finished(self, abort=abort)


def call_ids() -> Iterator[bytes]:
    """UUIDs, version 4 by their form: a random first half of this process's own, then a count from a random start.

    Within a process they differ for certain; each costs a fifth of one that is random throughout.
    """
    start, last = str(uuid4())[:24].encode(), 1 << 48
    for number in itertools.count(getrandbits(48)):
        yield b"%b%012x" % (start, number % last)


next_call_id = call_ids().__next__

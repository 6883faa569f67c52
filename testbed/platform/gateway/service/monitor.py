"""The gateway's second port: `/metrics` for those who may read them and `/healthz`, one answer a connection."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httptools

from testbed.platform.common.http1 import response
from testbed.platform.common.prometheus import CONTENT_TYPE
from testbed.platform.gateway.service import error_table

_CLOSE = b"Connection: close"


@dataclass(frozen=True)
class Readers:
    """Who may read metrics: whoever has the operator's basic auth ("user:password" in base64), or a credential with
    one of these SHA-256 digests (hexadecimal). Without either anybody, as with OpenFaaS without basic auth.

    The gateway knows digests instead of the lab's key: with that it could make credentials.
    """

    basic_auth: bytes | None
    digests: tuple[str, ...]

    def admit(self, authorization: bytes) -> bool:
        """Whether the value of this Authorization header is one of theirs."""
        if self.basic_auth is None and not self.digests:
            return True
        scheme, _, text = authorization.partition(b" ")
        if scheme.lower() == b"basic":
            return self.basic_auth is not None and hmac.compare_digest(text.strip(), self.basic_auth)
        digest = hashlib.sha256(text.strip()).hexdigest()
        return scheme.lower() == b"bearer" and any(hmac.compare_digest(digest, one) for one in self.digests)


class Monitor(asyncio.Protocol):
    """Answers one request; `render` gives the metrics' text."""

    def __init__(self, render: Callable[[], str], readers: Readers) -> None:
        self._render = render
        self._readers = readers
        self._authorization = b""
        self._transport: Any = None
        self._parser = httptools.HttpRequestParser(self)
        self._url = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._transport.close()

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"authorization" and not self._authorization:
            self._authorization = value.strip()

    def on_message_complete(self) -> None:
        path = self._url.partition(b"?")[0]
        if path != b"/healthz" and not self._readers.admit(self._authorization):
            answer = error_table.UNAUTHORIZED
            self._transport.write(response(answer.status, answer.body, (*answer.headers, _CLOSE)))
        elif path == b"/metrics":
            kind = b"Content-Type: %b" % CONTENT_TYPE.encode()
            self._transport.write(response(200, self._render().encode(), (kind, _CLOSE)))
        elif path == b"/healthz":
            self._transport.write(response(200, b"", (_CLOSE,)))
        else:
            answer = error_table.NOT_FOUND
            self._transport.write(response(answer.status, answer.body, (*answer.headers, _CLOSE)))
        self._transport.close()

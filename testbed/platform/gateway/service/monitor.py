"""The gateway's second port: `/metrics` for Prometheus and `/healthz`, one answer a connection."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import httptools

from testbed.platform.common.http1 import response
from testbed.platform.common.prometheus import CONTENT_TYPE
from testbed.platform.gateway.service import error_table

_CLOSE = b"Connection: close"


class Monitor(asyncio.Protocol):
    """Answers one request; `render` gives the metrics' text."""

    def __init__(self, render: Callable[[], str]) -> None:
        self._render = render
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

    def on_message_complete(self) -> None:
        path = self._url.partition(b"?")[0]
        if path == b"/metrics":
            kind = b"Content-Type: %b" % CONTENT_TYPE.encode()
            self._transport.write(response(200, self._render().encode(), (kind, _CLOSE)))
        elif path == b"/healthz":
            self._transport.write(response(200, b"", (_CLOSE,)))
        else:
            answer = error_table.NOT_FOUND
            self._transport.write(response(answer.status, answer.body, (*answer.headers, _CLOSE)))
        self._transport.close()

"""Follows the apiserver's watch stream in an asyncio loop and hands on every new cluster state.

While the apiserver is away the last state stays in force; the stream is taken up again where it broke off. What the
stream says is understood by `testbed.model.watch`.
"""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Callable

import httptools

from testbed.model.cluster import ClusterState
from testbed.model.watch import SILENCE_S, Decoder, StreamError

log = logging.getLogger(__name__)


class _Body:
    """The status and the body of a streamed answer, as far as it has come."""

    def __init__(self) -> None:
        self.status = 0
        self.complete = False
        self._body = bytearray()
        self._parser = httptools.HttpResponseParser(self)

    def feed(self, data: bytes) -> bytes:
        """The part of the body that is in `data`."""
        self._body.clear()
        self._parser.feed_data(data)
        return bytes(self._body)

    def on_headers_complete(self) -> None:
        self.status = self._parser.get_status_code()

    def on_body(self, data: bytes) -> None:
        self._body += data

    def on_message_complete(self) -> None:
        self.complete = True


class Watch:
    """Follows the stream at `host`:`port`; `changed(state)` is called after every batch of changes."""

    def __init__(self, host: str, port: int, headers: bytes, changed: Callable[[ClusterState], None]) -> None:
        self.state = ClusterState()
        self.connected = False
        self._host = host
        self._port = port
        self._headers = headers
        self._changed = changed
        self._decoder = Decoder()

    async def run(self) -> None:
        """Follow for ever; cancel to stop."""
        while True:
            try:
                await self._follow()
            except (TimeoutError, OSError, StreamError, httptools.HttpParserError) as error:
                log.warning("watch on %s:%d broke off: %s", self._host, self._port, error or type(error).__name__)
            self.connected = False
            await asyncio.sleep(self._decoder.next_pause_s())

    async def _follow(self) -> None:
        path = self._decoder.open()
        async with asyncio.timeout(SILENCE_S):
            reader, writer = await asyncio.open_connection(self._host, self._port)
        try:
            writer.write(
                b"GET %b HTTP/1.1\r\nHost: %b:%d\r\n%b\r\n"
                % (path.encode(), self._host.encode(), self._port, self._headers)
            )
            await self._read(reader)
        finally:
            writer.close()

    async def _read(self, reader: asyncio.StreamReader) -> None:
        body = _Body()
        while not body.complete:
            async with asyncio.timeout(SILENCE_S):
                data = await reader.read(1 << 16)
            if not data:
                return
            piece = body.feed(data)
            if body.status:
                self._decoder.check_status(body.status)
            events = self._decoder.feed(piece)
            self.connected = self._decoder.heard
            if events:
                self.state = functools.reduce(ClusterState.apply, events, self.state)
                self._changed(self.state)

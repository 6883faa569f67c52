"""Follows the apiserver's `/watch` stream and hands on every new cluster state.

While the apiserver is away the last state stays in force; the stream is taken up again, with a
growing pause between attempts, where it broke off. A stream without a heartbeat counts as broken.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from typing import Any

import httptools

from testbed.model.cluster import ClusterState
from testbed.model.errors import PlatformError

SILENCE_S = 15.0
"""The apiserver sends a heartbeat every 5 s; three missing ones mean that nobody is there."""
FIRST_PAUSE_S = 0.05
LONGEST_PAUSE_S = 2.0

log = logging.getLogger(__name__)


class _Lines:
    """The lines of a streamed answer's body, cut out as they arrive."""

    def __init__(self) -> None:
        self.status = 0
        self.lines: list[bytes] = []
        self.complete = False
        self._rest = b""
        self.parser = httptools.HttpResponseParser(self)

    def on_headers_complete(self) -> None:
        self.status = self.parser.get_status_code()

    def on_body(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        self.lines += lines

    def on_message_complete(self) -> None:
        self.complete = True


class Watch:
    """Follows the stream at `host`:`port`; `changed(state)` is called after every batch of events."""

    def __init__(self, host: str, port: int, headers: bytes, changed: Callable[[ClusterState], None]) -> None:
        self.state = ClusterState()
        self.connected = False
        self._host = host
        self._port = port
        self._headers = headers
        self._changed = changed
        self._known = False

    async def run(self) -> None:
        """Follow for ever; cancel to stop."""
        pause_s = FIRST_PAUSE_S
        while True:
            try:
                await self._follow()
            except (TimeoutError, OSError, PlatformError, httptools.HttpParserError, ValueError) as error:
                log.warning("watch on %s:%d broke off: %s", self._host, self._port, error or type(error).__name__)
            pause_s = FIRST_PAUSE_S if self.connected else min(2 * pause_s, LONGEST_PAUSE_S)
            self.connected = False
            await asyncio.sleep(pause_s)

    async def _follow(self) -> None:
        async with asyncio.timeout(SILENCE_S):
            reader, writer = await asyncio.open_connection(self._host, self._port)
        try:
            since = b"?since=%d" % self.state.version if self._known else b""
            writer.write(
                b"GET /watch%b HTTP/1.1\r\nHost: %b:%d\r\n%b\r\n"
                % (since, self._host.encode(), self._port, self._headers)
            )
            await self._read(reader)
        finally:
            writer.close()

    async def _read(self, reader: asyncio.StreamReader) -> None:
        lines = _Lines()
        while not lines.complete:
            async with asyncio.timeout(SILENCE_S):
                data = await reader.read(1 << 16)
            if not data:
                return
            lines.parser.feed_data(data)
            if lines.status and lines.status != 200:
                self._known = False  # for instance, a version that the apiserver no longer keeps
                raise PlatformError(f"the apiserver answered /watch with status {lines.status}; see its log")
            self._apply([json.loads(line) for line in lines.lines if line.strip()])
            lines.lines.clear()

    def _apply(self, events: list[dict[str, Any]]) -> None:
        state = self.state
        for event in events:
            state = state.apply(event)
        if events:
            self.connected = True
        if state is not self.state or (not self._known and events):
            self.state = state
            self._known = True
            self._changed(state)

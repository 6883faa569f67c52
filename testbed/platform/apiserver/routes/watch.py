"""The apiserver's routes that publish the cluster state: `GET /state` once, `GET /watch` for ever.

A watcher is sent from the one history there is, a piece at a time, when it has taken the piece before: a
slow one costs no memory and holds up nobody. One that falls behind what is kept gets a snapshot; one that
takes nothing for a while is cut off and may come again.
"""

from __future__ import annotations

import asyncio
import contextlib
import re

from aiohttp import web

from testbed.model.errors import UsageError
from testbed.model.watch import HEARTBEAT_S, NOTHING, PATH, heartbeat, snapshot
from testbed.platform.apiserver.cluster_state import ClusterKeeper
from testbed.platform.apiserver.routes.http import NDJSON, STUCK_AFTER_S, Handler, lines_of, send
from testbed.platform.common.guard import own_namespace

PIECE_BYTES = 1 << 16


class WatchRoutes:
    """/state and /watch; `announce` is the middleware that wakes watchers after a change."""

    def __init__(
        self, cluster: ClusterKeeper, heartbeat_s: float = HEARTBEAT_S, stuck_after_s: float = STUCK_AFTER_S
    ) -> None:
        self._cluster = cluster
        self._heartbeat_s = heartbeat_s
        self._stuck_after_s = stuck_after_s
        self._changed = asyncio.Event()
        self._stopping = False

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/state", self._state, allow_head=False),
            web.get(PATH, self._watch, allow_head=False),
        ]

    def stop(self) -> None:
        """End every stream."""
        self._stopping = True
        self._changed.set()

    @web.middleware
    async def announce(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Wake the watchers when the request has changed something."""
        before = self._cluster.state.version
        try:
            return await handler(request)
        finally:
            if self._cluster.state.version != before:
                self._changed.set()
                self._changed = asyncio.Event()

    async def _state(self, request: web.Request) -> web.Response:
        """The cluster state; of it, to a namespace, its own."""
        own, state = own_namespace(request), self._cluster.state
        return web.json_response((state if own is None else state.of_namespace(own)).to_json())

    async def _watch(self, request: web.Request) -> web.StreamResponse:
        """NDJSON: a snapshot unless `since` can be continued from, then events and heartbeats, without end."""
        since = request.query.get("since", str(NOTHING))
        if not re.fullmatch(r"-?[0-9]{1,18}", since):
            raise UsageError(f'"since" must be a version number, not "{since}"')
        version = int(since)
        response = web.StreamResponse(headers=NDJSON)
        await response.prepare(request)
        with contextlib.suppress(ConnectionError):  # the watcher has gone
            while not self._stopping:
                changed = self._changed
                news, version = self._news(version)
                if news:
                    await send(request, response, news, self._stuck_after_s)
                    continue  # there may be more by now
                try:
                    await asyncio.wait_for(changed.wait(), self._heartbeat_s)
                except TimeoutError:
                    beat = lines_of([heartbeat(version)])
                    await send(request, response, beat, self._stuck_after_s)
        return response

    def _news(self, version: int) -> tuple[bytes, int]:
        """The next piece of what happened after `version` (-1: everything), and the version it leads to."""
        events = self._cluster.events_since(version)
        if events is None:
            state = self._cluster.state
            return lines_of([snapshot(state)]), state.version
        piece = bytearray()
        for event in events:
            piece += lines_of([event])
            version = event["version"]
            if len(piece) >= PIECE_BYTES:
                break
        return bytes(piece), version

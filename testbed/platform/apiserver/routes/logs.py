"""The apiserver's route for logs: `GET /system/logs` as the faas-provider contract has it.

Files are read in a thread of their own, a bounded piece at a time, and the next piece when the reader has
taken the one before. A reader that has gone, or takes nothing for a while, leaves nothing behind.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from itertools import islice
from typing import Any

from aiohttp import web

from testbed.model.errors import PlatformError
from testbed.platform.apiserver import validation
from testbed.platform.apiserver.cluster_state import ClusterKeeper
from testbed.platform.apiserver.routes.http import NDJSON, Unprocessable, lines_of, namespace_of, send
from testbed.platform.common import function_logs
from testbed.platform.common.function_logs import Follower, Line, LogFolder, Selection

POLL_S = 0.2
PIECE_LINES = 200


class LogRoutes:
    """/system/logs."""

    def __init__(self, cluster: ClusterKeeper, logs: LogFolder, default_namespace: str) -> None:
        self._cluster = cluster
        self._logs = logs
        self._default_namespace = default_namespace
        self._stopping = asyncio.Event()

    def routes(self) -> list[web.RouteDef]:
        return [web.get("/system/logs", self._read, allow_head=False)]

    def stop(self) -> None:
        """End every stream."""
        self._stopping.set()

    async def _read(self, request: web.Request) -> web.StreamResponse:
        selection, follow = _selection(request, self._default_namespace)
        full_name = f"{selection.function}.{selection.namespace}"
        if not self._logs.instances(selection) and self._cluster.removing(full_name):
            what = f"instance {selection.instance}" if selection.instance else f"function {full_name}"
            raise PlatformError(f"{what} has written no log; it is not deployed here")
        response = web.StreamResponse(headers=NDJSON)
        await response.prepare(request)
        with contextlib.suppress(ConnectionError):  # the reader has gone
            await self._stream(request, response, selection, follow)
        return response

    async def _stream(
        self, request: web.Request, response: web.StreamResponse, selection: Selection, follow: bool
    ) -> None:
        follower = Follower(self._logs, selection)
        lines = follower.present()
        while not self._stopping.is_set():
            piece = await asyncio.to_thread(_piece, lines)
            if not piece and follow:
                await self._pause()
                if request.transport is None or request.transport.is_closing():
                    return
                lines = follower.added()
                continue
            last = not piece
            piece = piece or list(follower.rest())
            await send(request, response, lines_of([_message(selection, line) for line in piece]))
            if last:
                return

    async def _pause(self) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), POLL_S)


def _piece(lines: Iterator[Line]) -> list[Line]:
    return list(islice(lines, PIECE_LINES))


def _selection(request: web.Request, default_namespace: str) -> tuple[Selection, bool]:
    """What the request asks for, and whether to follow; as the original, 422 when it cannot be read."""
    query = request.query
    try:
        tail = int(query.get("tail") or 0)
        since_ns = function_logs.parse_time(query["since"]) if query.get("since") else None
    except ValueError as error:
        raise Unprocessable(f"could not parse the log request: {error}") from None
    name, _, named_namespace = query.get("name", "").partition(".")
    if not name:
        raise Unprocessable("could not parse the log request: it names no function")
    selection = Selection(
        validation.check_name(name, "function"),
        validation.check_name(named_namespace or namespace_of(request, default_namespace), "namespace"),
        query.get("instance", ""),
        since_ns,
        tail if tail > 0 else None,
    )
    return selection, query.get("follow", "").lower() in ("1", "t", "true")


def _message(selection: Selection, line: Line) -> dict[str, Any]:
    return {
        "name": selection.function,
        "namespace": selection.namespace,
        "instance": line.instance,
        "timestamp": function_logs.format_time(line.at_ns),
        "text": line.text,
    }

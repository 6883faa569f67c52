"""What the apiserver's routes share: reading requests, and errors as one line of text with the contract's statuses."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from aiohttp import web

from testbed.model.errors import TestbedError, UsageError
from testbed.platform.apiserver.cluster_state import Conflict, NotFound

NDJSON = {"Content-Type": "application/x-ndjson"}

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

STUCK_AFTER_S = 30.0
"""Who takes nothing of a stream for so long is cut off."""


class Unprocessable(TestbedError):
    """A request that the originals answer with 422."""


class Forbidden(TestbedError):
    """Not for who asks, which only the request's handler could tell."""


_STATUS = {Forbidden: 403, UsageError: 400, NotFound: 404, Conflict: 409, Unprocessable: 422}


@web.middleware
async def errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Errors of the family become one line of text; what no route serves is said as the originals say it."""
    try:
        return await handler(request)
    except TestbedError as error:
        status = next((code for kind, code in _STATUS.items() if isinstance(error, kind)), 500)
        return web.Response(status=status, text=f"{error}\n")
    except web.HTTPNotFound:
        return web.Response(status=404, text="404 page not found\n")
    except web.HTTPMethodNotAllowed as error:
        return web.Response(status=405, headers={"Allow": ",".join(sorted(error.allowed_methods))})


async def body_of(request: web.Request) -> dict[str, Any]:
    """The request's JSON object; UsageError when it is something else."""
    try:
        body = json.loads(await request.read() or b"{}")
    except ValueError:
        raise UsageError("the request's body is not JSON") from None
    if not isinstance(body, dict):
        raise UsageError("the request's body must be a JSON object")
    return body


def namespace_of(request: web.Request, default: str, body: Mapping[str, Any] | None = None) -> str:
    """The namespace that the body names, or the query, or the default."""
    namespace = (body or {}).get("namespace") or request.query.get("namespace") or default
    if not isinstance(namespace, str):
        raise UsageError('"namespace" must be text')
    return namespace


def lines_of(values: list[Any]) -> bytes:
    """Values as NDJSON."""
    return "".join(json.dumps(value, separators=(",", ":")) + "\n" for value in values).encode()


async def send(
    request: web.Request, response: web.StreamResponse, data: bytes, stuck_after_s: float = STUCK_AFTER_S
) -> None:
    """Send a piece of a stream and wait until the reader takes it; ConnectionError when it does not or has gone."""
    try:
        await asyncio.wait_for(response.write(data), stuck_after_s)
    except TimeoutError:
        if request.transport is not None:
            request.transport.abort()
        raise ConnectionAbortedError from None

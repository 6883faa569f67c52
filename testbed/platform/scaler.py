"""The scaler: decides how many instances each function has. It stands for KEDA and the HPA.

It follows the apiserver's watch and asks the apiserver for replicas; it starts no instance. Run as
`python -m testbed.platform.scaler --preset lab`; its REST interface is in docs/architecture.md.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
from aiohttp import web

from testbed import addressing, scaling_annotations
from testbed.errors import PlatformError, UsageError
from testbed.model import ClusterState, Function
from testbed.platform.gateway_watch import Watch
from testbed.platform.scaler_activation import Activator, UnknownFunction, WillNotScale, first_replicas
from testbed.scaling import PRESETS, Settings

CALL_TIMEOUT_S = 5.0

log = logging.getLogger("scaler")


class Scaler:
    """The cluster as the watch tells of it, and the requests that come in."""

    def __init__(self, preset: Settings, dry_run: bool, scale: Any) -> None:
        self._preset = preset
        self._dry_run = dry_run
        self._state = ClusterState()
        self._activator = Activator(scale)

    def changed(self, state: ClusterState) -> None:
        """The watch's news."""
        self._state = state
        for function in state.functions.values():
            if function.replicas:
                self._activator.seen(function.full_name)

    async def activate(self, full_name: str) -> int:
        """Bring a function from zero to its first instances; the replicas that it has or gets.

        Raises UnknownFunction, WillNotScale, or PlatformError when the apiserver does not agree.
        """
        if not self._state.nodes:
            raise PlatformError("the scaler has not heard from the apiserver yet; ask again in a moment")
        function = self._state.functions.get(full_name)
        if function is None:
            raise UnknownFunction(f"there is no function {full_name}")
        if function.replicas:
            return function.replicas
        replicas = first_replicas(function, self._settings(function))
        if self._dry_run:
            raise WillNotScale("the scaler only says what it would do (dry run); scale by hand")
        if await self._activator.activate(function, replicas):
            log.info("%s: 0 -> %d, a call waits", full_name, replicas)
        return replicas

    def _settings(self, function: Function) -> Settings | None:
        return scaling_annotations.read(function.name, function.labels, function.annotations, self._preset)


def application(scaler: Scaler) -> web.Application:
    """The REST interface."""

    async def healthz(_: web.Request) -> web.Response:
        return web.Response(text="OK")

    async def activate(request: web.Request) -> web.Response:
        try:
            return web.json_response({"replicas": await scaler.activate(await _named(request))}, status=202)
        except (UnknownFunction, WillNotScale, UsageError, PlatformError) as error:
            return web.json_response({"error": str(error)}, status=_STATUS[type(error)])

    app = web.Application()
    app.add_routes([web.get("/healthz", healthz), web.post("/activate", activate)])
    return app


_STATUS = {UnknownFunction: 404, WillNotScale: 409, UsageError: 400, PlatformError: 503}


async def _named(request: web.Request) -> str:
    try:
        name = json.loads(await request.read())["function"]
    except (ValueError, KeyError, TypeError):
        raise UsageError('the body must be {"function": "name.namespace"}') from None
    return str(name)


class Apiserver:
    """Scale requests to the apiserver."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self._url = url
        self._session = session

    async def scale(self, function: Function, replicas: int) -> None:
        """POST /system/scale-function; raises PlatformError."""
        body = {"serviceName": function.name, "namespace": function.namespace, "replicas": replicas}
        try:
            async with self._session.post(f"{self._url}/system/scale-function/{function.name}", json=body) as answer:
                text = await answer.text()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise PlatformError(
                f"the apiserver at {self._url} does not answer ({type(error).__name__}); it is asked again"
            ) from error
        if answer.status >= 400:
            raise PlatformError(text.strip() or f"the apiserver refused with {answer.status}")


async def serve(arguments: argparse.Namespace) -> web.Application:
    """The application with all that runs beside it."""
    session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=CALL_TIMEOUT_S))
    apiserver = Apiserver(arguments.apiserver, session)
    scaler = Scaler(PRESETS[arguments.preset], arguments.dry_run, apiserver.scale)
    host, _, port = arguments.apiserver.removeprefix("http://").rpartition(":")
    watch = Watch(host, int(port), b"", scaler.changed)

    async def run(_: web.Application) -> AsyncIterator[None]:
        tasks = [asyncio.create_task(watch.run())]
        yield
        for task in tasks:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        await session.close()

    app = application(scaler)
    app.cleanup_ctx.append(run)
    return app


def main() -> None:
    parser = argparse.ArgumentParser(prog="testbed.platform.scaler", description=__doc__)
    parser.add_argument("--apiserver", default=addressing.APISERVER_URL, metavar="URL")
    parser.add_argument("--listen", default=addressing.CONTROL_PLANE_IP, metavar="HOST")
    parser.add_argument("--preset", choices=sorted(PRESETS), default="lab")
    parser.add_argument("--dry-run", action="store_true", help="decide and log, but change nothing")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    web.run_app(
        serve(arguments), host=arguments.listen, port=addressing.SCALER_PORT, access_log=None, shutdown_timeout=1.0,
        print=None,
    )  # fmt: skip


if __name__ == "__main__":
    main()

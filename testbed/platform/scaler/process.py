"""The scaler: decides how many instances each function has. It stands for KEDA and the HPA.

It follows the apiserver's watch and asks the apiserver for replicas; it starts no instance. Run as
`python -m testbed.platform.scaler.process --lab-key FILE --preset lab`; its REST interface is in docs/platform.md.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import os
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
from aiohttp import web

from testbed.model import addressing
from testbed.model.cluster import Function
from testbed.model.credentials import bearer
from testbed.model.errors import PlatformError
from testbed.model.scaling.settings import PRESETS
from testbed.platform.common import identity
from testbed.platform.common.watch import Watch
from testbed.platform.scaler.activation import Activator
from testbed.platform.scaler.decisions import DecisionLog
from testbed.platform.scaler.engine import Engine
from testbed.platform.scaler.meter import BY_GATEWAY, BY_SWITCHES, Meter
from testbed.platform.scaler.rest import application
from testbed.platform.scaler.service import Scaler
from testbed.platform.scaler.sources import CpuUsage, GatewayCounters, SwitchCounters

CALL_TIMEOUT_S = 5.0
GATEWAY_METRICS_URL = f"http://{addressing.GATEWAY_MANAGEMENT_IP}:{addressing.GATEWAY_METRICS_PORT}"

log = logging.getLogger("scaler")


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
    credential = bearer(identity.own_credential())
    session = aiohttp.ClientSession(
        timeout=aiohttp.ClientTimeout(total=CALL_TIMEOUT_S), headers={"Authorization": credential}
    )
    apiserver = Apiserver(arguments.apiserver, session)
    activator = Activator(apiserver.scale)
    switches = SwitchCounters(session, arguments.controller, lambda: engine.state)
    to_gateway = identity.read(arguments.gateway_credential) if arguments.gateway_credential else ""
    gateway = GatewayCounters(session, arguments.gateway_metrics, to_gateway)
    counters = {BY_GATEWAY: gateway.read, BY_SWITCHES: switches.read}
    engine = Engine(
        PRESETS[arguments.preset],
        Meter(counters, CpuUsage(session, arguments.apiserver).read, time.monotonic),
        lambda function, replicas: _scale(activator, apiserver, function, replicas),
        DecisionLog(arguments.log),
        time.monotonic,
        lambda: watch.connected,
        arguments.dry_run,
    )
    scaler = Scaler(engine, activator)
    host, _, port = arguments.apiserver.removeprefix("http://").rpartition(":")
    watch = Watch(host, int(port), f"Authorization: {credential}\r\n".encode(), scaler.changed)

    async def run(_: web.Application) -> AsyncIterator[None]:
        tasks = [asyncio.create_task(watch.run()), asyncio.create_task(engine.run())]
        for task in tasks:
            task.add_done_callback(_end_with)
        yield
        for task in tasks:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        await session.close()

    app = application(scaler, identity.keyring(arguments.lab_key))
    app.cleanup_ctx.append(run)
    return app


async def _scale(activator: Activator, apiserver: Apiserver, function: Function, replicas: int) -> None:
    """From zero as an activation, so that both together make one request."""
    if function.replicas:
        await apiserver.scale(function, replicas)
    else:
        await activator.activate(function, replicas)


def _end_with(task: asyncio.Task[None]) -> None:
    """A scaler that no longer decides ends, and is started again."""
    if not task.cancelled() and task.exception() is not None:
        log.error("the scaler cannot go on", exc_info=task.exception())
        os.kill(os.getpid(), signal.SIGTERM)


def main() -> None:
    parser = argparse.ArgumentParser(prog="testbed.platform.scaler.process", description=__doc__)
    parser.add_argument("--apiserver", default=addressing.APISERVER_URL, metavar="URL")
    parser.add_argument("--controller", default=addressing.CONTROLLER_URL, metavar="URL")
    parser.add_argument("--gateway-metrics", default=GATEWAY_METRICS_URL, metavar="URL")
    parser.add_argument("--log", type=Path, help="NDJSON file of all decisions")
    parser.add_argument("--lab-key", type=Path, required=True, help="file with the key of the lab's credentials")
    parser.add_argument("--gateway-credential", type=Path, help="file with what the gateway's metrics are read with")
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

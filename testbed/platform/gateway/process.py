"""The gateway process: `python -m testbed.platform.gateway.process`, configured by its environment.

Stands for the OpenFaaS gateway. It only puts the parts together; which part does what stands in the package's page
(`testbed/platform/gateway/__init__.py`).
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import Mapping

from testbed.platform.gateway import lifecycle
from testbed.platform.gateway.config import from_environment
from testbed.platform.gateway.http.client_connection import ClientConnection
from testbed.platform.gateway.service.dispatch import Gateway
from testbed.platform.gateway.service.history import History
from testbed.platform.gateway.service.metrics import render
from testbed.platform.gateway.service.monitor import Monitor, Readers

log = logging.getLogger("gateway")


def main(environment: Mapping[str, str] = os.environ) -> int:
    """Run until a signal ends it. Returns the exit code."""
    return lifecycle.run("gateway", lambda: serve(environment))


async def serve(environment: Mapping[str, str]) -> None:
    """Serve until SIGTERM or SIGINT."""
    config = from_environment(environment)
    parts = lifecycle.parts(config)
    gateway = Gateway(parts, scale_from_zero=config.scale_from_zero)
    follow = lifecycle.watch(config, gateway)

    history = History(config.history, parts.functions.metrics)
    history.load(parts.functions.metrics_of)

    def metrics() -> str:
        history.save()  # first: nobody is told what could still be lost
        return render(parts.functions.metrics(), gateway.system.metrics, gateway.version)

    loop = asyncio.get_running_loop()
    sockets = [lifecycle.listener(config.port)]
    if config.listen_fd is not None:
        sockets.append(lifecycle.inherited(config.listen_fd))
    servers = [await loop.create_server(lambda: ClientConnection(gateway), sock=sock) for sock in sockets]
    monitor = lifecycle.listener(config.metrics_port)
    readers = Readers(config.credentials, config.metrics_readers)
    servers.append(await loop.create_server(lambda: Monitor(metrics, readers), sock=monitor))
    log.info("listening on port %d, metrics on %d", config.port, config.metrics_port)
    keeping = asyncio.create_task(history.run())
    await lifecycle.serve(gateway, follow, servers)
    keeping.cancel()
    history.save()


if __name__ == "__main__":
    sys.exit(main())

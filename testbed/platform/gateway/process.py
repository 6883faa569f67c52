"""The gateway process: `python -m testbed.platform.gateway.process`, configured by its environment.

Stands for the OpenFaaS gateway. It wires the parts together:

    gateway_process   sockets, limits, end            gateway_dispatch  where a request goes
    gateway_server    clients                         gateway_exchange  one request and its answer
    gateway_upstream  function pools                  gateway_services  which functions there are
    gateway_routes    the rules, and the error table  gateway_system    /system and /ui
    gateway_watch     follows the apiserver           gateway_provider  asks it
    gateway_scaling   calls that wait for a first instance
    gateway_tokens    namespaces whose callers need a token
    gateway_history   counters that survive a restart
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import Mapping

from testbed.platform.gateway import lifecycle
from testbed.platform.gateway.config import from_environment
from testbed.platform.gateway.http.client_connection import Downstream
from testbed.platform.gateway.service import metrics as gateway_metrics
from testbed.platform.gateway.service.dispatch import Gateway
from testbed.platform.gateway.service.history import History
from testbed.platform.gateway.service.monitor import Monitor

log = logging.getLogger("gateway")


def main(environment: Mapping[str, str] = os.environ) -> int:
    """Run until a signal ends it. Returns the exit code."""
    return lifecycle.run("gateway", lambda: serve(environment))


async def serve(environment: Mapping[str, str]) -> None:
    """Serve until SIGTERM or SIGINT."""
    config = from_environment(environment)
    parts = lifecycle.parts(config)
    gateway = Gateway(
        parts.services, parts.upstream, parts.provider, parts.limits, config.credentials, config.default_namespace,
        scale_from_zero=config.scale_from_zero,
    )  # fmt: skip
    follow = lifecycle.watch(config, gateway)

    history = History(config.history, parts.services.metrics)
    history.load(parts.services.metrics_of)

    def metrics() -> str:
        history.save()  # first: nobody is told what could still be lost
        return gateway_metrics.render(parts.services.metrics(), gateway.system.metrics, gateway.version)

    loop = asyncio.get_running_loop()
    sockets = [lifecycle.listener(config.port)]
    if config.listen_fd is not None:
        sockets.append(lifecycle.inherited(config.listen_fd))
    servers = [await loop.create_server(lambda: Downstream(gateway), sock=sock) for sock in sockets]
    monitor = lifecycle.listener(config.metrics_port)
    servers.append(await loop.create_server(lambda: Monitor(metrics), sock=monitor))
    log.info("listening on port %d, metrics on %d", config.port, config.metrics_port)
    keeping = asyncio.create_task(history.run())
    await lifecycle.serve(gateway, follow, servers)
    keeping.cancel()
    history.save()


if __name__ == "__main__":
    sys.exit(main())

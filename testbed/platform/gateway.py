"""The gateway process: `python -m testbed.platform.gateway`, configured by its environment.

Stands for the OpenFaaS gateway. It wires the parts together and ends cleanly on SIGTERM and SIGINT:
no new connection is taken, running exchanges get DRAIN_S to finish.

    gateway_server    clients         gateway_exchange  one request and its answer
    gateway_upstream  function pools  gateway_services  which functions there are
    gateway_dispatch  where to        gateway_routes    the rules for it, and the error table
    gateway_watch     follows the apiserver           gateway_provider  asks it
    gateway_scaling   calls that wait for a first instance
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import logging
import os
import resource
import signal
import socket
import sys
from collections.abc import Mapping

import uvloop

from testbed.errors import EnvironmentProblem, TestbedError
from testbed.platform import gateway_metrics
from testbed.platform.gateway_config import Config, from_environment
from testbed.platform.gateway_dispatch import SWEEP_S, Gateway, Limits
from testbed.platform.gateway_history import History
from testbed.platform.gateway_monitor import Monitor
from testbed.platform.gateway_provider import Provider
from testbed.platform.gateway_server import Downstream
from testbed.platform.gateway_services import Services, Upstream
from testbed.platform.gateway_upstream import Pool
from testbed.platform.gateway_watch import Watch

BACKLOG = 4096
DRAIN_S = 10.0
OPEN_FILES = 65_536
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h

log = logging.getLogger("gateway")


def main(environment: Mapping[str, str] = os.environ) -> int:
    """Run until a signal ends it. Returns the exit code."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    _raise_file_limit()
    _keep_freed_memory()
    try:
        config = from_environment(environment)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(serve(config))
    except TestbedError as error:
        print(f"gateway: {error}", file=sys.stderr)
        return error.exit_code
    return 0


async def serve(config: Config) -> None:
    """Serve until SIGTERM or SIGINT."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    services = Services(lambda vip: _pool(config, vip, config.function_port), config.default_namespace)
    gateway = _gateway(config, services)
    watch = Watch(config.apiserver_host, config.apiserver_port, _basic_auth(config), gateway.updated)
    servers = [await loop.create_server(lambda: Downstream(gateway), sock=sock) for sock in _listeners(config)]
    history = History(config.history, services.metrics)
    history.load(services.metrics_of)

    def metrics() -> str:
        history.save()  # first: nobody is told what could still be lost
        return gateway_metrics.render(services.metrics(), watch.state.version)

    monitor = await loop.create_server(lambda: Monitor(metrics), sock=_listener(config.metrics_port))
    tasks = [asyncio.create_task(history.run()), asyncio.create_task(watch.run()), asyncio.create_task(_sweep(gateway))]
    _tune_collector()
    log.info("listening on port %d, metrics on %d", config.port, config.metrics_port)
    await stop.wait()
    for task in tasks:
        task.cancel()
    for server in (*servers, monitor):
        server.close()
    await _drain(gateway)
    history.save()


def _gateway(config: Config, services: Services) -> Gateway:
    limits = Limits(config.read_timeout_s, config.write_timeout_s, config.upstream_timeout_s)
    provider = _pool(config, config.apiserver_host, config.apiserver_port, pooled=True)
    return Gateway(
        services,
        Upstream(provider),
        Provider(config.apiserver_host, config.apiserver_port, _basic_auth(config)),
        limits,
        config.credentials,
        config.default_namespace,
        scale_from_zero=config.scale_from_zero,
    )


def _pool(config: Config, host: str, port: int, *, pooled: bool | None = None) -> Pool:
    return Pool(
        host,
        port,
        pooled=config.pooled if pooled is None else pooled,
        max_idle=config.max_idle_conns_per_host,
        idle_timeout_s=config.upstream_idle_timeout_s,
    )


def _basic_auth(config: Config) -> bytes:
    return b"Authorization: Basic %b\r\n" % config.credentials if config.credentials else b""


def _listeners(config: Config) -> list[socket.socket]:
    listeners = [_listener(config.port)]
    if config.listen_fd is not None:
        try:
            inherited = socket.socket(fileno=config.listen_fd)
            inherited.setblocking(False)
        except OSError as error:
            raise EnvironmentProblem(
                f"TESTBED_LISTEN_FD={config.listen_fd} is no listening socket ({error.strerror}); "
                "pass the number of an inherited one"
            ) from error
        inherited.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        listeners.append(inherited)
    return listeners


def _listener(port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # accepted sockets inherit it
    try:
        listener.bind(("0.0.0.0", port))
    except OSError as error:
        raise EnvironmentProblem(
            f"port {port} cannot be listened on ({error.strerror}); end what listens there or set another port"
        ) from error
    listener.listen(BACKLOG)
    listener.setblocking(False)
    return listener


async def _sweep(gateway: Gateway) -> None:
    while True:
        await asyncio.sleep(SWEEP_S)
        gateway.sweep()


async def _drain(gateway: Gateway) -> None:
    gateway.drain()
    deadline_s = asyncio.get_running_loop().time() + DRAIN_S
    while gateway.connections and asyncio.get_running_loop().time() < deadline_s:
        await asyncio.sleep(0.01)
    for pool in (*gateway.services.pools(), gateway.provider.pool):
        pool.close()


def _raise_file_limit() -> None:
    """Every exchange holds two sockets. Only root may raise the hard limit; the soft one anybody."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for limit in (max(hard, OPEN_FILES), hard):
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
        except (ValueError, OSError):
            continue
        return


def _tune_collector() -> None:
    """Exchanges free themselves by reference count; look for cycles seldom, and not in what stays."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


def _keep_freed_memory() -> None:
    """Let the C library keep what it frees.

    A body arrives in pieces of 256 KB. By default each is given back to the kernel and asked for
    again, page by page, which costs more than copying it.
    """
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        libc.mallopt(_M_MMAP_THRESHOLD, 4 << 20)
        libc.mallopt(_M_TRIM_THRESHOLD, 64 << 20)


if __name__ == "__main__":
    sys.exit(main())

"""What the gateway's and the provider proxy's processes have in common: sockets, limits, start and clean end.

On SIGTERM and SIGINT no new connection is taken, and running exchanges get DRAIN_S to finish.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import logging
import resource
import signal
import socket
import sys
from collections.abc import Callable, Coroutine
from typing import Any

import uvloop

from testbed.model.credentials import bearer
from testbed.model.errors import EnvironmentProblem, TestbedError
from testbed.platform.common.watch import Watch
from testbed.platform.gateway.config import Config
from testbed.platform.gateway.http.deadlines import Limits
from testbed.platform.gateway.http.pool import Pool, Upstream
from testbed.platform.gateway.service.apiserver_client import ApiserverClient
from testbed.platform.gateway.service.dispatch import SWEEP_S, Dispatcher, Parts
from testbed.platform.gateway.service.functions import Functions

BACKLOG = 4096
DRAIN_S = 10.0
OPEN_FILES = 65_536
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h


def run(name: str, main: Callable[[], Coroutine[Any, Any, None]]) -> int:
    """Run `main` until a signal ends it. Returns the exit code; an error is one sentence after `name`."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    _raise_file_limit()
    _keep_freed_memory()
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(main())
    except TestbedError as error:
        print(f"{name}: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def parts(config: Config) -> Parts:
    """The parts as this configuration wants them."""
    pool = _pool(config, config.apiserver_host, config.apiserver_port, pooled=True)
    return Parts(
        Functions(lambda vip: _pool(config, vip, config.function_port), config.default_namespace),
        Upstream(pool),
        ApiserverClient(config.apiserver_host, config.apiserver_port, config.own_credential),
        Limits(config.read_timeout_s, config.write_timeout_s, config.upstream_timeout_s),
        config.credentials,
        config.default_namespace,
    )


def watch(config: Config, dispatcher: Dispatcher) -> Watch:
    """What keeps the dispatcher's cluster state up to date."""
    header = f"Authorization: {bearer(config.own_credential)}\r\n".encode()
    return Watch(config.apiserver_host, config.apiserver_port, header, dispatcher.updated)


async def serve(dispatcher: Dispatcher, follow: Watch, servers: list[asyncio.Server]) -> None:
    """Serve until SIGTERM or SIGINT, then end cleanly; also, with its error, when following or sweeping fails.

    A gateway that no longer follows would look alive and serve by an old state: ending gets it restarted.
    """
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    tasks = [asyncio.create_task(follow.run()), asyncio.create_task(_sweep(dispatcher))]
    _tune_collector()
    stopped = asyncio.create_task(stop.wait())
    ended, _ = await asyncio.wait((stopped, *tasks), return_when=asyncio.FIRST_COMPLETED)
    for task in (stopped, *tasks):
        task.cancel()
    for server in servers:
        server.close()
    await _drain(dispatcher)
    for one in ended:
        one.result()


def _pool(config: Config, host: str, port: int, *, pooled: bool | None = None) -> Pool:
    return Pool(
        host,
        port,
        pooled=config.pooled if pooled is None else pooled,
        max_idle=config.max_idle_conns_per_host,
        idle_timeout_s=config.upstream_idle_timeout_s,
    )


def inherited(fd: int) -> socket.socket:
    """The listening socket with this number that was open when the process began."""
    try:
        listener = socket.socket(fileno=fd)
        listener.setblocking(False)
    except OSError as error:
        raise EnvironmentProblem(
            f"TESTBED_LISTEN_FD={fd} is no listening socket ({error.strerror}); pass the number of an inherited one"
        ) from error
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def listener(port: int, host: str = "0.0.0.0") -> socket.socket:
    """A socket that listens on `port`; EnvironmentProblem when it is taken."""
    one = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # accepted sockets inherit it
    try:
        one.bind((host, port))
    except OSError as error:
        raise EnvironmentProblem(
            f"port {port} cannot be listened on ({error.strerror}); end what listens there or set another port"
        ) from error
    one.listen(BACKLOG)
    one.setblocking(False)
    return one


async def _sweep(dispatcher: Dispatcher) -> None:
    while True:
        await asyncio.sleep(SWEEP_S)
        dispatcher.sweep()


async def _drain(dispatcher: Dispatcher) -> None:
    dispatcher.drain()
    deadline_s = asyncio.get_running_loop().time() + DRAIN_S
    while dispatcher.connections and asyncio.get_running_loop().time() < deadline_s:
        await asyncio.sleep(0.01)
    for pool in dispatcher.pools():
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

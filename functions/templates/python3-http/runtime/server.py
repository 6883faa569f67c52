"""waitress, with a few of its parts replaced.

- Head and body of an answer leave in one segment (waitress sends two).
- /_/health and /_/ready have a thread of their own: a function that is busy is not a dead one.
- An answer can be cut short from another thread, for exec_timeout.
- A descriptor named by READY_FD hears as soon as the socket listens.
- SIGTERM drains: no new connection, running invocations finish, then the process exits with 0.
"""

from __future__ import annotations

import logging
import os
import signal
import time
from typing import Any

from waitress import wasyncore
from waitress.adjustments import Adjustments
from waitress.channel import HTTPChannel
from waitress.server import TcpWSGIServer
from waitress.task import ThreadedTaskDispatcher, WSGITask

from runtime.application import Application
from runtime.settings import Settings

BACKLOG = 2048
_IN_MEMORY = 256 << 20
"""Bodies up to this size never touch a temporary file."""
_JOINED = 64 << 10


class Task(WSGITask):
    """Knows its channel, and joins an answer's head with the first piece of its body."""

    def get_environment(self) -> dict[str, Any]:
        environ: dict[str, Any] = super().get_environment()
        environ["function.cut"] = self.channel.cut
        return environ

    def write(self, data: bytes) -> None:
        if self.channel.server.draining:
            self.set_close_on_finish()
        if self.wrote_header or not data or not self.has_body or len(data) > _JOINED:
            super().write(data)
            return
        self.channel.write_soon(self.build_response_header() + data)
        self.wrote_header = True
        self.content_bytes_written += len(data)


class Channel(HTTPChannel):
    """One connection."""

    task_class = Task

    def cut(self, answer: bytes) -> None:
        """Send `answer` and close, although a task still works for this connection."""
        with self.outbuf_lock:
            if self.connected:
                try:
                    self.socket.send(answer)
                except OSError:
                    self.logger.info("client left before its time-out was answered")
                self.will_close = True
        self.server.pull_trigger()


class Dispatcher(ThreadedTaskDispatcher):
    """Worker threads for invocations, and one for probes."""

    def __init__(self, threads: int) -> None:
        super().__init__()
        self.set_thread_count(threads)
        self._probes = ThreadedTaskDispatcher()
        self._probes.set_thread_count(1)

    def add_task(self, task: Channel) -> None:
        requests = task.requests
        if requests and requests[0].path.startswith("/_/"):
            self._probes.add_task(task)
        else:
            super().add_task(task)


class Server(TcpWSGIServer):
    """The listening socket and its loop."""

    channel_class = Channel
    draining = False

    def loop(self, timeout_s: float) -> None:
        wasyncore.loop(timeout=timeout_s, map=self._map, use_poll=True, count=1)

    def stop_accepting(self) -> None:
        """Close the listening socket; the trigger stays, so that workers can still wake the loop."""
        self.draining = True
        self.accepting = False
        self.del_channel()
        self.socket.close()

    def close_idle(self) -> bool:
        """Close connections that wait for a request. Returns whether none is left at all."""
        for channel in list(self.active_channels.values()):
            if not channel.requests and not channel.total_outbufs_len:
                channel.handle_close()
        return not self.active_channels


def serve(application: Application, settings: Settings) -> int:
    """Serve until SIGTERM or SIGINT, then drain. Returns the exit code."""
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)
    server = Server(application, adj=_adjustments(settings), dispatcher=Dispatcher(settings.threads), map={})
    say_ready()
    stopping = False

    def stop(number: int, frame: object) -> None:
        nonlocal stopping
        stopping = True
        server.pull_trigger()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    while not stopping:
        server.loop(timeout_s=_cleanup_s(settings))
    application.draining = True
    server.stop_accepting()
    deadline_s = time.monotonic() + settings.drain_s
    while not server.close_idle() and time.monotonic() < deadline_s:
        server.loop(timeout_s=0.05)
    return 0


def say_ready() -> None:
    """Tell whoever started the function that it listens, where it asked by READY_FD to be told."""
    fd = os.environ.pop("READY_FD", "")
    if not fd.isdigit():
        return
    try:
        os.write(int(fd), b"\n")
        os.close(int(fd))
    except OSError:
        logging.getLogger("waitress").warning("READY_FD %s cannot be written to; probes will find the function", fd)


def _adjustments(settings: Settings) -> Adjustments:
    return Adjustments(
        host=settings.listen_address,
        port=settings.port,
        threads=settings.threads,
        backlog=BACKLOG,
        connection_limit=16_384,
        asyncore_use_poll=True,
        channel_timeout=max(1, round(settings.idle_timeout_s)),
        cleanup_interval=_cleanup_s(settings),
        inbuf_overflow=_IN_MEMORY,
        outbuf_overflow=_IN_MEMORY,
        clear_untrusted_proxy_headers=False,
        ident=None,
    )


def _cleanup_s(settings: Settings) -> int:
    """How often idle connections are looked for: often enough to close them roughly on time."""
    return min(10, max(1, round(settings.idle_timeout_s / 10)))

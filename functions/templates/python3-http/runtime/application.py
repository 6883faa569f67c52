"""The WSGI application: of-watchdog's own paths, and the handler for every other.

One invocation: count it in, call the handler, write its record, answer. The record is written
before the answer, so whoever has an answer finds its record.
"""

from __future__ import annotations

import os
import threading
import time
import traceback
from collections.abc import Callable, Iterable
from json.encoder import encode_basestring_ascii as quote
from typing import Any

from waitress.channel import ClientDisconnected

from runtime.adaptor import Context, Event, format_response
from runtime.overdue import Overdue
from runtime.settings import Settings, duration_s

LONGEST_ID = 128  # of what a caller says of itself, in a record
STDOUT = 1
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
_ALLOW = ("Allow", "DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT")
_TEXT = ("Content-Type", "text/plain; charset=utf-8")

Handler = Callable[[Event, Context], Any]
StartResponse = Callable[[str, list[tuple[str, str]]], Any]


class Application:
    """Invokes `handle`. `draining` makes /_/ready say 503."""

    def __init__(self, settings: Settings, handle: Handler) -> None:
        self.draining = False
        self._settings = settings
        self._handle = handle
        self._context = Context(os.environ.get("HOSTNAME", "localhost"))
        self._overdue = Overdue()
        self._lock = threading.Lock()
        self._inflight = 0
        self._warm = False
        self._record_tail = (
            f'"function":{quote(settings.function)},"namespace":{quote(settings.namespace)},'
            f'"instance":{quote(settings.instance)}'
        )

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        if environ["PATH_INFO"].startswith("/_/"):
            return self._own(environ["PATH_INFO"], start_response)
        started_ns = time.monotonic_ns()
        with self._lock:
            cold, self._warm = not self._warm, True
            refused = 0 < self._settings.max_inflight <= self._inflight
            if not refused:
                self._inflight += 1
        if refused:
            self._record(environ, started_ns, False, 429)
            return self._too_many(start_response)
        try:
            status, headers, body = self._invoke(environ, started_ns, cold)
        finally:
            with self._lock:
                self._inflight -= 1
        headers.append(("Content-Length", str(len(body))))
        headers.append(("X-Duration-Seconds", f"{(time.monotonic_ns() - started_ns) / 1e9:f}"))
        start_response(status, headers)
        return () if environ["REQUEST_METHOD"] == "HEAD" else (body,)

    def _invoke(self, environ: dict[str, Any], started_ns: int, cold: bool) -> tuple[str, list[tuple[str, str]], bytes]:
        """Run the handler within its time. Raises ClientDisconnected when 504 was answered meanwhile."""
        timeout_s = self._timeout_s(environ)

        def expire() -> None:
            self._record(environ, started_ns, cold, 504)
            environ["function.cut"](_timed_out(started_ns))

        if timeout_s:
            self._overdue.add(expire, started_ns / 1e9 + timeout_s)
        try:
            response = self._answer(environ)
        finally:
            in_time = not timeout_s or self._overdue.discard(expire)
        if not in_time:
            raise ClientDisconnected
        self._record(environ, started_ns, cold, int(response[0][:3]))
        return response

    def _answer(self, environ: dict[str, Any]) -> tuple[str, list[tuple[str, str]], bytes]:
        method = environ["REQUEST_METHOD"]
        if method not in METHODS:
            return ("200 OK" if method == "OPTIONS" else "405 Method Not Allowed"), [_ALLOW, _TEXT], b""
        try:
            return format_response(self._handle(Event(environ), self._context))
        except Exception:  # noqa: BLE001  whatever a tenant's code raises is that tenant's 500
            traceback.print_exc()
            return "500 Internal Server Error", [_TEXT], b"Internal Server Error: the handler failed; see its log\n"

    def _timeout_s(self, environ: dict[str, Any]) -> float:
        """exec_timeout, which a request's X-Timeout may lower."""
        timeout_s = self._settings.exec_timeout_s
        asked = environ.get("HTTP_X_TIMEOUT")
        if not asked:
            return timeout_s
        try:
            asked_s = duration_s(asked)
        except ValueError:
            return timeout_s
        return min(timeout_s, asked_s) if timeout_s else asked_s

    def _record(self, environ: dict[str, Any], started_ns: int, cold: bool, status: int) -> None:
        """One write of less than PIPE_BUF bytes: lines of different threads do not mix."""
        line = (
            f'{{"invocation":{{"call_id":{quote(environ.get("HTTP_X_CALL_ID", "")[:LONGEST_ID])},'
            f'"caller":{quote(environ.get("HTTP_X_CALLER", "")[:LONGEST_ID])},{self._record_tail},'
            f'"started_ns":{started_ns},"ended_ns":{time.monotonic_ns()},'
            f'"cold":{"true" if cold else "false"},"status":{status}}}}}\n'
        )
        os.write(STDOUT, line.encode())

    def _own(self, path: str, start_response: StartResponse) -> Iterable[bytes]:
        """/_/health: the process lives. /_/ready: it takes invocations."""
        if path == "/_/health":
            status = "200 OK"
        elif path != "/_/ready":
            status = "404 Not Found"
        elif self.draining:
            status = "503 Service Unavailable"
        elif 0 < self._settings.max_inflight <= self._inflight:
            return self._too_many(start_response)
        else:
            status = "200 OK"
        body = b"OK" if status == "200 OK" else b""
        start_response(status, [_TEXT, ("Content-Length", str(len(body)))])
        return (body,)

    def _too_many(self, start_response: StartResponse) -> Iterable[bytes]:
        body = b"Concurrent request limit exceeded. Max concurrent requests: %d\n" % self._settings.max_inflight
        headers = [_TEXT, ("X-OpenFaaS-Internal", "faas-middleware"), ("Content-Length", str(len(body)))]
        start_response("429 Too Many Requests", headers)
        return (body,)


def _timed_out(started_ns: int) -> bytes:
    seconds = (time.monotonic_ns() - started_ns) / 1e9
    return (
        b"HTTP/1.1 504 Gateway Timeout\r\nX-OpenFaaS-Internal: of-watchdog\r\n"
        b"X-Duration-Seconds: %f\r\nContent-Length: 0\r\nConnection: close\r\n\r\n" % seconds
    )

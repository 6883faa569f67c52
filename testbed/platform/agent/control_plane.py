"""What the node agent asks of the control plane: the apiserver's watch and reports to it, the controller's version.

Every call has a time limit. That the apiserver is away is an ordinary answer here (`Away`), because
instances run on without it. The standard library's HTTP client: an agent starts in a fraction of the time that
a larger one takes to import, and reports on connections that are kept.
"""

from __future__ import annotations

import base64
import http.client
import json
import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from testbed.model.cluster import Phase
from testbed.model.credentials import bearer
from testbed.model.errors import PlatformError
from testbed.model.watch import SILENCE_S, Decoder, Event, StreamError

CALL_TIMEOUT_S = 3.0
VERSION_AGE_S = 0.02
"""The controller is asked its version at most this often, however many instances wait for it."""

_PIECE_BYTES = 1 << 16
_FAILURES = (OSError, http.client.HTTPException, ValueError)  # ValueError: the answer is no JSON


class Away(PlatformError):
    """The apiserver did not answer; ask again later."""


class ControlPlane:
    """Threads may share one. `credential` is the agent's own."""

    def __init__(self, apiserver_url: str, controller_url: str, credential: str) -> None:
        self._apiserver = apiserver_url.rstrip("/")
        self._apiserver_connections = _Connections(apiserver_url, credential)
        self._controller_connections = _Connections(controller_url, credential)
        self._version_lock = threading.Lock()
        self._version = -1
        self._version_read_s = 0.0

    def watch(self, decoder: Decoder) -> Iterator[Event]:
        """The changes that the decoder does not know, as they come, until the stream ends; raises Away."""
        connection = self._apiserver_connections.new(SILENCE_S)
        try:
            connection.request("GET", decoder.open(), headers=self._apiserver_connections.headers)
            answer = connection.getresponse()
            decoder.check_status(answer.status)
            while data := answer.read1(_PIECE_BYTES):
                yield from decoder.feed(data)
        except StreamError as error:
            raise Away(str(error)) from error
        except _FAILURES as error:
            raise Away(f"the apiserver at {self._apiserver} does not answer ({type(error).__name__})") from error
        finally:
            connection.close()

    def report(
        self, instance_id: str, phase: Phase, timings: Mapping[str, int] | None = None, reason: str = ""
    ) -> None:
        """Tell the apiserver an instance's phase; what it refuses (gone, draining) the watch explains. Raises Away.

        `timings`: name -> monotonic ns of the steps of its start. `reason`: why it is not ready, in a word or sentence.
        """
        body: dict[str, Any] = {"phase": phase.value}
        if timings:
            body["timings"] = dict(timings)
        if reason:
            body["reason"] = reason
        self._call("PUT", f"/instances/{instance_id}/phase", body)

    def delete(self, instance_id: str) -> None:
        """Tell the apiserver that an instance is gone. Raises Away."""
        self._call("DELETE", f"/instances/{instance_id}")

    def secrets(self, instance_id: str) -> dict[str, bytes]:
        """The secrets that an instance's function names. Raises Away, or PlatformError when they are refused."""
        status, text = self._call("GET", f"/instances/{instance_id}/secrets")
        if status != 200:
            raise PlatformError(f"the apiserver does not give the secrets of {instance_id}: {text.decode().strip()}")
        return {name: base64.b64decode(value) for name, value in json.loads(text).items()}

    def await_applied(self, version: int, timeout_s: float) -> bool:
        """Wait until every switch has what the apiserver knew at `version`; False when the time is over."""
        deadline = time.monotonic() + timeout_s
        while True:
            if self._applied() >= version:
                return True
            if time.monotonic() > deadline:
                return False
            time.sleep(VERSION_AGE_S / 2)

    def _applied(self) -> int:
        """The controller's version, -1 when it is away; one question serves all threads."""
        with self._version_lock:
            if time.monotonic() - self._version_read_s >= VERSION_AGE_S:
                try:
                    text = self._controller_connections.call("GET", "/version", None, 1.0)[1]
                    self._version = int(json.loads(text)["applied"])
                except (*_FAILURES, KeyError, TypeError):
                    self._version = -1
                self._version_read_s = time.monotonic()
            return self._version

    def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> tuple[int, bytes]:
        content = None if body is None else json.dumps(body).encode()
        try:
            status, text = self._apiserver_connections.call(method, path, content, CALL_TIMEOUT_S)
        except _FAILURES as error:
            raise Away(f"the apiserver at {self._apiserver} does not answer ({type(error).__name__})") from error
        if status >= 500:
            raise Away(f"the apiserver failed: {text.decode(errors='replace').strip()}")
        return status, text


class _Connections:
    """Kept connections to one server, as many as there are calls at once; `headers` go with every request."""

    def __init__(self, url: str, credential: str) -> None:
        parts = urlsplit(url)
        self.headers = {"Authorization": bearer(credential)}
        self._host, self._port = parts.hostname or "", parts.port
        self._idle: list[http.client.HTTPConnection] = []

    def new(self, timeout_s: float) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(self._host, self._port, timeout=timeout_s)

    def call(self, method: str, path: str, body: bytes | None, timeout_s: float) -> tuple[int, bytes]:
        """Status and body of one answer. A kept connection that the server has closed is replaced, once.

        Every call made this way may be made twice.
        """
        while True:
            try:
                connection, kept = self._idle.pop(), True
            except IndexError:
                connection, kept = self.new(timeout_s), False
            try:
                kind = {"Content-Type": "application/json"} if body else {}
                connection.request(method, path, body, {**self.headers, **kind})
                answer = connection.getresponse()
                text = answer.read()
            except (ConnectionError, http.client.RemoteDisconnected):
                connection.close()
                if kept:
                    continue
                raise
            except BaseException:
                connection.close()
                raise
            self._idle.append(connection)
            return answer.status, text

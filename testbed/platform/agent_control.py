"""What the node agent asks of the control plane: the apiserver's watch and reports to it, the controller's version.

Every call has a time limit. That the apiserver is away is an ordinary answer here (`Away`), because
instances run on without it.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import requests

from testbed.errors import PlatformError
from testbed.model import Phase

CALL_TIMEOUT_S = 3.0
VERSION_AGE_S = 0.02
"""The controller is asked its version at most this often, however many instances wait for it."""
SILENCE_S = 12.0
"""The apiserver sends a heartbeat every 5 s; a stream that is silent for longer is dead."""


class Away(PlatformError):
    """The apiserver did not answer; ask again later."""


class ControlPlane:
    """Threads may share one: each has a session of its own."""

    def __init__(self, apiserver_url: str, controller_url: str) -> None:
        self._apiserver = apiserver_url.rstrip("/")
        self._controller = controller_url.rstrip("/")
        self._local = threading.local()
        self._version_lock = threading.Lock()
        self._version = -1
        self._version_read_s = 0.0

    def watch(self, since: int) -> Iterator[dict[str, Any]]:
        """Events after version `since` (-1: a snapshot first) until the stream ends; raises Away."""
        try:
            with self._session().get(
                f"{self._apiserver}/watch",
                params={"since": since},
                stream=True,
                timeout=(CALL_TIMEOUT_S, SILENCE_S),
            ) as answer:
                answer.raise_for_status()
                for line in answer.iter_lines(chunk_size=None):
                    yield json.loads(line)
        except (requests.RequestException, ValueError) as error:  # ValueError: the stream broke within a line
            raise Away(f"the apiserver at {self._apiserver} does not answer ({type(error).__name__})") from error

    def report(self, instance_id: str, phase: Phase) -> None:
        """Tell the apiserver an instance's phase; what it refuses (gone, draining) the watch explains. Raises Away."""
        self._call("PUT", f"/instances/{instance_id}/phase", {"phase": phase.value})

    def delete(self, instance_id: str) -> None:
        """Tell the apiserver that an instance is gone. Raises Away."""
        self._call("DELETE", f"/instances/{instance_id}")

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
                    answer = self._session().get(f"{self._controller}/version", timeout=1.0)
                    self._version = int(answer.json()["applied"])
                except (requests.RequestException, ValueError, KeyError):
                    self._version = -1
                self._version_read_s = time.monotonic()
            return self._version

    def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> None:
        try:
            answer = self._session().request(method, f"{self._apiserver}{path}", json=body, timeout=CALL_TIMEOUT_S)
        except requests.RequestException as error:
            raise Away(f"the apiserver at {self._apiserver} does not answer ({type(error).__name__})") from error
        if answer.status_code >= 500:
            raise Away(f"the apiserver failed: {answer.text.strip()}")

    def _session(self) -> requests.Session:
        if not hasattr(self._local, "session"):
            self._local.session = requests.Session()
            self._local.session.trust_env = False  # a proxy of the machine's is no way into the lab
        return self._local.session

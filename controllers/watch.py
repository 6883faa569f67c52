"""Follows the apiserver's watch stream and hands each event on. Reconnects; interprets nothing."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import requests

from controllers import sdn

LOG = logging.getLogger("controllers.watch")

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 2.0
CONNECT_TIMEOUT_S = 3.0
SILENCE_S = 15.0
"""Three heartbeats missed: the stream is dead."""


class Watch:
    """The stream from one apiserver, resumed after the newest version seen."""

    def __init__(self, url: str, deliver: Callable[[Mapping[str, Any]], None]) -> None:
        self._url = url.rstrip("/") + "/watch"
        self._deliver = deliver
        self._version: int | None = None
        self._session = requests.Session()
        self._session.trust_env = False  # a proxy of the machine's is no way to the apiserver

    def run(self) -> None:
        """Follow the stream for ever."""
        pause_s = FIRST_PAUSE_S
        while True:
            try:
                for event in self._events():
                    self._take(event)
                    pause_s = FIRST_PAUSE_S
                LOG.info("%s ended; following it again", self._url)
            except (requests.RequestException, OSError, ValueError, KeyError) as error:
                LOG.warning("%s: %s; trying again in %.1f s", self._url, _reason(error), pause_s)
            sdn.hub.sleep(pause_s)
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    def _events(self) -> Iterator[Mapping[str, Any]]:
        since = {} if self._version is None else {"since": str(self._version)}
        timeout_s = (CONNECT_TIMEOUT_S, SILENCE_S)
        with self._session.get(self._url, params=since, stream=True, timeout=timeout_s) as response:
            response.raise_for_status()
            for line in response.iter_lines(chunk_size=None):
                if line:
                    yield json.loads(line)

    def _take(self, event: Mapping[str, Any]) -> None:
        if event["type"] == "HEARTBEAT":
            return
        version = int(event["version"])
        if event["type"] != "SNAPSHOT" and version != (self._version or 0) + 1:
            expected, self._version = self._version, None  # ask for a snapshot
            raise ValueError(f"version {version} does not follow {expected}")
        self._version = version
        self._deliver(event)


def _reason(error: Exception) -> str:
    """requests wraps refused connections in several layers; the kind is enough."""
    return type(error).__name__ if isinstance(error, requests.ConnectionError) else str(error)

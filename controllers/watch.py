"""Follows the apiserver's watch stream in a greenlet and hands its events on, one by one.

Reconnects, and interprets nothing: what the stream says is understood by `testbed.model.watch`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator

import requests

from controllers import sdn
from testbed.model.credentials import bearer
from testbed.model.watch import SILENCE_S, Decoder, Event, StreamError

LOG = logging.getLogger("controllers.watch")

CONNECT_TIMEOUT_S = 3.0


class Watch:
    """The stream from one apiserver, resumed after the newest version seen; `credential` is the controller's own."""

    def __init__(self, url: str, credential: str, deliver: Callable[[Event], None]) -> None:
        self._url = url.rstrip("/")
        self._deliver = deliver
        self._decoder = Decoder()
        self._session = requests.Session()
        self._session.headers["Authorization"] = bearer(credential)
        self._session.trust_env = False  # a proxy of the machine's is no way to the apiserver

    def run(self) -> None:
        """Follow the stream for ever."""
        while True:
            reason = "it ended"
            try:
                for event in self._events():
                    self._deliver(event)
            except (requests.RequestException, OSError, StreamError) as error:
                reason = _reason(error)
            pause_s = self._decoder.next_pause_s()
            LOG.warning("the watch of %s broke off: %s; trying again in %.2f s", self._url, reason, pause_s)
            sdn.hub.sleep(pause_s)

    def _events(self) -> Iterator[Event]:
        timeout_s = (CONNECT_TIMEOUT_S, SILENCE_S)
        with self._session.get(self._url + self._decoder.open(), stream=True, timeout=timeout_s) as response:
            self._decoder.check_status(response.status_code)
            for data in response.iter_content(chunk_size=None):
                yield from self._decoder.feed(data)


def _reason(error: Exception) -> str:
    """requests wraps refused connections in several layers; the kind is enough."""
    return type(error).__name__ if isinstance(error, requests.ConnectionError) else str(error)

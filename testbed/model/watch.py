"""The apiserver's watch stream, both ends of its format: JSON lines of a snapshot, of changes and of heartbeats. Pure.

    {"type": "SNAPSHOT", "version": 7, "object": {…}}                      all there is as of version 7
    {"type": "PUT", "version": 8, "kind": "instance", "object": {…}}       one change; "DELETE" likewise
    {"type": "HEARTBEAT", "version": 8}                                    nothing has happened

Versions go up by one. What an event makes of a state, `ClusterState.apply` says. Whoever follows the stream gives a
`Decoder` the bytes as they arrive. It opens no connection and does not wait: that is for the transports, one for each
kind of loop, `testbed.platform.common.watch` (asyncio), `testbed.platform.agent.control_plane` (threads) and
`controllers.watch` (greenlets).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NoReturn

from testbed.model.cluster import ClusterState
from testbed.model.errors import PlatformError

PATH = "/watch"
HEARTBEAT_S = 5.0
"""The apiserver sends a heartbeat when it has had nothing to say for so long."""
SILENCE_S = 3 * HEARTBEAT_S
"""Three heartbeats missed: the stream is dead."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.05, 1.0
"""Between attempts to follow: doubled each time that nothing was heard."""
NOTHING = -1
"""The version of who knows nothing: a snapshot comes first."""

Event = Mapping[str, Any]


class StreamError(PlatformError):
    """The stream is not what it should be; it is to be followed anew."""


def snapshot(state: ClusterState) -> Event:
    return {"type": "SNAPSHOT", "version": state.version, "object": state.to_json()}


def change(action: str, version: int, kind: str, value: Any) -> Event:
    """`action` is PUT or DELETE, `kind` one of `cluster.WATCH_KINDS`."""
    return {"type": action, "version": version, "kind": kind, "object": value.to_json()}


def heartbeat(version: int) -> Event:
    return {"type": "HEARTBEAT", "version": version}


class Decoder:
    """What one follower knows of the stream, from connection to connection.

    `heard` tells whether the present connection, or the last one, has said anything that was understood.
    """

    def __init__(self, version: int = NOTHING) -> None:
        self.heard = False
        self._version = version
        self._rest = b""
        self._pause_s = FIRST_PAUSE_S

    def open(self) -> str:
        """A connection is to be opened: the path to ask for, which goes on where the last connection broke off."""
        self.heard = False
        self._rest = b""
        return f"{PATH}?since={self._version}"

    def check_status(self, status: int) -> None:
        """Raise StreamError for the status of an answer that is no stream."""
        if status != 200:
            self._fail(f"the apiserver answered {PATH} with status {status}; see its log")

    def feed(self, data: bytes) -> list[Event]:
        """The snapshot and the changes in the lines that `data` completes, in order and without a gap.

        Raises StreamError when a line is no event or does not follow the one before. None of `data` is to be used
        then, and the next connection begins with a snapshot.
        """
        *lines, self._rest = (self._rest + data).split(b"\n")
        events = [event for event in map(self._event, filter(None, map(bytes.strip, lines))) if event]
        self.heard = self.heard or bool(lines)
        return events

    def next_pause_s(self) -> float:
        """The connection has ended: how long to wait before the next."""
        pause_s = FIRST_PAUSE_S if self.heard else self._pause_s
        self._pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
        return pause_s

    def _event(self, line: bytes) -> Event | None:
        """The event in a line, None for a heartbeat."""
        try:
            event = json.loads(line)
            kind, version = event["type"], int(event["version"])
        except (ValueError, KeyError, TypeError):
            self._fail(f"the apiserver sent a line on {PATH} that is no event: {line[:80]!r}")
        if kind == "HEARTBEAT":
            return None
        if kind != "SNAPSHOT" and version != self._version + 1:
            self._fail(f"version {version} does not follow {self._version}; a snapshot is asked for")
        self._version = version
        return event

    def _fail(self, reason: str) -> NoReturn:
        self._version = NOTHING
        raise StreamError(reason)

"""The cluster state with a version for every change, the changes a watcher can still be told, and the database.

Each request is one transaction: applied to a copy, written to SQLite, and only then kept. One change
has one version; versions go up by one and survive restarts. What a change means is for `cluster_state` to say.
Documents that belong beside the state, and in no watch, go into `database` within the same transaction.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import takewhile
from typing import Any

from testbed.model import watch
from testbed.model.cluster import WATCH_KINDS, ClusterState
from testbed.platform.apiserver.database import Database

_COUNTER = "counter"
_VERSION = "version"


class Ledger:
    """Synchronous; not for use from several threads. `kept_events` bounds what is kept for watchers."""

    def __init__(self, database: Database, nodes: Sequence[int], kept_events: int) -> None:
        self.database = database
        self._history: deque[watch.Event] = deque(maxlen=kept_events)
        self._pending: list[watch.Event] = []
        parts: dict[str, Any] = {
            attribute: {key: value_class.from_json(body) for key, body in database.all(kind).items()}
            for kind, (attribute, value_class, _) in WATCH_KINDS.items()
        }
        self.state = ClusterState(version=self.counter(_VERSION, 0), nodes=tuple(nodes), **parts)

    def events_since(self, version: int) -> list[watch.Event] | None:
        """The events after `version`, or None when they are not kept any more (or never happened)."""
        oldest = self._history[0]["version"] if self._history else self.state.version + 1
        if not oldest - 1 <= version <= self.state.version:
            return None
        return list(takewhile(lambda event: event["version"] > version, reversed(self._history)))[::-1]

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Keep what the block changed if SQLite took it; otherwise leave everything as it was."""
        before = self.state
        self._pending = []
        try:
            with self.database.transaction():
                yield
                if self.state.version != before.version:
                    self.count(_VERSION, self.state.version)
        except BaseException:
            self.state = before
            raise
        self._history.extend(self._pending)

    def put(self, kind: str, value: Any) -> None:
        """Set an object of the state (see `WATCH_KINDS`); only within a transaction, as the rest below."""
        self._event("PUT", kind, value)
        self.database.put(kind, WATCH_KINDS[kind][2](value), value.to_json())

    def drop(self, kind: str, value: Any) -> None:
        """Remove an object of the state."""
        self._event("DELETE", kind, value)
        self.database.drop(kind, WATCH_KINDS[kind][2](value))

    def counter(self, name: str, default: int) -> int:
        """A number that survives restarts."""
        return self.database.get(_COUNTER, name, default)

    def count(self, name: str, value: int) -> None:
        self.database.put(_COUNTER, name, value)

    def _event(self, action: str, kind: str, value: Any) -> None:
        event = watch.change(action, self.state.version + 1, kind, value)
        self.state = self.state.apply(event)
        self._pending.append(event)

"""The apiserver's SQLite file: documents by kind and key, all of them in memory too, changed in transactions.

It knows nothing of what the documents mean, but that some are secret. Only its owner can read the file, and what was
secret is in none of its pages and in no journal once it has been changed or removed.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from testbed.model.errors import PlatformError

_SCHEMA = "CREATE TABLE IF NOT EXISTS documents (kind TEXT, key TEXT, body TEXT NOT NULL, PRIMARY KEY (kind, key))"


class Database:
    """Synchronous; not for use from several threads. A body is anything that JSON can say. `secret`: kinds."""

    def __init__(self, file: Path, secret: frozenset[str] = frozenset()) -> None:
        self._secret = secret
        file.touch(mode=0o600)
        file.chmod(0o600)  # SQLite gives its journal the same mode
        self._connection = sqlite3.connect(file, isolation_level=None)
        self._connection.execute("PRAGMA journal_mode=WAL")
        self._connection.execute("PRAGMA synchronous=NORMAL")
        self._connection.execute("PRAGMA secure_delete=ON")
        self._connection.execute(_SCHEMA)
        self._kinds: dict[str, dict[str, Any]] = {}
        for kind, key, body in self._connection.execute("SELECT kind, key, body FROM documents ORDER BY rowid"):
            self._kinds.setdefault(kind, {})[key] = json.loads(body)
        self._before: dict[tuple[str, str], Any] = {}

    def close(self) -> None:
        self._connection.close()

    def all(self, kind: str) -> Mapping[str, Any]:
        """The documents of a kind by key."""
        return self._kinds.get(kind, {})

    def get(self, kind: str, key: str, default: Any = None) -> Any:
        return self.all(kind).get(key, default)

    def put(self, kind: str, key: str, body: Any) -> None:
        """Set a document; only within a transaction, as `drop`."""
        self._remember(kind, key)
        self._kinds.setdefault(kind, {})[key] = body

    def drop(self, kind: str, key: str) -> None:
        """Remove a document, if it is there."""
        self._remember(kind, key)
        self._kinds.get(kind, {}).pop(key, None)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Keep what the block changed if SQLite took it, otherwise nothing; PlatformError when SQLite could not."""
        self._before = {}
        try:
            yield
            self._write()
        except BaseException as error:
            self._restore()
            if isinstance(error, sqlite3.Error):
                raise PlatformError(
                    f"the apiserver cannot write its database ({error}); make room on its disk and try again"
                ) from error
            raise

    def _remember(self, kind: str, key: str) -> None:
        if (kind, key) not in self._before:
            self._before[kind, key] = self.get(kind, key, _ABSENT)

    def _restore(self) -> None:
        for (kind, key), body in self._before.items():
            if body is _ABSENT:
                self._kinds.get(kind, {}).pop(key, None)
            else:
                self._kinds.setdefault(kind, {})[key] = body

    def _write(self) -> None:
        forgotten = False
        with self._connection:
            self._connection.execute("BEGIN IMMEDIATE")
            for (kind, key), before in self._before.items():
                body = self.get(kind, key, _ABSENT)
                forgotten |= kind in self._secret and before is not _ABSENT and body != before
                if body is _ABSENT:
                    self._connection.execute("DELETE FROM documents WHERE kind = ? AND key = ?", (kind, key))
                elif body != before:
                    self._connection.execute(
                        "INSERT OR REPLACE INTO documents VALUES (?, ?, ?)", (kind, key, json.dumps(body))
                    )
        if forgotten:
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


_ABSENT = object()

"""Adds and deletes ports of one bridge through its node's OVSDB (JSON-RPC, RFC 7047), without spawning ovs-vsctl.

Requests that come while a transaction is under way share the next one: the switch daemon then looks at all its
ports once, not once for each. Everything else about a bridge is set with ovs-vsctl, by `node`.
"""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from testbed.model.errors import LabError

TIMEOUT_S = 10.0
_DATABASE = "Open_vSwitch"


@dataclass
class _Request:
    """Ports that one caller wants added and deleted, and how that ended."""

    add: tuple[str, ...]
    delete: tuple[str, ...]
    done: bool = False
    failures: list[str] = field(default_factory=list)


class BridgePorts:
    """The ports of one bridge. Threads may share it."""

    def __init__(self, socket_path: Path, bridge: str) -> None:
        self._socket_path = socket_path
        self._bridge = bridge
        self._turn = threading.Lock()
        self._queue_lock = threading.Lock()
        self._waiting: list[_Request] = []

    def add(self, *names: str) -> None:
        """Give the bridge these interfaces as ports, and wait until the switch has taken them; LabError otherwise."""
        self._change(_Request(names, ()))

    def delete(self, *names: str) -> None:
        """Take these ports away where they are there, and wait until the switch has let go of them."""
        self._change(_Request((), names))

    def _change(self, request: _Request) -> None:
        with self._queue_lock:
            self._waiting.append(request)
        with self._turn:
            if not request.done:  # otherwise another caller's transaction has taken it along
                with self._queue_lock:
                    batch, self._waiting = self._waiting, []
                self._commit(batch)
        if request.failures:
            raise LabError(f"{self._bridge} did not take its ports: {'; '.join(request.failures)}")

    def _commit(self, batch: list[_Request]) -> None:
        """One transaction for all of them. What fails here fails each of them."""
        try:
            with _connection(self._socket_path) as database:
                added = [name for request in batch for name in request.add]
                deleted = [name for request in batch for name in request.delete]
                problems = self._transact(database, added, deleted)
            for request in batch:
                request.failures += [problems[name] for name in request.add if name in problems]
        except (OSError, ValueError, LabError) as error:
            for request in batch:
                request.failures.append(str(error))
        finally:
            for request in batch:
                request.done = True

    def _transact(self, database: _Database, added: list[str], deleted: list[str]) -> dict[str, str]:
        """Change the ports and wait for the switch; returns what it says against any of those added."""
        known = database.ports([*added, *deleted])
        new = [name for name in dict.fromkeys(added) if name not in known]
        gone = [["uuid", known[name]] for name in deleted if name in known]
        operations: list[dict[str, Any]] = []
        for number, name in enumerate(new):
            interface = {"op": "insert", "table": "Interface", "row": {"name": name}, "uuid-name": f"i{number}"}
            row = {"name": name, "interfaces": ["named-uuid", f"i{number}"]}
            operations += [interface, {"op": "insert", "table": "Port", "row": row, "uuid-name": f"p{number}"}]
        mutations = [
            ["ports", "delete", ["set", gone]],
            ["ports", "insert", ["set", [["named-uuid", f"p{number}"] for number in range(len(new))]]],
        ]
        operations.append(
            {"op": "mutate", "table": "Bridge", "where": [["name", "==", self._bridge]], "mutations": mutations}
        )
        database.apply(operations)
        return database.interface_errors(new)


class _Database:
    """One connection to an ovsdb-server, for one change."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._deadline = time.monotonic() + TIMEOUT_S
        self._text = ""
        self._decoder = json.JSONDecoder()
        self._applied = -1
        self._serial = 0
        self._call("monitor", [_DATABASE, None, {_DATABASE: {"columns": ["cur_cfg"]}}])

    def ports(self, names: list[str]) -> dict[str, str]:
        """Name -> UUID of those ports that the database has."""
        where = [{"op": "select", "table": "Port", "where": [["name", "==", name]]} for name in names]
        rows = [row for result in self._call("transact", [_DATABASE, *where]) for row in result["rows"]]
        return {row["name"]: row["_uuid"][1] for row in rows}

    def apply(self, operations: list[dict[str, Any]]) -> None:
        """Commit, and wait until the switch daemon has done what the database says."""
        count = {"op": "mutate", "table": _DATABASE, "where": [], "mutations": [["next_cfg", "+=", 1]]}
        ask = {"op": "select", "table": _DATABASE, "where": [], "columns": ["next_cfg"]}
        results = self._call("transact", [_DATABASE, *operations, count, ask])
        for result in results:
            if result and "error" in result:
                raise LabError(f"the database refused: {result['error']} {result.get('details', '')}".strip())
        wanted = results[len(operations) + 1]["rows"][0]["next_cfg"]
        while self._applied < wanted:
            self._note(self._receive())

    def interface_errors(self, names: list[str]) -> dict[str, str]:
        """Name -> what the switch daemon has against the interface."""
        if not names:
            return {}
        where = [
            {"op": "select", "table": "Interface", "where": [["name", "==", name]], "columns": ["name", "error"]}
            for name in names
        ]
        rows = [row for result in self._call("transact", [_DATABASE, *where]) for row in result["rows"]]
        return {row["name"]: row["error"] for row in rows if isinstance(row["error"], str) and row["error"]}

    def _call(self, method: str, parameters: list[Any]) -> Any:
        self._serial += 1
        self._send({"method": method, "params": parameters, "id": self._serial})
        while True:
            message = self._receive()
            if message.get("id") == self._serial and "result" in message:
                if message.get("error"):
                    raise LabError(f"the database refused: {message['error']}")
                if method == "monitor":
                    self._note({"method": "update", "params": [None, message["result"]]})
                return message["result"]
            self._note(message)

    def _note(self, message: dict[str, Any]) -> None:
        """What the server says of its own accord: changes, and whether we are still there."""
        if message.get("method") == "echo":
            self._send({"result": message["params"], "error": None, "id": message["id"]})
        elif message.get("method") == "update":
            for row in message["params"][1].get(_DATABASE, {}).values():
                self._applied = row["new"]["cur_cfg"]

    def _send(self, message: dict[str, Any]) -> None:
        self._connection.sendall(json.dumps(message).encode())

    def _receive(self) -> dict[str, Any]:
        """The next message; OSError when there is none in time."""
        while True:
            try:
                message, end = self._decoder.raw_decode(self._text)
            except ValueError:  # not whole yet
                self._connection.settimeout(max(0.001, self._deadline - time.monotonic()))
                part = self._connection.recv(65536)
                if not part:
                    raise LabError("the database closed the connection; see the lab's logs folder") from None
                self._text += part.decode()
                continue
            self._text = self._text[end:].lstrip()
            return dict(message)


@contextmanager
def _connection(socket_path: Path) -> Iterator[_Database]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(TIMEOUT_S)
        connection.connect(str(socket_path))
        yield _Database(connection)

"""Ports through OVSDB: who waits shares a transaction, and a refusal reaches the one whom it concerns."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from testbed.model.errors import LabError
from testbed.network.switching import ovsdb
from testbed.network.switching.ovsdb import BridgePorts


class Database:
    """A database with a switch behind it that takes every port but those called "bad…"."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.ports: dict[str, str] = {}
        self.transactions: list[list[str]] = []
        self.next_cfg = 5
        self.asleep = False
        self.go_on = threading.Event()
        self.go_on.set()
        self.echoed: list[Any] = []
        self._server = socket.socket(socket.AF_UNIX)
        self._server.bind(str(path))
        self._server.listen()
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._server.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._server.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        decoder, text = json.JSONDecoder(), ""
        while part := connection.recv(65536):
            text += part.decode()
            while text:
                try:
                    message, end = decoder.raw_decode(text)
                except ValueError:
                    break
                text = text[end:]
                for answer in self._answers(message):
                    data = json.dumps(answer).encode()
                    connection.sendall(data[:7])  # in pieces, as a stream may bring them
                    connection.sendall(data[7:])

    def _answers(self, message: dict[str, Any]) -> Iterator[dict[str, Any]]:
        if "method" not in message:
            self.echoed.append(message["result"])
        elif message["method"] == "monitor":
            yield {"method": "echo", "params": ["there?"], "id": "echo"}
            yield {"id": message["id"], "error": None, "result": self._configuration()}
        else:
            operations = message["params"][1:]
            before = self.next_cfg
            results = [self._perform(operation) for operation in operations]
            yield {"id": message["id"], "error": None, "result": results}
            if self.next_cfg > before:
                self.go_on.wait(30)
                if not self.asleep:
                    yield {"method": "update", "params": [None, self._configuration()], "id": None}

    def _configuration(self) -> dict[str, Any]:
        return {"Open_vSwitch": {"row": {"new": {"cur_cfg": self.next_cfg}}}}

    def _perform(self, operation: dict[str, Any]) -> dict[str, Any]:
        match operation["op"], operation["table"]:
            case "select", "Open_vSwitch":
                return {"rows": [{"next_cfg": self.next_cfg}]}
            case "select", table:
                name = operation["where"][0][2]
                row = {"name": name, "_uuid": ["uuid", name]} if table == "Port" else _interface(name)
                return {"rows": [row] if name in self.ports else []}
            case "insert", "Port":
                self.ports[operation["row"]["name"]] = "there"
                return {}
            case "mutate", "Bridge":
                gone = [uuid for _, uuid in operation["mutations"][0][2][1]]
                for name in gone:
                    del self.ports[name]
                self.transactions.append(sorted(self.ports))
                return {"count": 1}
            case "mutate", "Open_vSwitch":
                self.next_cfg += 1
        return {}


def _interface(name: str) -> dict[str, Any]:
    return {"name": name, "error": "could not open it" if name.startswith("bad") else ["set", []]}


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    made = Database(tmp_path / "db.sock")
    yield made
    made.close()


def test_ports_come_and_go_and_the_server_knows_that_we_live(database: Database) -> None:
    ports = BridgePorts(database.path, "s1")
    ports.add("a", "b")
    ports.add("a")
    assert set(database.ports) == {"a", "b"}
    ports.delete("a", "never-there")
    assert set(database.ports) == {"b"}
    assert database.echoed == [["there?"]] * 3


def test_those_who_wait_share_one_transaction(database: Database) -> None:
    ports = BridgePorts(database.path, "s1")
    database.go_on.clear()
    threads = [threading.Thread(target=ports.add, args=(f"p{number}",)) for number in range(20)]
    threads[0].start()
    while not database.transactions:
        time.sleep(0.001)
    for thread in threads[1:]:
        thread.start()
    while len(ports._waiting) < 19:
        time.sleep(0.001)
    database.go_on.set()
    for thread in threads:
        thread.join(30)
    assert [len(names) for names in database.transactions] == [1, 20]


def test_what_the_switch_refuses_is_said_to_whom_it_concerns(database: Database) -> None:
    ports = BridgePorts(database.path, "s1")
    with pytest.raises(LabError, match="s1 did not take its ports: could not open it"):
        ports.add("good", "bad1")
    ports.add("good2")


def test_a_switch_that_sleeps_and_a_database_that_is_gone_are_errors(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ovsdb, "TIMEOUT_S", 0.1)
    database.asleep = True
    with pytest.raises(LabError, match="s1 did not take its ports: timed out"):
        BridgePorts(database.path, "s1").add("a")
    with pytest.raises(LabError, match="No such file or directory"):
        BridgePorts(tmp_path / "nowhere", "s1").add("a")

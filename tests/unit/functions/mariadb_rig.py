"""A real MariaDB server on a loopback port, with its data in a temporary folder."""

from __future__ import annotations

import os
import pwd
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pymysql
from pymysql.constants import CLIENT

from tests.ports import free_port

PASSWORD = "correct horse"


@dataclass(frozen=True)
class Statement:
    """One line of the general log. `command` is Connect, Query, Quit, …."""

    connection: int
    command: str
    text: str


class MariaDb:
    """A server with the database `app` and its user `app`, whose password is PASSWORD."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self._socket = folder / "s"
        user = pwd.getpwuid(os.getuid()).pw_name
        data = f"--datadir={folder / 'data'}"
        subprocess.run(
            ["mariadb-install-db", "--no-defaults", data, f"--user={user}", "--skip-test-db",
             "--auth-root-authentication-method=normal"],
            check=True, capture_output=True,
        )  # fmt: skip
        self.log = folder / "mariadbd.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                ["/usr/sbin/mariadbd", "--no-defaults", data, f"--user={user}", f"--socket={self._socket}",
                 f"--port={self.port}", "--bind-address=127.0.0.1", "--skip-name-resolve", "--log-output=TABLE",
                 "--innodb-flush-log-at-trx-commit=0", "--innodb-buffer-pool-size=16M",
                 f"--pid-file={folder / 'pid'}"],
                stdout=log, stderr=subprocess.STDOUT,
            )  # fmt: skip
        self._await()
        self.execute("CREATE DATABASE app", database=None)
        self.execute(f"GRANT ALL ON app.* TO app@'%' IDENTIFIED BY '{PASSWORD}'")

    def _await(self) -> None:
        deadline = time.monotonic() + 30
        while True:
            assert self.process.poll() is None, self.log.read_text()
            try:
                self.execute("SELECT 1", database=None)
                return
            except pymysql.OperationalError:
                assert time.monotonic() < deadline, "the database server did not become ready"
                time.sleep(0.02)

    def execute(self, statements: str, *values: Any, database: str | None = "app") -> list[tuple[Any, ...]]:
        """Run statements as root; returns the rows of the first."""
        with pymysql.connect(
            unix_socket=str(self._socket), user="root", database=database, client_flag=CLIENT.MULTI_STATEMENTS,
            autocommit=True, ssl_disabled=True,
        ) as connection, connection.cursor() as cursor:  # fmt: skip
            cursor.execute(statements, values or None)
            rows = list(cursor.fetchall())
            while cursor.nextset():
                pass
            return rows

    def tables(self) -> list[str]:
        return [name for (name,) in self.execute("SHOW TABLES")]

    def empty(self) -> None:
        """Drop every table."""
        for name in self.tables():
            self.execute(f"DROP TABLE `{name}`")

    def sessions(self) -> int:
        """How many connections user `app` has."""
        return int(self.execute("SELECT COUNT(*) FROM information_schema.processlist WHERE user = 'app'")[0][0])

    def start_recording(self) -> None:
        self.execute("SET GLOBAL general_log = OFF; TRUNCATE mysql.general_log; SET GLOBAL general_log = ON")

    def stop_recording(self) -> list[Statement]:
        self.execute("SET GLOBAL general_log = OFF")
        return self.recorded()

    def recorded(self) -> list[Statement]:
        """What user `app` has sent since `start_recording`, in the order in which it came."""
        rows = self.execute(
            "SELECT thread_id, command_type, CONVERT(argument USING utf8mb4) FROM mysql.general_log "
            "WHERE user_host LIKE 'app[%' OR user_host LIKE '[app]%'"
        )
        return [Statement(*row) for row in rows]

    def definitions(self) -> dict[str, str]:
        """How each table was made."""
        return {name: self.execute(f"SHOW CREATE TABLE `{name}`")[0][1] for name in self.tables()}

    def contents(self, tables: tuple[str, ...]) -> dict[str, list[tuple[Any, ...]]]:
        return {name: self.execute(f"SELECT * FROM `{name}` ORDER BY 1") for name in tables}

    @contextmanager
    def locked(self, statement: str) -> Iterator[Callable[[], None]]:
        """Hold the locks that a statement takes; gives what lets go of them early."""
        with pymysql.connect(
            unix_socket=str(self._socket), user="root", database="app", ssl_disabled=True
        ) as connection:
            with connection.cursor() as cursor:
                cursor.execute("BEGIN")
                cursor.execute(statement)
            yield connection.rollback
            connection.rollback()

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)

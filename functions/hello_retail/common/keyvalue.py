"""A table of a MariaDB database, used as a store of JSON values by key.

Each `Table` is one connection: opened with the object, closed with the `with` block. With
DB_CONNECTIONS=pooled an idle connection of this process is used again instead.

Its environment:
    DB_HOST, DB_PORT   where the database is (port 3306)
    DB_NAME, DB_USER   its name and who connects (app, app)
    DB_PASSWORD_FILE   a file that holds the password
    DB_CONNECTIONS     per-invocation (default) or pooled
"""

import json
import os
import threading
from pathlib import Path

import pymysql

from .wire import Failed

HOST = os.environ.get("DB_HOST", "mariadb")
PORT = int(os.environ.get("DB_PORT") or 3306)
NAME = os.environ.get("DB_NAME", "app")
USER = os.environ.get("DB_USER", "app")
PASSWORD_FILE = Path(os.environ.get("DB_PASSWORD_FILE", "/var/openfaas/secrets/mariadb-password"))
POOLED = os.environ.get("DB_CONNECTIONS", "per-invocation") == "pooled"
TIMEOUT_S = 10

_idle = []
_lock = threading.Lock()


class Connection(pymysql.connections.Connection):
    """A connection that costs no statement before the first of ours."""

    def set_character_set(self, charset, collation=None):
        """The handshake has named the character set; SET NAMES would say it a second time."""


class Table:
    """One key/value table over one connection. The first use of a table makes it.

    Raises Failed when the database cannot be used.
    """

    def __init__(self, name):
        self._name = name
        self._connection = connect()
        if not self._execute("SHOW TABLES LIKE %s", name):
            self._execute(
                f"CREATE TABLE IF NOT EXISTS {name} (rowkey VARCHAR(256) PRIMARY KEY, rowvalues MEDIUMTEXT NOT NULL)"
            )

    def __enter__(self):
        return self

    def __exit__(self, failure, *_):
        if POOLED and failure is None:
            with _lock:
                _idle.append(self._connection)
        elif self._connection.open:
            self._connection.close()

    def get(self, key):
        """The value of a key, None where there is none."""
        rows = self._execute(f"SELECT rowvalues FROM {self._name} WHERE rowkey = %s", key)
        return json.loads(rows[0][0]) if rows else None

    def put(self, key, value):
        """Set the value of a key, in one transaction."""
        self._execute("BEGIN")
        self._execute(f"DELETE FROM {self._name} WHERE rowkey = %s", key)
        self._execute(f"INSERT INTO {self._name} VALUES (%s, %s)", key, json.dumps(value, separators=(",", ":")))
        self._execute("COMMIT")

    def delete(self, key):
        self._execute(f"DELETE FROM {self._name} WHERE rowkey = %s", key)

    def keys(self):
        """All keys, in their order."""
        return [key for (key,) in self._execute(f"SELECT rowkey FROM {self._name} ORDER BY rowkey")]

    def values(self):
        """All values, in the order of their keys."""
        rows = self._execute(f"SELECT rowvalues FROM {self._name} ORDER BY rowkey")
        return [json.loads(value) for (value,) in rows]

    def _execute(self, statement, *values):
        try:
            with self._connection.cursor() as cursor:
                cursor.execute(statement, values)
                return cursor.fetchall()
        except pymysql.MySQLError as error:
            self._connection.close()
            raise Failed(f"the database refused: {error}") from error


def connect():
    """A connection to the database: a new one, or an idle one that still lives."""
    while POOLED:
        with _lock:
            if not _idle:
                break
            connection = _idle.pop()
        try:
            connection.ping(reconnect=False)
            return connection
        except pymysql.MySQLError:
            continue  # the database was restarted since
    try:
        # The server commits each statement by itself; saying so again would be a statement more. And without
        # ssl_disabled every connection begins by reading the machine's certificates, which takes 45 ms.
        return Connection(
            host=HOST, port=PORT, user=USER, password=PASSWORD_FILE.read_text().strip(), database=NAME,
            autocommit=None, ssl_disabled=True,
            connect_timeout=TIMEOUT_S, read_timeout=TIMEOUT_S, write_timeout=TIMEOUT_S,
        )  # fmt: skip
    except (pymysql.MySQLError, OSError) as error:
        raise Failed(f"the database cannot be reached: {error}") from error

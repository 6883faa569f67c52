"""A way into a lab's stores past the network, for seeding, resets and checks: the server's socket and the mail folder.

For root on the machine, whatever network namespace it is in; no function can come this way. Nothing of it passes a
switch, so nothing of it is counted there.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pymysql
from pymysql.constants import CLIENT

from testbed.model import datastores
from testbed.model.errors import PlatformError
from testbed.platform.datastores.mail import MESSAGES
from testbed.platform.datastores.mariadb import DATABASE, SOCKET, USER, administrator

TIMEOUT_S = 30


@dataclass(frozen=True)
class Use:
    """What functions have made of a data store since its server started; nobody else's connections are in it.

    The server does not count statements that begin with SHOW.
    """

    connections: int
    statements: int


def execute(state_folder: Path, namespace: str, statement: str, *values: Any) -> list[tuple[Any, ...]]:
    """Run one statement in the database of the namespace's functions, as root; %s stands for a value. PlatformError."""
    with closing(_connect(state_folder, namespace)) as connection, connection.cursor() as cursor:
        try:
            cursor.execute(statement, values or None)
            return list(cursor.fetchall())
        except pymysql.MySQLError as error:
            raise _refused(namespace, error) from error


def run_script(state_folder: Path, namespace: str, script: str) -> None:
    """Run statements that are separated by semicolons, as `execute` does. What came before a bad one stays."""
    with closing(_connect(state_folder, namespace)) as connection, connection.cursor() as cursor:
        try:
            cursor.execute(script)
            while cursor.nextset():
                pass
        except pymysql.MySQLError as error:
            raise _refused(namespace, error) from error


def use(state_folder: Path, namespace: str) -> Use:
    """How much functions have used the namespace's data store; the server writes it down as a connection ends."""
    rows = execute(
        state_folder,
        namespace,
        "SELECT total_connections, select_commands + update_commands + other_commands "
        "FROM information_schema.user_statistics WHERE user = %s",
        USER,
    )
    return Use(*map(int, rows[0])) if rows else Use(0, 0)


def messages(state_folder: Path, namespace: str) -> Iterator[dict[str, Any]]:
    """The messages that the namespace's mail server has taken, oldest first (see `mail`). PlatformError."""
    file = datastores.folder(state_folder, namespace, "mail") / MESSAGES
    try:
        # The folder is the mail server's: it could have put a link there to what only root may read.
        fd = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise PlatformError(f"namespace {namespace} has no mail server; deploy an application that owns one") from None
    except OSError as error:
        raise PlatformError(f"{file} is not the mail server's list of messages ({error.strerror})") from None
    with os.fdopen(fd, encoding="utf-8") as messages:
        return map(json.loads, messages.read().splitlines())


def _connect(state_folder: Path, namespace: str) -> pymysql.Connection[Any]:
    socket = datastores.folder(state_folder, namespace, "mariadb") / SOCKET
    if socket.is_symlink():  # the folder is the server's: it could lead to another namespace's server
        raise PlatformError(f"{socket} is a link and not the data store's socket; remove the namespace {namespace}")
    try:
        return pymysql.connect(
            unix_socket=str(socket),
            user=administrator(),
            database=DATABASE,
            charset="utf8mb4",
            autocommit=True,
            connect_timeout=TIMEOUT_S,
            read_timeout=TIMEOUT_S,
            client_flag=CLIENT.MULTI_STATEMENTS,
            ssl_disabled=True,  # reading the machine's certificates would take 45 ms each time
        )
    except pymysql.MySQLError as error:
        if not socket.exists():
            raise PlatformError(
                f"namespace {namespace} has no data store that runs; deploy an application that owns one, or see "
                f"`testbed logs mariadb.{namespace}`"
            ) from error
        raise _refused(namespace, error) from error


def _refused(namespace: str, error: pymysql.MySQLError) -> PlatformError:
    return PlatformError(f"the data store of namespace {namespace} says: {error.args[-1]}")

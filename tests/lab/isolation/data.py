"""Attempts on a store by its owner: to be more than a user of one database, and to reach the machine through it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

from tests.lab.isolation.attempt import Answer, Attempt, Order
from tests.lab.isolation.scene import Scene


def orders(*statements: str) -> Callable[[Scene], Iterable[Order]]:
    """Statements, in which {token} stands for a name of this run's."""
    return lambda scene: [("sql", one.replace("{token}", scene.token)) for one in statements]


def gives_rows(scene: Scene, answer: Answer) -> bool:
    return answer.ok is True and answer.said not in ("", "(None,)")


def asks(title: str, *statements: str) -> Attempt:
    """One of the statements gives a row that is not NULL."""
    return Attempt(f"SQL: {title}", orders(*statements), gives_rows, programs=("Python",))


def does(title: str, *statements: str) -> Attempt:
    """One of the statements is carried out."""
    return Attempt(f"SQL: {title}", orders(*statements), programs=("Python",))


def outside(scene: Scene) -> Path:
    return Path("/tmp", scene.token + "-tables")


def drop_table(scene: Scene) -> None:
    scene.order(("sql", "DROP TABLE outside"))
    shutil.rmtree(outside(scene), ignore_errors=True)


ATTEMPTS = (
    asks("reads a file", "SELECT LOAD_FILE('/etc/passwd')", "SELECT LOAD_FILE('/etc/hostname')"),
    does("writes a file", "SELECT 'attacked' INTO OUTFILE '/tmp/{token}-sql'",
        "SELECT 'attacked' INTO DUMPFILE '/tmp/{token}-dump'"),
    does("loads a file of the server's", "LOAD DATA INFILE '/etc/passwd' INTO TABLE app.nothing"),
    Attempt(
        "SQL: makes a table in a folder of its choice",
        orders("CREATE TABLE outside (n INT) ENGINE=InnoDB DATA DIRECTORY='/tmp/{token}-tables'"),
        lambda scene, answer: outside(scene).exists(), drop_table, alone=True, programs=("Python",),
    ),
    does("loads a library", "CREATE FUNCTION run RETURNS INTEGER SONAME 'udf.so'", "INSTALL SONAME 'ha_connect'",
        "INSTALL PLUGIN run SONAME 'auth_socket.so'"),
    asks("reads users and passwords", "SELECT user, authentication_string FROM mysql.user",
        "SELECT * FROM mysql.global_priv"),
    asks("sees another database", "SELECT schema_name FROM information_schema.schemata "
        "WHERE schema_name NOT IN ('app', 'information_schema')"),
    does("makes a user", "CREATE USER spy", "GRANT ALL ON *.* TO app@'%'"),
    does("makes a database", "CREATE DATABASE spy"),
    does("sends the server's log to a file", "SET GLOBAL general_log_file='/tmp/{token}-log'",
        "SET GLOBAL slow_query_log_file='/tmp/{token}-log'"),
    does("ends the server", "SHUTDOWN"),
    asks("sees others' connections", "SELECT id FROM information_schema.processlist WHERE user <> 'app'"),
    does("reaches another server", "CREATE SERVER spy FOREIGN DATA WRAPPER mysql OPTIONS (HOST '172.31.0.1')"),
)  # fmt: skip

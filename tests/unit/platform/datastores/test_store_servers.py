"""The stores' own processes: a real MariaDB server on a socket of its own, and the mail server on loopback."""

from __future__ import annotations

import asyncio
import contextlib
import json
import smtplib
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path

import pymysql
import pytest

from testbed.model import datastores
from testbed.model.errors import EnvironmentProblem, PlatformError
from testbed.platform.datastores import access, mariadb
from testbed.platform.datastores import mail as store_mail
from tests.ports import free_port

WAIT_S = 60.0
PASSWORD = b"it's \\ secret"


def ready(kind: datastores.StoreKind, port: int) -> bool:
    deadline = time.monotonic() + WAIT_S
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1.0) as connection:
            if kind.greets(connection.recv(64)):
                return True
        time.sleep(0.02)
    return False


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A state folder in which namespace t has a data store that runs; `port` is in a file."""
    folder = tmp_path_factory.mktemp("lab")
    data, port = datastores.folder(folder, "t", "mariadb"), free_port()
    program = mariadb.server()
    script = "CREATE TABLE things (name VARCHAR(20));\nINSERT INTO things VALUES ('Tür');\n"
    mariadb.make_data(program, data, script, mariadb.administrator())
    start = folder / "start.sql"
    start.write_text(mariadb.statements_at_start(PASSWORD))
    # It does not serve as root unless it is told to; these tests may run as anybody.
    line = (*mariadb.command_line(program, data, port, start), f"--user={mariadb.administrator()}")
    with (folder / "log").open("w") as log, subprocess.Popen(line, stdout=log, stderr=log) as server:
        try:
            assert ready(datastores.KINDS["mariadb"], port), (folder / "log").read_text()
            (folder / "port").write_text(str(port))
            yield folder
        finally:
            server.kill()


def connect(state: Path, user: str = "app", password: bytes = PASSWORD) -> pymysql.Connection:  # type: ignore[type-arg]
    port = int((state / "port").read_text())
    return pymysql.connect(host="127.0.0.1", port=port, user=user, password=password, database="app")


def test_the_user_app_gets_in_by_the_password_alone_and_root_not_at_all(state: Path) -> None:
    with connect(state) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT name FROM things")
        assert cursor.fetchall() == (("Tür",),)
        with pytest.raises(pymysql.err.OperationalError, match="denied"):
            cursor.execute("USE mysql")
    for user, password in (("app", b""), ("app", b"wrong"), ("root", b""), ("root", PASSWORD), ("", b"")):
        with pytest.raises(pymysql.err.OperationalError, match="Access denied"):
            connect(state, user, password)


def test_the_password_stands_in_no_file(state: Path) -> None:
    text = mariadb.statements_at_start(PASSWORD)
    assert "secret" not in text and "IDENTIFIED VIA mysql_native_password USING '*" in text


def test_the_way_past_the_network_reads_writes_and_counts(state: Path) -> None:
    access.run_script(state, "t", "CREATE TABLE n (v INT); INSERT INTO n VALUES (1); INSERT INTO n VALUES (2);")
    assert access.execute(state, "t", "SELECT v FROM n WHERE v > %s", 1) == [(2,)]
    assert access.execute(state, "t", "SELECT '100%'") == [("100%",)]
    before = access.use(state, "t")
    with connect(state) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    deadline = time.monotonic() + WAIT_S
    while access.use(state, "t").connections == before.connections and time.monotonic() < deadline:
        time.sleep(0.01)
    after = access.use(state, "t")
    assert after.connections == before.connections + 1 and after.statements > before.statements


def test_what_the_data_store_refuses_is_one_sentence(state: Path) -> None:
    with pytest.raises(PlatformError, match=r"^the data store of namespace t says: Table 'app\.x' doesn't exist$"):
        access.execute(state, "t", "SELECT * FROM x")
    with pytest.raises(PlatformError, match=r"^the data store of namespace t says: Table 'app\.x' doesn't exist$"):
        access.run_script(state, "t", "SELECT 1; SELECT * FROM x")
    with pytest.raises(PlatformError, match="namespace u has no data store that runs; deploy an application"):
        access.execute(state, "u", "SELECT 1")


def test_a_script_that_fails_leaves_no_data_and_says_why(tmp_path: Path) -> None:
    data = tmp_path / "mariadb"
    with pytest.raises(EnvironmentProblem, match=r"^the data of mariadb could not be made: ERROR: 1064 .* at line 1$"):
        mariadb.make_data(mariadb.server(), data, "CREATE TABEL a (b INT);", mariadb.administrator())
    assert not (data / mariadb.TABLES).exists()


def test_a_server_that_cannot_take_connections_is_not_ready() -> None:
    assert datastores.KINDS["mariadb"].greets(b"\x4a\0\0\0\x0a5.5.5-10.11")
    assert not datastores.KINDS["mariadb"].greets(b"\x1a\0\0\0\xff\x10\x04Too many connections")
    assert not datastores.KINDS["mariadb"].greets(b"")
    assert datastores.KINDS["mail"].greets(b"220 mail ready\r\n") and not datastores.KINDS["mail"].greets(
        b"421 busy\r\n"
    )


# Mail


@pytest.fixture
def mail(tmp_path: Path) -> Iterator[int]:
    data, port = datastores.folder(tmp_path, "t", "mail"), free_port()
    line = (sys.executable, "-m", "testbed.platform.datastores.mail", "--data", str(data), "--port", str(port))
    with subprocess.Popen(line) as server:
        try:
            assert ready(datastores.KINDS["mail"], port)
            yield port
        finally:
            server.kill()


def message(subject: str) -> EmailMessage:
    made = EmailMessage()
    made["From"], made["To"], made["Subject"] = "a@example.org", "b@example.org, c@example.org", subject
    made.set_content("Text.")
    return made


def test_each_message_is_a_line_with_its_sender_recipients_subject_and_size(mail: int, tmp_path: Path) -> None:
    sent_ns = time.time_ns()
    with smtplib.SMTP("127.0.0.1", mail, local_hostname="test", timeout=WAIT_S) as server:
        server.send_message(message("One"))
        server.send_message(message("Tür €"))
    first, second = access.messages(tmp_path, "t")
    assert (first["from"], first["to"]) == ("a@example.org", ["b@example.org", "c@example.org"])
    assert [first["subject"], second["subject"]] == ["One", "Tür €"]
    assert sent_ns < first["received_ns"] < second["received_ns"]
    assert first["bytes"] == len(message("One").as_bytes().replace(b"\n", b"\r\n"))


def test_messages_outlive_the_server_and_there_are_none_without_one(mail: int, tmp_path: Path) -> None:
    file = datastores.folder(tmp_path, "t", "mail") / store_mail.MESSAGES
    file.write_text(store_mail.line_of(b"Subject: kept\r\n\r\n", "a", ["b"], 1))
    again = subprocess.Popen(
        (
            sys.executable,
            "-m",
            "testbed.platform.datastores.mail",
            "--data",
            str(file.parent),
            "--port",
            str(free_port()),
        )
    )
    try:
        with smtplib.SMTP("127.0.0.1", mail, local_hostname="test", timeout=WAIT_S) as server:
            server.send_message(message("more"))
    finally:
        again.kill()
        again.wait()
    assert [one["subject"] for one in access.messages(tmp_path, "t")] == ["kept", "more"]
    with pytest.raises(PlatformError, match="namespace u has no mail server; deploy an application that owns one"):
        access.messages(tmp_path, "u")


def test_a_message_that_cannot_be_written_is_not_accepted(tmp_path: Path) -> None:
    class Envelope:
        original_content, mail_from, rcpt_tos = b"Subject: x\r\n\r\n", "a", ("b",)

    mailbox = store_mail.Mailbox(tmp_path / "missing" / "file")
    answer = asyncio.run(mailbox.handle_DATA(None, None, Envelope()))  # type: ignore[arg-type]
    assert answer.startswith("452")


@pytest.mark.parametrize(
    ("header", "text"), [(b"=?utf-8?q?T=C3=BCr?=", "Tür"), (b"=?nonsense?q?x?=", "=?nonsense?q?x?="), (b"", "")]
)
def test_a_subject_is_kept_as_text(header: bytes, text: str) -> None:
    line = store_mail.line_of(b"Subject: " + header + b"\r\n\r\nbody", "a", ["b"], 7)
    assert json.loads(line) == {"received_ns": 7, "from": "a", "to": ["b"], "subject": text, "bytes": 17 + len(header)}


def test_a_link_in_a_stores_folder_leads_nowhere(tmp_path: Path) -> None:
    (tmp_path / "private").write_text('{"secret": 1}\n')
    for store, name in (("mail", store_mail.MESSAGES), ("mariadb", mariadb.SOCKET)):
        folder = datastores.folder(tmp_path, "t", store)
        folder.mkdir(parents=True)
        (folder / name).symlink_to(tmp_path / "private")
    with pytest.raises(PlatformError, match="is not the mail server's list of messages"):
        access.messages(tmp_path, "t")
    with pytest.raises(PlatformError, match="is a link and not the data store's socket"):
        access.execute(tmp_path, "t", "SELECT 1")

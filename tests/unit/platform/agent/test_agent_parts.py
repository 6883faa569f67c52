"""The node agent's parts by themselves: probes over real sockets, and the way to the control plane."""

from __future__ import annotations

import contextlib
import http.server
import json
import os
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from testbed.model.cluster import Phase
from testbed.model.errors import PlatformError
from testbed.model.watch import Decoder
from testbed.platform.agent import probe
from testbed.platform.agent.control_plane import Away, ControlPlane
from testbed.platform.agent.function_process import FunctionProcess, _belongs_to


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A listening socket's port, taken for the function port; nobody enters a namespace."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        number = listener.getsockname()[1]
    monkeypatch.setattr(probe, "FUNCTION_PORT", number)
    monkeypatch.setattr(probe, "within", lambda netns: contextlib.nullcontext())
    yield number


@contextlib.contextmanager
def answering(port: int, answer: bytes) -> Iterator[socket.socket]:
    """Something at that port that gives this answer to one request; b"" closes without one."""
    with socket.create_server(("127.0.0.1", port)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield server
        thread.join(30)


@pytest.mark.parametrize(
    ("answer", "ready"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", True),
        (b"HTTP/1.0 200\r\n\r\n", True),
        (b"HTTP/1.1 429 Too Many Requests\r\n\r\n", False),
        (b"HTTP/1.1 503 Unavailable\r\n\r\n", False),
        (b"HTTP/1.1 200", False),
        (b"", False),
        (b"\r\n", False),
    ],
)
def test_only_status_200_is_ready(port: int, answer: bytes, ready: bool) -> None:
    with answering(port, answer):
        assert probe.is_ready(0, 10.0) is ready


def test_nobody_there_is_not_ready(port: int) -> None:
    assert probe.is_ready(0, 10.0) is False


def test_silence_is_not_ready(port: int) -> None:
    with socket.create_server(("127.0.0.1", port)):
        assert probe.is_ready(0, 0.05) is False


@pytest.fixture(params=["inet_diag", "tables"])
def unfinished(request: pytest.FixtureRequest) -> Callable[[int], int]:
    """Both ways in which connections are counted."""
    return probe.in_tables if request.param == "tables" else lambda port: probe.unfinished_connections(0, port)


def test_a_caller_that_has_said_all_still_waits_for_its_answer(port: int, unfinished: Callable[[int], int]) -> None:
    with socket.create_server(("127.0.0.1", port)) as server, socket.create_connection(("127.0.0.1", port)) as caller:
        accepted, _ = server.accept()
        with accepted:
            caller.shutdown(socket.SHUT_WR)
            assert accepted.recv(1) == b""
            assert unfinished(port) == 1
        assert caller.recv(1) == b""
        caller.close()
        assert unfinished(port) == 0


def test_unfinished_connections_are_counted_by_port(port: int, unfinished: Callable[[int], int]) -> None:
    with socket.create_server(("127.0.0.1", port)) as server:
        assert unfinished(port) == 0
        with socket.create_connection(("127.0.0.1", port)), server.accept()[0]:
            assert unfinished(port) == 1
        assert unfinished(port) == 0


class Controlled(http.server.ThreadingHTTPServer):
    """A control plane that answers what it is told and remembers what it was asked."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answers)
        self.asked: list[str] = []
        self.answers: dict[str, tuple[int, bytes]] = {}
        self.url = f"http://127.0.0.1:{self.server_address[1]}"


class _Answers(http.server.BaseHTTPRequestHandler):
    def _answer(self) -> None:
        assert isinstance(self.server, Controlled)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        self.server.asked.append(f"{self.command} {self.path} {body}".strip())
        status, content = self.server.answers.get(self.path, (204, b""))
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_PUT = do_DELETE = _answer

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def controlled() -> Iterator[Controlled]:
    server = Controlled()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def test_reports_go_to_the_apiserver(controlled: Controlled) -> None:
    control = ControlPlane(controlled.url, controlled.url, "credential")
    control.report("one.t.1", Phase.NOT_READY, reason="it hangs")
    control.report("one.t.1", Phase.READY, {"ready_ns": 7})
    control.delete("one.t.1")
    assert controlled.asked == [
        'PUT /instances/one.t.1/phase {"phase": "NotReady", "reason": "it hangs"}',
        'PUT /instances/one.t.1/phase {"phase": "Ready", "timings": {"ready_ns": 7}}',
        "DELETE /instances/one.t.1",
    ]


def test_secrets_come_decoded_or_not_at_all(controlled: Controlled) -> None:
    control = ControlPlane(controlled.url, controlled.url, "credential")
    controlled.answers["/instances/one.t.1/secrets"] = (200, b'{"key": "dmFsdWU="}')
    assert control.secrets("one.t.1") == {"key": b"value"}
    controlled.answers["/instances/one.t.1/secrets"] = (404, b"gone")
    with pytest.raises(PlatformError, match=r"does not give the secrets of one\.t\.1: gone"):
        control.secrets("one.t.1")


def test_a_kept_connection_that_the_server_closed_is_replaced(controlled: Controlled) -> None:
    control = ControlPlane(controlled.url, controlled.url, "credential")
    for _ in range(3):  # the server speaks HTTP/1.0 and closes after each
        control.delete("one.t.1")
    assert len(controlled.asked) == 3


def test_what_the_apiserver_refuses_is_left_to_the_watch_but_its_failure_is_not(controlled: Controlled) -> None:
    control = ControlPlane(controlled.url, controlled.url, "credential")
    for status in (404, 409):
        controlled.answers["/instances/one.t.1"] = (status, b"")
        control.delete("one.t.1")
    controlled.answers["/instances/one.t.1"] = (500, b"no room")
    with pytest.raises(Away, match="the apiserver failed: no room"):
        control.delete("one.t.1")


def test_a_watch_that_breaks_within_a_line_is_resumed_after_the_last_whole_one(controlled: Controlled) -> None:
    whole = {"type": "DELETE", "version": 4, "kind": "instance", "object": {}}
    controlled.answers["/watch?since=3"] = (200, json.dumps(whole).encode() + b'\n{"type":"PU')
    decoder = Decoder(3)
    assert list(ControlPlane(controlled.url, controlled.url, "credential").watch(decoder)) == [whole]
    assert decoder.open() == "/watch?since=4"


def test_a_watch_that_is_refused_begins_anew_with_a_snapshot(controlled: Controlled) -> None:
    controlled.answers["/watch?since=3"] = (400, b"no")
    decoder = Decoder(3)
    with pytest.raises(Away, match="the apiserver answered /watch with status 400; see its log"):
        list(ControlPlane(controlled.url, controlled.url, "credential").watch(decoder))
    assert decoder.open() == "/watch?since=-1"


def test_an_apiserver_that_is_not_there_is_away() -> None:
    with pytest.raises(Away, match=r"http://127\.0\.0\.1:9 does not answer \(ConnectionRefusedError\)"):
        ControlPlane("http://127.0.0.1:9", "http://127.0.0.1:9", "credential").delete("one.t.1")


def test_a_version_is_waited_for_but_not_for_ever(controlled: Controlled) -> None:
    control = ControlPlane(controlled.url, controlled.url, "credential")
    controlled.answers["/version"] = (200, b'{"applied": 7}')
    assert control.await_applied(7, 0.0)
    assert not control.await_applied(8, 0.05)
    assert not ControlPlane(controlled.url, "http://127.0.0.1:9", "credential").await_applied(1, 0.05)


def test_many_who_wait_ask_the_controller_no_more_often_than_one(controlled: Controlled) -> None:
    control = ControlPlane(controlled.url, controlled.url, "credential")
    controlled.answers["/version"] = (200, b'{"applied": 7}')
    threads = [threading.Thread(target=control.await_applied, args=(8, 0.2)) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert 1 <= len(controlled.asked) <= 20


def test_a_process_is_known_by_its_instance_not_by_its_number(tmp_path: Path) -> None:
    file = tmp_path / "one.t.1.pid"
    assert not _belongs_to(os.getpid(), "one.t.1")
    for content in ("", "no number", "999999999", str(os.getpid())):
        file.write_text(content)
        assert FunctionProcess.adopt(file, "one.t.1") is None
    assert FunctionProcess.adopt(tmp_path / "missing", "one.t.1") is None

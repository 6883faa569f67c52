"""The python3-http server: a handler written for OpenFaaS runs unmodified, with of-watchdog's manners."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from function_rig import Server

ECHO = '''
import json

def handle(event, context):
    """Tells what it was given; returns what the query asks for."""
    how = event.query.get("return", "event")
    if how == "event":
        return {"statusCode": 200, "body": {
            "body": event.body.decode("latin-1"), "type": type(event.body).__name__, "method": event.method,
            "path": event.path, "query": event.query.to_dict(flat=False), "hostname": context.hostname,
            "call": event.headers.get("x-call-id"), "agent": event.headers["User-Agent"],
            "names": sorted(name for name, _ in event.headers.items()), "missing": event.headers.get("No", "default"),
        }}
    return eval(how)
'''

SLEEPY = """
import time

def handle(event, context):
    time.sleep(float(event.query.get("s", 0)))
    return "slept"
"""


@pytest.fixture(scope="module")
def echo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(
        tmp_path_factory.mktemp("functions") / "echo",
        ECHO,
        {"FUNCTION_NAMESPACE": "ns", "INSTANCE_ID": "echo.ns.1", "HOSTNAME": "here"},
    )
    yield server
    server.stop()


def returned(server: Server, expression: str) -> tuple[int, str, bytes]:
    """(status, content type, body) of a handler that returns this expression."""
    from urllib.parse import quote

    status, headers, body = server.ask("GET", f"/?return={quote(expression)}")
    return status, headers["Content-Type"], body


def test_the_event_has_everything_of_the_request(echo: Server) -> None:
    status, headers, body = echo.ask(
        "POST", "/a%20b/c?x=1&x=2&y=", b"\x00\xffdata", {"X-Call-Id": "id", "User-Agent": "me", "Content-Type": "a/b"}
    )
    event = json.loads(body)
    assert (status, headers["Content-Type"]) == (200, "application/json")
    assert (event["body"], event["type"], event["method"]) == ("\x00\xffdata", "bytes", "POST")
    assert (event["path"], event["query"]) == ("/a b/c", {"x": ["1", "2"], "y": [""]})
    assert (event["call"], event["agent"], event["hostname"], event["missing"]) == ("id", "me", "here", "default")
    assert {"Content-Type", "Content-Length", "X-Call-Id", "User-Agent", "Host"} <= set(event["names"])


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE"])
def test_the_templates_methods_reach_the_handler(echo: Server, method: str) -> None:
    assert json.loads(echo.ask(method, "/", None, {"User-Agent": "x"})[2])["method"] == method


def test_other_methods_do_not(echo: Server) -> None:
    assert echo.ask("PURGE", "/")[0] == 405
    status, headers, _ = echo.ask("OPTIONS", "/")
    assert (status, headers["Allow"]) == (200, "DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT")


def test_head_gets_the_head_only(echo: Server) -> None:
    status, headers, body = echo.ask("HEAD", "/", None, {"User-Agent": "x"})
    assert (status, body) == (200, b"")
    assert int(headers["Content-Length"]) > 0


HTML = "text/html; charset=utf-8"


@pytest.mark.parametrize(
    ("expression", "status", "content_type", "body"),
    [
        ("None", 200, HTML, b""),
        ("'text'", 200, HTML, b"text"),
        ("b'raw'", 200, HTML, b"raw"),
        ("{}", 200, HTML, b""),
        ("{'statusCode': 201, 'body': 'made'}", 201, HTML, b"made"),
        ("{'statusCode': 599, 'body': ''}", 599, HTML, b""),
        ("{'body': {'b': 1, 'a': [2]}}", 200, "application/json", b'{"a":[2],"b":1}\n'),
        ("{'body': [1, 2]}", 200, "application/json", b"[1,2]\n"),
        ("{'body': 42}", 200, HTML, b"42"),
        ("{'body': 'x', 'headers': {'Content-type': 'text/plain'}}", 200, "text/plain", b"x"),
        ("{'body': 'x', 'headers': [('Content-Type', 'a/b')]}", 200, "a/b", b"x"),
        ("[1]", 200, "application/json", b"[1]\n"),
        ("('text', 202)", 202, HTML, b"text"),
        ("('text', '203 Something')", 203, HTML, b"text"),
        ("('text', {'Content-Type': 'c/d'})", 200, "c/d", b"text"),
        ("({'a': 1}, 404, {'X-A': 'b'})", 404, "application/json", b'{"a":1}\n'),
        ("'\u00e9'", 200, HTML, "é".encode()),
    ],
)
def test_a_handler_may_return_what_the_template_accepts(
    echo: Server, expression: str, status: int, content_type: str, body: bytes
) -> None:
    assert returned(echo, expression) == (status, content_type, body)


@pytest.mark.parametrize("expression", ["1/0", "42", "object()", "(1, 2, 3, 4)", "('x', 'y' * 0)"])
def test_a_failing_handler_is_500_and_the_server_lives_on(echo: Server, expression: str) -> None:
    assert returned(echo, expression)[0] == 500
    assert returned(echo, "'well'") == (200, HTML, b"well")
    assert "Traceback" in echo.log.read_text()


def test_a_chunked_body_is_read(echo: Server) -> None:
    with echo.connect() as connection:
        connection.sendall(
            b"POST / HTTP/1.1\r\nHost: f\r\nUser-Agent: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
        )
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["body"] == "abcde"


@pytest.mark.parametrize("size", [0, 200, 70_000, 3 << 20])
def test_bodies_of_any_size_pass_both_ways(echo: Server, size: int) -> None:
    status, headers, body = echo.ask("POST", "/?return=event.body", b"x" * size)
    assert (status, int(headers["Content-Length"]), body) == (200, size, b"x" * size)


def test_the_answer_says_how_long_it_took(echo: Server) -> None:
    seconds = echo.ask("GET", "/?return=''")[1]["X-Duration-Seconds"]
    assert 0 < float(seconds) < 10
    assert len(seconds.partition(".")[2]) == 6


def test_every_invocation_leaves_one_record_and_probes_leave_none(tmp_path: Path) -> None:
    server = Server(tmp_path / "f", ECHO, {"FUNCTION_NAMESPACE": "ns", "INSTANCE_ID": "f.ns.7", "FUNCTION_NAME": "f"})
    try:
        server.ask("GET", "/_/health")
        before_ns = time.monotonic_ns()
        server.ask("GET", "/?return='a'", None, {"X-Call-Id": 'a"\\b', "X-Caller": "up"})
        server.ask("GET", "/?return=1/0")
        records = server.records()
    finally:
        server.stop()
    assert [record["status"] for record in records] == [200, 500]
    assert [record["cold"] for record in records] == [True, False]
    assert [record["call_id"] for record in records] == ['a"\\b', ""]
    assert [record["caller"] for record in records] == ["up", ""]
    for record in records:
        assert (record["function"], record["namespace"], record["instance"]) == ("f", "ns", "f.ns.7")
        assert before_ns < record["started_ns"] < record["ended_ns"] < time.monotonic_ns()


def test_records_of_concurrent_invocations_do_not_mix(tmp_path: Path) -> None:
    server = Server(tmp_path / "f", ECHO)
    try:
        with ThreadPoolExecutor(16) as pool:
            statuses = list(pool.map(lambda _: server.ask("GET", "/?return='a'")[0], range(400)))
        records = server.records()
    finally:
        server.stop()
    assert statuses == [200] * 400
    assert [sum(record["cold"] for record in records), len(records)] == [1, 400]


def test_exec_timeout_is_504_while_the_handler_still_runs(tmp_path: Path) -> None:
    server = Server(tmp_path / "f", SLEEPY, {"exec_timeout": "300ms"})
    try:
        started_s = time.monotonic()
        status, headers, _ = server.ask("GET", "/?s=3")
        took_s = time.monotonic() - started_s
        assert (status, headers["X-OpenFaaS-Internal"]) == (504, "of-watchdog")
        assert 0.3 <= took_s < 3
        assert server.ask("GET", "/?s=0")[2] == b"slept"
        assert [record["status"] for record in server.records()] == [504, 200]
        time.sleep(max(0.0, started_s + 3.3 - time.monotonic()))
        assert [record["status"] for record in server.records()] == [504, 200]  # its late end leaves no second record
    finally:
        assert server.stop() == 0


def test_a_request_may_lower_exec_timeout_but_not_raise_it(tmp_path: Path) -> None:
    server = Server(tmp_path / "f", SLEEPY, {"exec_timeout": "1s"})
    try:
        assert server.ask("GET", "/?s=0.6", None, {"X-Timeout": "100ms"})[0] == 504
        assert server.ask("GET", "/?s=0.3", None, {"X-Timeout": "nonsense"})[0] == 200
        assert server.ask("GET", "/?s=2", None, {"X-Timeout": "10s"})[0] == 504
    finally:
        server.stop()


def test_more_than_max_inflight_are_429_with_openfaas_text(tmp_path: Path) -> None:
    server = Server(tmp_path / "f", SLEEPY, {"max_inflight": "2"})
    try:
        with ThreadPoolExecutor(2) as pool:
            busy = [pool.submit(server.ask, "GET", "/?s=0.6") for _ in range(2)]
            time.sleep(0.2)
            status, headers, body = server.ask("GET", "/?s=0")
            ready = server.ask("GET", "/_/ready")[0]
            health = server.ask("GET", "/_/health")[0]
            assert [one.result()[0] for one in busy] == [200, 200]
        assert (status, body) == (429, b"Concurrent request limit exceeded. Max concurrent requests: 2\n")
        assert headers["X-OpenFaaS-Internal"] == "faas-middleware"
        assert (ready, health) == (429, 200)
        assert server.ask("GET", "/?s=0")[0] == 200
    finally:
        server.stop()


def test_probes_are_answered_while_every_thread_is_busy(tmp_path: Path) -> None:
    server = Server(tmp_path / "f", SLEEPY, {"threads": "2"})
    try:
        with ThreadPoolExecutor(4) as pool:
            busy = [pool.submit(server.ask, "GET", "/?s=0.6") for _ in range(4)]
            time.sleep(0.2)
            started_s = time.monotonic()
            assert server.ask("GET", "/_/ready")[0] == 200
            assert time.monotonic() - started_s < 0.35
            assert [one.result()[0] for one in busy] == [200] * 4
    finally:
        server.stop()


def test_sigterm_finishes_what_runs_and_takes_nothing_new(tmp_path: Path) -> None:
    server = Server(tmp_path / "f", SLEEPY)
    idle = server.connect()
    with ThreadPoolExecutor(1) as pool:
        busy = pool.submit(server.ask, "GET", "/?s=0.8")
        time.sleep(0.3)
        server.process.terminate()
        assert idle.recv(1) == b""
        with pytest.raises(ConnectionRefusedError):
            server.connect()
        status, headers, body = busy.result()
    assert (status, body, headers["Connection"]) == (200, b"slept", "close")
    assert server.process.wait(5) == 0


def test_sigterm_ends_an_idle_server_at_once(tmp_path: Path) -> None:
    server = Server(tmp_path / "f", SLEEPY)
    kept = server.connect()
    kept.sendall(b"GET / HTTP/1.1\r\nHost: f\r\n\r\n")
    assert kept.recv(65536).startswith(b"HTTP/1.1 200")
    started_s = time.monotonic()
    assert server.stop() == 0
    assert time.monotonic() - started_s < 5


def test_an_idle_connection_is_closed_on_time(tmp_path: Path) -> None:
    server = Server(tmp_path / "f", SLEEPY, {"read_timeout": "100ms", "write_timeout": "100ms"})
    try:
        with server.connect() as connection:
            connection.settimeout(10)
            assert connection.recv(1) == b""
    finally:
        server.stop()


def test_a_burst_of_connections_is_taken_in(tmp_path: Path) -> None:
    server = Server(tmp_path / "f", SLEEPY)
    try:
        connections = [server.connect() for _ in range(300)]
        for connection in connections:
            connection.sendall(b"GET / HTTP/1.1\r\nHost: f\r\n\r\n")
        assert all(connection.recv(65536).startswith(b"HTTP/1.1 200") for connection in connections)
    finally:
        server.stop()


def test_head_and_body_of_an_answer_arrive_together(echo: Server) -> None:
    with echo.connect() as connection:
        for _ in range(50):
            connection.sendall(b"GET /?return='x'*1000 HTTP/1.1\r\nHost: f\r\n\r\n")
            assert connection.recv(65536).endswith(b"x" * 1000)


def test_pipelined_requests_are_answered_in_their_order(echo: Server) -> None:
    requests = b"".join(b"GET /?return='<%d>' HTTP/1.1\r\nHost: f\r\n\r\n" % number for number in range(20))
    with echo.connect() as connection:
        connection.sendall(requests)
        answers = b""
        while b"<19>" not in answers:
            answers += connection.recv(65536)
    positions = [answers.index(b"<%d>" % number) for number in range(20)]
    assert positions == sorted(positions)


def test_who_asks_hears_when_the_socket_listens(tmp_path: Path) -> None:
    heard, say = os.pipe()
    os.set_inheritable(say, True)
    server = Server(tmp_path / "f", ECHO, {"READY_FD": str(say)}, pass_fds=(say,))
    os.close(say)
    assert os.read(heard, 10) == b"\n"
    assert os.read(heard, 10) == b""
    os.close(heard)
    assert server.stop() == 0


def test_a_wrong_setting_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="exec_timeout=soon is no duration; write seconds"):
        Server(tmp_path / "f", SLEEPY, {"exec_timeout": "soon"})


def test_a_client_that_leaves_does_not_harm_the_server(tmp_path: Path) -> None:
    server = Server(tmp_path / "f", SLEEPY)
    try:
        for _ in range(5):
            connection = server.connect()
            connection.sendall(b"GET /?s=0.1 HTTP/1.1\r\nHost: f\r\n\r\n")
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            connection.close()
        time.sleep(0.3)
        assert server.ask("GET", "/")[2] == b"slept"
        assert "Traceback" not in server.log.read_text()
    finally:
        assert server.stop() == 0

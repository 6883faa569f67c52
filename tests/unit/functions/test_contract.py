"""What every language's server must do: of-watchdog's manners, one table for all of them.

The handlers under contract/ do the same thing in each language: sleep `s` seconds, then fail, echo the body, tell a
header, answer 201 with a header, or say what they were told to say.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.unit.functions.function_rig import HANDLER_FILES, Server, build

CONTRACT = Path(__file__).parent / "contract"
LANGUAGES = tuple(HANDLER_FILES)

Make = Callable[..., Server]


@pytest.fixture(scope="module", params=LANGUAGES)
def language(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def image(language: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built once: a compiler runs for seconds."""
    name = Path(HANDLER_FILES[language]).name
    return build(tmp_path_factory.mktemp("image"), (CONTRACT / name).read_text(), language)


@pytest.fixture
def make(language: str, image: Path, tmp_path: Path) -> Iterator[Make]:
    """Start a server with this environment; it is stopped after the test."""
    servers: list[Server] = []

    def start(environment: Mapping[str, str] | None = None, **options: tuple[int, ...]) -> Server:
        folder = tmp_path / f"f{len(servers)}"
        servers.append(Server(folder, "", environment, language=language, image=image, **options))
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


@pytest.fixture(scope="module")
def server(language: str, image: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server for tests that leave it as it was."""
    running = Server(tmp_path_factory.mktemp("functions") / "f", "", language=language, image=image)
    yield running
    assert running.stop() == 0


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE"])
def test_the_usual_methods_reach_the_handler(server: Server, method: str) -> None:
    status, _, body = server.ask(method, "/any/path?say=well")
    assert (status, body) == (200, b"well")


def test_other_methods_do_not(server: Server) -> None:
    status, headers, _ = server.ask("PURGE", "/")
    assert status == 405
    assert {"DELETE", "GET", "HEAD", "PATCH", "POST", "PUT"} <= set(headers["Allow"].split(", "))


def test_head_gets_the_head_only(server: Server) -> None:
    status, headers, body = server.ask("HEAD", "/?say=four")
    assert (status, headers["Content-Length"], body) == (200, "4", b"")


def test_status_headers_and_content_type_are_the_handlers(server: Server) -> None:
    status, headers, body = server.ask("GET", "/?made=1")
    assert (status, headers["X-Made"], body) == (201, "yes", b"made")
    assert headers["Content-Type"].startswith("text/plain")
    assert len(headers.get_all("Content-Type", [])) == 1


@pytest.mark.parametrize("name", ["X-Call-Id", "x-request-id", "Authorization"])
def test_headers_reach_the_handler(server: Server, name: str) -> None:
    assert server.ask("GET", f"/?header={name}", None, {name: "given"})[2] == b"given"


def test_text_passes_in_utf_8(server: Server) -> None:
    assert server.ask("POST", "/?echo=1", "für €".encode(), {"Content-Type": "text/plain"})[2] == "für €".encode()
    assert server.ask("GET", "/?say=f%C3%BCr")[2] == "für".encode()


def test_a_failing_handler_is_500_and_the_server_lives_on(server: Server) -> None:
    assert server.ask("GET", "/?fail=1")[0] == 500
    assert "as asked" in server.log.read_text()
    assert server.ask("GET", "/")[2] == b"slept"


def test_health_and_readiness_have_paths_of_their_own(server: Server) -> None:
    assert server.ask("GET", "/_/health")[::2] == (200, b"OK")
    assert server.ask("GET", "/_/ready")[::2] == (200, b"OK")
    assert server.ask("GET", "/_/other")[0] == 404


def exchange(server: Server, request: bytes) -> bytes:
    """The whole answer to raw bytes, until the server closes the connection."""
    with server.connect() as connection:
        connection.sendall(request)
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
    return answer


def test_a_chunked_body_is_read(server: Server) -> None:
    answer = exchange(
        server,
        b"POST /?echo=1 HTTP/1.1\r\nHost: f\r\nContent-Type: text/plain\r\nConnection: close\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n",
    )
    assert answer.partition(b"\r\n\r\n")[2] == b"abcde"


def test_a_client_that_asks_to_close_or_speaks_http_1_0_is_obeyed(server: Server) -> None:
    assert exchange(server, b"GET /?say=a HTTP/1.1\r\nHost: f\r\nConnection: close\r\n\r\n").endswith(b"\r\n\r\na")
    assert exchange(server, b"GET /?say=b HTTP/1.0\r\n\r\n").endswith(b"\r\n\r\nb")


def test_garbage_is_refused_and_the_connection_closed(server: Server) -> None:
    answer = exchange(server, b"what is this\r\n\r\n")
    assert answer == b"" or (answer.startswith(b"HTTP/1.") and b" 400 " in answer.partition(b"\r\n")[0])
    assert server.ask("GET", "/")[2] == b"slept"


@pytest.mark.parametrize("size", [0, 200, 70_000, 3 << 20])
def test_bodies_of_any_size_pass_both_ways(server: Server, size: int) -> None:
    status, headers, body = server.ask("POST", "/?echo=1", b"x" * size, {"Content-Type": "text/plain"})
    assert (status, int(headers["Content-Length"]), body) == (200, size, b"x" * size)


def test_the_answer_says_how_long_it_took(server: Server) -> None:
    seconds = server.ask("GET", "/?s=0.1")[1]["X-Duration-Seconds"]
    assert 0.1 <= float(seconds) < 10
    assert len(seconds.partition(".")[2]) == 6


def test_head_and_body_of_an_answer_arrive_together(server: Server) -> None:
    with server.connect() as connection:
        for _ in range(50):
            connection.sendall(b"GET /?say=%s HTTP/1.1\r\nHost: f\r\n\r\n" % (b"x" * 1000))
            assert connection.recv(65536).endswith(b"x" * 1000)


def test_pipelined_requests_are_answered_in_their_order(server: Server) -> None:
    requests = b"".join(b"GET /?say=<%d> HTTP/1.1\r\nHost: f\r\n\r\n" % number for number in range(20))
    with server.connect() as connection:
        connection.sendall(requests.replace(b"<", b"%3C").replace(b">", b"%3E"))
        answers = b""
        while b"<19>" not in answers:
            piece = connection.recv(65536)
            assert piece, answers
            answers += piece
    positions = [answers.index(b"<%d>" % number) for number in range(20)]
    assert positions == sorted(positions)


def test_a_burst_of_connections_is_taken_in(server: Server) -> None:
    connections = [server.connect() for _ in range(300)]
    for connection in connections:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: f\r\n\r\n")
    assert all(connection.recv(65536).startswith(b"HTTP/1.1 200") for connection in connections)
    for connection in connections:
        connection.close()


def test_a_client_that_leaves_does_not_harm_the_server(make: Make) -> None:
    server = make()
    for _ in range(5):
        connection = server.connect()
        connection.sendall(b"GET /?s=0.1 HTTP/1.1\r\nHost: f\r\n\r\n")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        connection.close()
    time.sleep(0.3)
    assert server.ask("GET", "/")[2] == b"slept"
    others = [line for line in server.log.read_text().splitlines() if not line.startswith('{"invocation"')]
    assert others == []
    assert server.stop() == 0


def test_every_invocation_leaves_one_record_and_probes_leave_none(make: Make) -> None:
    server = make({"FUNCTION_NAMESPACE": "ns", "INSTANCE_ID": "f.ns.7", "FUNCTION_NAME": "f"})
    server.ask("GET", "/_/health")
    before_ns = time.monotonic_ns()
    server.ask("GET", "/?say=a", None, {"X-Call-Id": 'a"\\b', "X-Caller": "up"})
    server.ask("GET", "/?fail=1")
    server.ask("GET", "/?made=1")
    records = server.records()
    assert [record["status"] for record in records] == [200, 500, 201]
    assert [record["cold"] for record in records] == [True, False, False]
    assert [record["call_id"] for record in records] == ['a"\\b', "", ""]
    assert [record["caller"] for record in records] == ["up", "", ""]
    keys = ["call_id", "caller", "function", "namespace", "instance", "started_ns", "ended_ns", "cold", "status"]
    for record in records:
        assert list(record) == keys
        assert (record["function"], record["namespace"], record["instance"]) == ("f", "ns", "f.ns.7")
        assert before_ns < record["started_ns"] < record["ended_ns"] < time.monotonic_ns()


def test_what_a_caller_says_of_itself_is_cut_in_a_record(make: Make) -> None:
    server = make()
    server.ask("GET", "/", None, {"X-Call-Id": "A" * 5000, "X-Caller": "B" * 5000})
    (record,) = server.records()
    assert (record["call_id"], record["caller"]) == ("A" * 128, "B" * 128)


def test_records_of_concurrent_invocations_do_not_mix(make: Make) -> None:
    server = make()
    with ThreadPoolExecutor(16) as pool:
        statuses = list(pool.map(lambda _: server.ask("GET", "/")[0], range(400)))
    records = server.records()
    assert statuses == [200] * 400
    assert [sum(record["cold"] for record in records), len(records)] == [1, 400]


def test_exec_timeout_is_504_while_the_handler_still_runs(make: Make) -> None:
    server = make({"exec_timeout": "300ms"})
    started_s = time.monotonic()
    status, headers, _ = server.ask("GET", "/?s=1.5")
    took_s = time.monotonic() - started_s
    assert (status, headers["X-OpenFaaS-Internal"]) == (504, "of-watchdog")
    assert float(headers["X-Duration-Seconds"]) >= 0.3
    assert 0.3 <= took_s < 1.5
    assert server.ask("GET", "/")[2] == b"slept"
    assert [record["status"] for record in server.records()] == [504, 200]
    time.sleep(max(0.0, started_s + 1.8 - time.monotonic()))
    assert [record["status"] for record in server.records()] == [504, 200]  # its late end leaves no second record
    assert server.stop() == 0


def test_a_request_may_lower_exec_timeout_but_not_raise_it(make: Make) -> None:
    server = make({"exec_timeout": "1s"})
    assert server.ask("GET", "/?s=0.6", None, {"X-Timeout": "100ms"})[0] == 504
    assert server.ask("GET", "/?s=0.3", None, {"X-Timeout": "nonsense"})[0] == 200
    assert server.ask("GET", "/?s=1.5", None, {"X-Timeout": "10s"})[0] == 504


def test_exec_timeout_0_is_no_limit(make: Make) -> None:
    server = make({"exec_timeout": "0"})
    assert server.ask("GET", "/?s=0.3")[0] == 200
    assert server.ask("GET", "/?s=0.6", None, {"X-Timeout": "100ms"})[0] == 504


def test_more_than_max_inflight_are_429_with_openfaas_text(make: Make) -> None:
    server = make({"max_inflight": "2"})
    with ThreadPoolExecutor(2) as pool:
        busy = [pool.submit(server.ask, "GET", "/?s=1.5") for _ in range(2)]
        time.sleep(0.2)
        status, headers, body = server.ask("GET", "/?s=0")
        ready = server.ask("GET", "/_/ready")[0]
        health = server.ask("GET", "/_/health")[0]
        assert [one.result()[0] for one in busy] == [200, 200]
    assert (status, body) == (429, b"Concurrent request limit exceeded. Max concurrent requests: 2\n")
    assert headers["X-OpenFaaS-Internal"] == "faas-middleware"
    assert (ready, health) == (429, 200)
    assert server.ask("GET", "/?s=0")[0] == 200
    assert [(record["status"], record["cold"]) for record in server.records()].count((429, False)) == 1


def test_probes_are_answered_while_every_thread_is_busy(make: Make) -> None:
    server = make({"threads": "2"})
    with ThreadPoolExecutor(4) as pool:
        busy = [pool.submit(server.ask, "GET", "/?s=1.5") for _ in range(4)]
        time.sleep(0.2)
        assert server.ask("GET", "/_/ready")[0] == 200
        assert not any(one.done() for one in busy)
        assert [one.result()[0] for one in busy] == [200] * 4


def test_sigterm_finishes_what_runs_and_takes_nothing_new(make: Make) -> None:
    server = make()
    idle = server.connect()
    with ThreadPoolExecutor(1) as pool:
        busy = pool.submit(server.ask, "GET", "/?s=1.5")
        time.sleep(0.3)
        server.process.terminate()
        assert idle.recv(1) == b""
        with pytest.raises(ConnectionRefusedError):
            server.connect()
        status, headers, body = busy.result()
    assert (status, body, headers["Connection"]) == (200, b"slept", "close")
    assert server.process.wait(30) == 0


def test_sigterm_waits_no_longer_than_asked(make: Make) -> None:
    server = make({"healthcheck_interval": "300ms"})
    with server.connect() as connection:
        connection.sendall(b"GET /?s=20 HTTP/1.1\r\nHost: f\r\n\r\n")
        time.sleep(0.2)
        started_s = time.monotonic()
        assert server.stop() == 0
        assert 0.2 < time.monotonic() - started_s < 10


def test_sigterm_ends_an_idle_server_at_once(make: Make) -> None:
    server = make()
    kept = server.connect()
    kept.sendall(b"GET / HTTP/1.1\r\nHost: f\r\n\r\n")
    assert kept.recv(65536).startswith(b"HTTP/1.1 200")
    started_s = time.monotonic()
    assert server.stop() == 0
    assert time.monotonic() - started_s < 5


def test_an_idle_connection_is_closed_on_time(make: Make) -> None:
    server = make({"read_timeout": "100ms", "write_timeout": "100ms"})
    with server.connect() as silent, server.connect() as kept:
        kept.sendall(b"GET /?s=0.5 HTTP/1.1\r\nHost: f\r\n\r\n")
        assert kept.recv(65536).startswith(b"HTTP/1.1 200")
        for connection in (silent, kept):
            connection.settimeout(10)
            assert connection.recv(1) == b""


def test_who_asks_hears_when_the_socket_listens(make: Make) -> None:
    heard, say = os.pipe()
    os.set_inheritable(say, True)
    server = make({"READY_FD": str(say)}, pass_fds=(say,))
    os.close(say)
    assert os.read(heard, 10) == b"\n"
    assert os.read(heard, 10) == b""
    os.close(heard)
    assert server.stop() == 0


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("exec_timeout", "soon", "exec_timeout=soon is no duration; write seconds (30) or a Go duration (1m30s)"),
        ("read_timeout", "1x", "read_timeout=1x is no duration; write seconds (30) or a Go duration (1m30s)"),
        ("max_inflight", "-1", "max_inflight=-1 is no number; write a whole number"),
    ],
)
def test_a_wrong_setting_is_one_sentence(make: Make, name: str, value: str, sentence: str) -> None:
    with pytest.raises(AssertionError) as caught:
        make({name: value})
    assert sentence in str(caught.value).splitlines()


@pytest.mark.parametrize("timeout", ["1m30s", "1.5s", "250ms", "500us", "45"])
def test_durations_have_gos_form_or_are_seconds(make: Make, timeout: str) -> None:
    server = make({"read_timeout": timeout, "healthcheck_interval": timeout})
    assert server.ask("GET", "/?say=well")[2] == b"well"

"""The chain application: who is visited, in which shape and length; and that handlers know nothing of the lab."""

from __future__ import annotations

import json
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from testbed.model.stack.stack_file import load, select
from tests.unit.functions.function_rig import CHAIN, CHECKOUT, Server

HANDLER = CHAIN / "chain"


@contextmanager
def chain(folder: Path, count: int, **environment: str) -> Iterator[list[Server]]:
    """`count` functions; the first can reach all others, each can reach its next."""
    servers: list[Server] = []
    try:
        for number in range(count, 0, -1):
            settings = dict(environment)
            if servers:
                settings["NEXT_URL"] = servers[0].url
            if number == 1:
                settings["CALLEE_URLS"] = ", ".join(server.url for server in servers)
            servers.insert(0, Server(folder / f"chain-{number}", HANDLER, settings))
        yield servers
    finally:
        for server in servers:
            server.stop()


def visited(answer: bytes) -> list[str]:
    names: list[str] = json.loads(answer)["functions"]
    return names


@pytest.mark.parametrize("connection", ["per-call", "keepalive"])
@pytest.mark.parametrize("shape", ["nested", "star"])
def test_all_are_visited_in_order_with_call_id_and_caller(tmp_path: Path, shape: str, connection: str) -> None:
    with chain(tmp_path, 4, CHAIN_SHAPE=shape, CONNECTION=connection) as servers:
        for _ in range(3):
            status, _, body = servers[0].ask("GET", "/", None, {"X-Call-Id": "the-id"})
            assert (status, visited(body)) == (200, [f"chain-{number}" for number in (1, 2, 3, 4)])
        for number, server in enumerate(servers, 1):
            caller = "" if number == 1 else "chain-1" if shape == "star" else f"chain-{number - 1}"
            records = server.records()
            assert [record["call_id"] for record in records] == ["the-id"] * 3
            assert [record["caller"] for record in records] == [caller] * 3


@pytest.mark.parametrize("shape", ["nested", "star"])
def test_a_request_may_ask_for_a_shorter_chain(tmp_path: Path, shape: str) -> None:
    with chain(tmp_path, 3, CHAIN_SHAPE=shape) as servers:
        for length in (1, 2, 3):
            names = visited(servers[0].ask("GET", f"/?length={length}")[2])
            assert names == [f"chain-{number}" for number in range(1, length + 1)]
        assert [len(server.records()) for server in servers] == [3, 2, 1]
        for wrong in ("4", "0", "-1", "x", ""):
            status, _, body = servers[0].ask("GET", f"/?length={wrong}")
            assert status == 400
            assert json.loads(body)["error"]


def test_answers_are_padded_to_the_payload_size_and_bodies_passed_on(tmp_path: Path) -> None:
    with chain(tmp_path, 2, PAYLOAD_BYTES="5000") as servers:
        status, headers, body = servers[0].ask("POST", "/", b"x" * 3000)
        assert (status, len(body), headers["Content-Length"]) == (200, 5000, "5000")
        assert headers["Content-Type"] == "application/json"
        assert visited(body) == ["chain-1", "chain-2"]


@pytest.mark.parametrize(("kind", "busy"), [("sleep", False), ("busy", True)])
def test_service_time_is_spent_asleep_or_busy(tmp_path: Path, kind: str, busy: bool) -> None:
    with chain(tmp_path, 1, SERVICE_MS="200", SERVICE_KIND=kind) as (server,):
        before_s = _cpu_s(server)
        started_s = time.monotonic()
        server.ask("GET", "/")
        assert time.monotonic() - started_s >= 0.2
        assert (_cpu_s(server) - before_s > 0.15) is busy


def _cpu_s(server: Server) -> float:
    fields = Path(f"/proc/{server.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def test_an_error_downstream_is_502_with_the_reason(tmp_path: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        with chain(tmp_path, 2) as servers:
            lonely = Server(tmp_path / "lonely", HANDLER, {"NEXT_URL": url})
            try:
                status, _, body = lonely.ask("GET", "/")
            finally:
                lonely.stop()
            assert status == 502
            assert json.loads(body) == {
                "error": f"calling {url} failed: [Errno 111] Connection refused",
                "function": "lonely",
            }
            servers[1].stop()
            assert servers[0].ask("GET", "/")[0] == 502


def test_a_kept_connection_that_the_callee_closed_is_replaced(tmp_path: Path) -> None:
    accepted = []
    body = b'{"functions": ["callee"]}'

    def callee(listener: socket.socket) -> None:
        """Answers one request of each connection, and closes without having said so."""
        while len(accepted) < 3:
            connection, _ = listener.accept()
            accepted.append(connection)
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
            connection.close()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=callee, args=(listener,), daemon=True).start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        server = Server(tmp_path / "caller", HANDLER, {"NEXT_URL": url, "CONNECTION": "keepalive", "threads": "1"})
        try:
            for _ in range(3):
                assert visited(server.ask("GET", "/")[2]) == ["caller", "callee"]
        finally:
            server.stop()
    assert len(accepted) == 3


def test_the_stack_has_sixteen_functions_of_one_handler_and_one_way_in() -> None:
    application = load(CHAIN / "stack.yaml", {})
    assert [function.name for function in application.functions] == [f"chain-{number}" for number in range(1, 17)]
    assert [function.name for function in application.functions if function.ingress] == ["chain-1"]
    assert {function.image for function in application.functions} == {"chain/chain:1.0"}
    assert {function.handler for function in application.functions} == {str(HANDLER)}
    assert application.function("chain-1").calls == tuple(f"chain-{number}" for number in range(2, 17))
    for number in range(2, 17):
        following = (f"chain-{number + 1}",) if number < 16 else ()
        assert application.function(f"chain-{number}").calls == following


@pytest.mark.parametrize("length", [1, 2, 10, 16])
def test_any_length_can_be_selected_and_names_nothing_left_out(length: int) -> None:
    names = "|".join(f"chain-{number}" for number in range(1, length + 1))
    application, _ = select(load(CHAIN / "stack.yaml", {}), f"^({names})$")
    last = application.functions[-1]
    assert (last.name, "NEXT_URL" in last.environment) == (f"chain-{length}", False)
    urls = " ".join(value for function in application.functions for value in function.environment.values())
    assert set(re.findall(r"chain-(\d+)", urls)) == {str(number) for number in range(2, length + 1)}


def test_settings_come_from_the_environment_at_deployment() -> None:
    given = {"CHAIN_SHAPE": "star", "PAYLOAD_BYTES": "4096", "SERVICE_MS": "1.5", "CONNECTION": "keepalive"}
    for function in load(CHAIN / "stack.yaml", given).functions:
        assert given.items() <= dict(function.environment).items()
    defaults = load(CHAIN / "stack.yaml", {}).function("chain-3").environment
    assert (defaults["CHAIN_SHAPE"], defaults["PAYLOAD_BYTES"], defaults["SERVICE_MS"]) == ("nested", "200", "0")
    assert defaults["CONNECTION"] == "per-call"


def handlers() -> list[Path]:
    """Every source file of an application: what is under functions/, the templates apart."""
    folder = CHECKOUT / "functions"
    sources = [path for path in folder.rglob("*") if path.suffix in {".py", ".js", ".rb", ".java"}]
    return [path for path in sources if "templates" not in path.relative_to(folder).parts]


def test_no_handler_knows_of_the_testbed() -> None:
    """Handlers are what any OpenFaaS user would write: no address, no route, no import of the lab's."""
    forbidden = re.compile(
        r"\bvips?\b|\beips?\b|virtual ip|directfaas|testbed|mininet|openflow|\bovs\b|\bsdn\b|\bdirect\b|"
        r"\b10\.(96|2\d\d)\.|172\.31\.|gateway\.openfaas\b|/function/|route",
        re.IGNORECASE,
    )
    assert HANDLER / "handler.py" in handlers()
    found = {str(path): match.group() for path in handlers() if (match := forbidden.search(path.read_text()))}
    assert found == {}


def test_no_template_imports_the_testbed() -> None:
    templates = list((CHECKOUT / "functions" / "templates").rglob("*.py"))
    assert templates
    assert not [path for path in templates if re.search(r"^\s*(from|import) testbed", path.read_text(), re.MULTILINE)]

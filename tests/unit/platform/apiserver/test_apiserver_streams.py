"""Streams of a real apiserver: watches under load, slow readers, logs that are followed, and nothing left of any."""

from __future__ import annotations

import json
import re
import socket
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from testbed.model.cluster import ClusterState
from tests.authority import AS_OPERATOR, as_agent
from tests.unit.platform.apiserver.apiserver_rig import ApiserverProcess, deployment

PLANTED = "planted-value-7f3a"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ApiserverProcess]:
    server = ApiserverProcess(tmp_path)
    try:
        yield server
    finally:
        server.end()


def eventually(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def scale(server: ApiserverProcess, name: str, replicas: int) -> None:
    body = {"serviceName": name, "replicas": replicas}
    server.call("POST", f"/system/scale-function/{name}", body).raise_for_status()


def churn(server: ApiserverProcess, rounds: int) -> None:
    """Each round makes and removes 100 instances: 302 versions."""
    for _ in range(rounds):
        scale(server, "echo", 100)
        scale(server, "echo", 0)
        for instance in server.state()["instances"]:
            server.call("DELETE", f"/instances/{instance['id']}").raise_for_status()


def resident_mb(server: ApiserverProcess) -> float:
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{server.pid}/status").read_text())
    assert found
    return int(found[1]) / 1024


def stuck_watcher(server: ApiserverProcess) -> socket.socket:
    """A connection that asks for a watch and reads nothing of it."""
    host, port = server.url.removeprefix("http://").split(":")
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.connect((host, int(port)))
    connection.sendall(
        f"GET /watch HTTP/1.1\r\nHost: x\r\nAuthorization: {AS_OPERATOR['Authorization']}\r\n\r\n".encode()
    )
    return connection


def test_a_watcher_under_load_gets_every_version(server: ApiserverProcess) -> None:
    server.call("POST", "/system/functions", deployment("echo")).raise_for_status()
    with server.call("GET", "/watch", stream=True) as watch:
        lines = watch.iter_lines(chunk_size=None)
        state = ClusterState().apply(json.loads(next(lines)))
        churn(server, 3)
        last = server.state()
        while state.version < last["version"]:
            event = json.loads(next(lines))
            assert event["type"] == "HEARTBEAT" or event["version"] == state.version + 1
            state = state.apply(event)
        assert state.to_json() == last


def test_watchers_that_read_nothing_cost_little_and_leave_nothing(server: ApiserverProcess) -> None:
    large = deployment("echo", annotations={"text": "x" * 200_000}, labels={"com.openfaas.scale.min": "0"})
    server.call("POST", "/system/functions", large).raise_for_status()
    before_mb, descriptors = resident_mb(server), server.descriptors()
    stuck = [stuck_watcher(server) for _ in range(40)]
    try:
        for replicas in range(40):  # 40 watchers x 40 changes x 200 kB would be 320 MB, were they queued for each
            scale(server, "echo", replicas % 2)
        assert resident_mb(server) - before_mb < 100
    finally:
        for connection in stuck:
            connection.close()
    eventually(lambda: server.descriptors() <= descriptors, "connections are still open")


def test_a_watcher_that_is_too_far_behind_gets_a_snapshot(server: ApiserverProcess) -> None:
    server.call("POST", "/system/functions", deployment("echo")).raise_for_status()
    old = server.state()["version"]
    churn(server, 1)
    server.end()
    server.start()  # the history of changes is not kept over a restart
    with server.call("GET", f"/watch?since={old}", stream=True) as watch:
        first = json.loads(next(watch.iter_lines(chunk_size=None)))
    assert (first["type"], first["object"]) == ("SNAPSHOT", server.state())


def test_logs_are_followed_until_the_reader_goes(server: ApiserverProcess) -> None:
    server.call("POST", "/system/functions", deployment("echo")).raise_for_status()
    server.log("echo.openfaas-fn.1", "one\ntwo\n")
    descriptors = server.descriptors()
    with server.call("GET", "/system/logs?name=echo&tail=1&follow=true", stream=True) as answer:
        messages = (json.loads(line) for line in answer.iter_lines(chunk_size=None))
        assert next(messages)["text"] == "two"
        server.log("echo.openfaas-fn.1", "three\n")
        assert next(messages)["text"] == "three"
        server.log("echo.openfaas-fn.2", "another instance\n")
        assert next(messages)["instance"] == "echo.openfaas-fn.2"
    eventually(lambda: server.descriptors() <= descriptors, "the stream is still open")


def test_a_log_of_any_size_is_read_slowly_without_being_held(server: ApiserverProcess) -> None:
    server.log("echo.openfaas-fn.1", f"{'x' * 2000}\n" * 20_000)  # 40 MB, and no such function any more
    before_mb = resident_mb(server)
    with server.call("GET", "/system/logs?name=echo", stream=True) as answer:
        lines = answer.iter_lines()
        next(lines)
        time.sleep(0.5)  # the server would go on reading by itself now
        assert server.call("GET", "/healthz").text == "OK"
        assert resident_mb(server) - before_mb < 20
        assert sum(1 for _ in lines) == 19_999


def everything(server: ApiserverProcess, paths: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """All that an observer may see: answers, the watch from its beginning, and the files of the state folder."""
    for path in paths:
        yield path, server.call("GET", path).text
    with server.call("GET", "/watch?since=1", stream=True) as watch:
        lines = watch.iter_lines(chunk_size=None)
        version, told = server.state()["version"], ""
        while f'"version":{version},' not in told:
            told += next(lines).decode() + "\n"
    yield "/watch", told
    for file in server.folder.rglob("*"):
        if file.is_file() and not file.name.startswith("db"):
            yield str(file), file.read_text(errors="replace")


def test_a_secrets_value_is_seen_nowhere(server: ApiserverProcess) -> None:
    def secret(name: str, **value: Any) -> dict[str, Any]:
        return {"name": name, "namespace": "t", **value}

    raw = b64encode(PLANTED.encode()).decode()
    answers = [
        server.call(method, "/system/secrets", body)
        for method, body in (
            ("POST", secret("a", value=PLANTED)),
            ("POST", secret("a", value=PLANTED)),
            ("PUT", secret("a", rawValue=raw)),
            ("PUT", secret("none", value=PLANTED)),
            ("POST", secret("b", rawValue=PLANTED)),  # is no base64
            ("POST", secret("UPPER", value=PLANTED)),
            ("POST", secret("gateway-token", value=PLANTED)),
            ("POST", {"name": PLANTED.upper(), "value": [PLANTED]}),
            ("POST", f'{{"name": "{PLANTED}'.encode()),
        )
    ]
    assert [one.status_code for one in answers] == [202, 409, 202, 404, 400, 400, 202, 400, 400]
    server.call("POST", "/system/functions", deployment("one", "t", secrets=["a", "gateway-token"])).raise_for_status()
    server.ready("one.t")
    server.call("PUT", "/system/secrets", secret("a", value=PLANTED + "2")).raise_for_status()
    paths = (
        *("/state", "/tokens", "/metrics", "/instances/one.t.1", "/system/namespaces", "/system/namespace/t"),
        *("/system/secrets?namespace=t", "/system/functions?namespace=t", "/system/function/one?namespace=t&usage=1"),
        *("/system/logs?name=one&namespace=t", "/system/info", "/healthz"),
    )
    seen = [*((one.url, one.text) for one in answers[:7]), *everything(server, paths)]
    assert len(seen) > 20
    for where, text in seen:
        assert PLANTED not in text, where
        assert raw.rstrip("=") not in text, where
    argv = Path(f"/proc/{server.pid}/cmdline").read_bytes() + Path(f"/proc/{server.pid}/environ").read_bytes()
    assert PLANTED.encode() not in argv
    given = server.call("GET", "/instances/one.t.2/secrets", headers=as_agent(3)).json()
    assert given["a"] == b64encode(f"{PLANTED}2".encode()).decode()


def test_half_a_request_holds_nobody_up(server: ApiserverProcess) -> None:
    with closing(stuck_watcher(server)) as one:
        proof = AS_OPERATOR["Authorization"]
        head = f"POST /system/functions HTTP/1.1\r\nHost: x\r\nAuthorization: {proof}\r\nContent-Length: 100\r\n\r\n{{"
        one.sendall(head.encode())
        assert server.call("GET", "/system/namespaces").json() == ["openfaas-fn"]

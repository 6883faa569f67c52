"""The process: its start, the apiserver's absence, an inherited listener, its end."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.ports import free_port
from tests.unit.platform.gateway.fake_apiserver import FakeApiserver
from tests.unit.platform.gateway.gateway_processes import CHECKOUT, GatewayProcess
from tests.unit.platform.gateway.gateway_rig import Rig, rig
from tests.unit.platform.gateway.loopback import read_all, read_head, request


@pytest.fixture
def lab(tmp_path: Path) -> Rig:
    with rig(tmp_path) as one:
        yield one


def test_the_last_state_serves_while_the_apiserver_is_away_and_the_new_one_is_learnt(lab: Rig) -> None:
    lab.backend("f")
    port = lab.apiserver.port
    old = lab.apiserver
    old.stop()
    for _ in range(5):
        assert lab.gateway.request("GET", "/function/f")[0] == 200
        time.sleep(0.1)
    lab.apiserver = FakeApiserver(port)
    lab.apiserver.state, lab.apiserver.events = old.state, old.events
    lab.backend("later")
    assert lab.gateway.request("GET", "/function/later")[0] == 200
    assert lab.gateway.request("GET", "/function/f")[0] == 200


def test_an_apiserver_that_forgot_everything_is_believed(lab: Rig) -> None:
    lab.backend("f")
    port = lab.apiserver.port
    lab.apiserver.stop()
    lab.apiserver = FakeApiserver(port)
    deadline_s = time.monotonic() + 15
    while lab.gateway.request("GET", "/function/f")[0] != 404:
        assert time.monotonic() < deadline_s
        time.sleep(0.05)


def test_an_inherited_listener_serves_as_well_as_the_port(tmp_path: Path) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    apiserver = FakeApiserver()
    gateway = GatewayProcess(tmp_path, apiserver.port, free_port(), {"TESTBED_LISTEN_FD": str(listener.fileno())})
    listener.close()
    try:
        assert request("127.0.0.1", port, "GET", "/ghost")[0] == 404
        assert gateway.request("GET", "/ghost")[0] == 404
    finally:
        assert gateway.stop() == 0
        apiserver.stop()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))


def test_sigterm_lets_running_exchanges_finish_and_takes_no_new_ones(lab: Rig) -> None:
    def slowly(connection: socket.socket) -> None:
        read_head(connection)
        time.sleep(0.6)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlate")

    lab.backend("slowly", slowly)
    idle, busy = lab.gateway.connect(), lab.gateway.connect()
    busy.sendall(b"GET /function/slowly HTTP/1.1\r\nHost: g\r\n\r\n")
    time.sleep(0.2)
    lab.gateway.process.terminate()
    assert idle.recv(1) == b""
    with pytest.raises(OSError):
        lab.gateway.connect()
    answer = read_all(busy)
    assert answer.endswith(b"late") and b"Connection: close" in answer
    assert lab.gateway.process.wait(30) == 0


def test_sigterm_ends_an_idle_gateway_at_once(lab: Rig) -> None:
    started_s = time.monotonic()
    assert lab.gateway.stop() == 0
    assert time.monotonic() - started_s < 5  # far from the time that running exchanges are given


@pytest.mark.parametrize(
    ("name", "value", "code", "sentence"),
    [
        (
            "gateway_upstream",
            "sometimes",
            2,
            "gateway: gateway_upstream=sometimes is unknown; write pooled or per-call",
        ),
        ("TESTBED_LISTEN_FD", "99", 3, "gateway: TESTBED_LISTEN_FD=99 is no listening socket"),
        ("basic_auth", "true", 3, "basic-auth-user cannot be read; create it or set secret_mount_path"),
    ],
)
def test_a_wrong_setting_is_one_sentence_and_an_exit_code(
    tmp_path: Path, name: str, value: str, code: int, sentence: str
) -> None:
    run = _start(tmp_path, {name: value, "port": str(free_port())})
    assert run.returncode == code
    assert sentence in run.stderr
    assert "Traceback" not in run.stderr


def test_an_occupied_port_is_named(tmp_path: Path) -> None:
    with socket.create_server(("0.0.0.0", 0)) as taken:
        port = taken.getsockname()[1]
        run = _start(tmp_path, {"port": str(port)})
    assert run.returncode == 3
    assert f"gateway: port {port} cannot be listened on (Address already in use)" in run.stderr


def _start(folder: Path, settings: dict[str, str]) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(CHECKOUT), "secret_mount_path": str(folder)}
    return subprocess.run(
        [sys.executable, "-m", "testbed.platform.gateway.process"],
        env={**environment, **settings},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )

"""The real programs, each a process of its own on the loopback: a gateway (or provider proxy), a function server."""

from __future__ import annotations

import base64
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.ports import free_port
from tests.unit.platform.gateway.fake_apiserver import FakeApiserver
from tests.unit.platform.gateway.loopback import request, wait_until

CHECKOUT = Path(__file__).resolve().parents[4]
TEMPLATE = CHECKOUT / "functions" / "templates" / "python3-http"
GATEWAY = "testbed.platform.gateway.process"
USER, PASSWORD = "admin", "secret"
BASIC = {"Authorization": "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()}


class FunctionProcess:
    """A function server of the python3-http template; its output is `log`."""

    def __init__(
        self, folder: Path, handler: Path | str, address: str, port: int, environment: Mapping[str, str] | None = None
    ) -> None:
        self.address, self.port = address, port
        folder.mkdir(parents=True)
        shutil.copytree(TEMPLATE, folder, dirs_exist_ok=True)
        if isinstance(handler, Path):
            shutil.copytree(handler, folder / "function")
        else:
            (folder / "function").mkdir()
            (folder / "function" / "handler.py").write_text(handler)
        self.log = folder / "function.log"
        settings = {"port": str(port), "listen_address": address, "FUNCTION_NAME": "f", **(environment or {})}
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "index.py"],
                cwd=folder,
                env={"PATH": os.environ["PATH"], **settings},
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        wait_until(self.ready)

    def ready(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        try:
            return self.request("GET", "/_/ready")[0] == 200
        except OSError:
            return False

    def request(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, http.client.HTTPMessage, bytes]:
        return request(self.address, self.port, method, path, body, headers)

    def invocations(self) -> list[dict[str, Any]]:
        lines = self.log.read_text().splitlines()
        return [json.loads(line)["invocation"] for line in lines if line.startswith('{"invocation"')]

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(15)


class GatewayProcess:
    """A gateway process in front of an apiserver."""

    def __init__(
        self,
        folder: Path,
        apiserver_port: int,
        function_port: int,
        environment: Mapping[str, str] | None = None,
        module: str = GATEWAY,
    ) -> None:
        secrets = folder / "secrets"
        secrets.mkdir(parents=True, exist_ok=True)
        (secrets / "basic-auth-user").write_text(USER)
        (secrets / "basic-auth-password").write_text(PASSWORD + "\n")
        self.port = free_port()
        self.metrics_port = free_port() if module == GATEWAY else self.port
        self.function_port = function_port
        settings = {
            "port": str(self.port),
            "metrics_port": str(self.metrics_port),
            "function_port": str(function_port),
            "apiserver_url": f"http://127.0.0.1:{apiserver_port}",
            "basic_auth": "true",
            "secret_mount_path": str(secrets),
            **(environment or {}),
        }
        self.log = folder / "gateway.log"
        descriptor = settings.get("TESTBED_LISTEN_FD")
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", module],
                cwd=folder,
                env={"PATH": os.environ["PATH"], "PYTHONPATH": str(CHECKOUT), **settings},
                stdout=log,
                stderr=subprocess.STDOUT,
                pass_fds=[int(descriptor)] if descriptor else [],
            )
        wait_until(self._listens)

    def _listens(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        try:
            return self.monitor("/metrics")[0] == 200
        except OSError:
            return False

    def request(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float = 20.0,
    ) -> tuple[int, http.client.HTTPMessage, bytes]:
        return request("127.0.0.1", self.port, method, path, body, headers, timeout_s)

    def monitor(self, path: str, headers: Mapping[str, str] = BASIC) -> tuple[int, http.client.HTTPMessage, bytes]:
        return request("127.0.0.1", self.metrics_port, "GET", path, None, headers)

    def metric(self, name: str, **labels: str) -> float:
        """A sample's value; 0 when it is not there."""
        text = ",".join(f'{key}="{value}"' for key, value in sorted(labels.items()))
        wanted = f"{name}{{{text}}} " if text else f"{name} "
        lines = self.monitor("/metrics")[2].decode().splitlines()
        return float(next((line[len(wanted) :] for line in lines if line.startswith(wanted)), 0))

    def wait_for(self, apiserver: FakeApiserver) -> None:
        """Until the gateway works with the apiserver's present state."""
        wait_until(lambda: self.metric("testbed_gateway_resource_version") >= apiserver.state.version)

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=20)

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(15)

"""Function servers of the python3-http template, each a real process on a loopback port."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).resolve().parents[3]
TEMPLATE = CHECKOUT / "functions" / "templates" / "python3-http"
CHAIN = CHECKOUT / "functions" / "chain"

Answer = tuple[int, http.client.HTTPMessage, bytes]


class Server:
    """A function server with `handler` (source text, or a folder); its output is `log`."""

    def __init__(
        self,
        folder: Path,
        handler: str | Path,
        environment: Mapping[str, str] | None = None,
        pass_fds: tuple[int, ...] = (),
    ) -> None:
        shutil.copytree(TEMPLATE, folder)
        if isinstance(handler, Path):
            shutil.copytree(handler, folder / "function")
        else:
            (folder / "function").mkdir()
            (folder / "function" / "handler.py").write_text(handler)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = folder / "log"
        settings = {"port": str(self.port), "listen_address": "127.0.0.1", "FUNCTION_NAME": folder.name}
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "index.py"],
                cwd=folder,
                env={"PATH": os.environ["PATH"], **settings, **(environment or {})},
                stdout=log,
                stderr=subprocess.STDOUT,
                pass_fds=pass_fds,
            )
        deadline_s = time.monotonic() + 20
        while not self._ready():
            assert time.monotonic() < deadline_s, "the function server did not become ready"
            time.sleep(0.01)

    def _ready(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        try:
            return self.ask("GET", "/_/ready")[0] == 200
        except OSError:
            return False

    def ask(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request(method, path, body, dict(headers or {}))
            response = connection.getresponse()
            return response.status, response.headers, response.read()
        finally:
            connection.close()

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=20)

    def records(self) -> list[dict[str, Any]]:
        lines = self.log.read_text().splitlines()
        return [json.loads(line)["invocation"] for line in lines if line.startswith('{"invocation"')]

    def stop(self) -> int:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(20)

"""Function servers of any template, each a real process on a loopback port."""

from __future__ import annotations

import http.client
import json
import shlex
import signal
import socket
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from testbed.model.application import Application, FunctionSpec
from testbed.platform.images import build as images
from testbed.platform.images.tools import PROGRAM_PATH
from tests.ports import free_port

CHECKOUT = Path(__file__).resolve().parents[3]
TEMPLATES = CHECKOUT / "functions" / "templates"
HANDLER_FILES = {
    "python3-http": "handler.py",
    "node20": "handler.js",
    "ruby": "handler.rb",
    "java17": "src/main/java/com/openfaas/function/Handler.java",
}
CHAIN = CHECKOUT / "functions" / "chain"

Answer = tuple[int, http.client.HTTPMessage, bytes]


def build(folder: Path, handler: str | Path, language: str) -> Path:
    """The image of a function, made in `folder` as deploying it does. `handler`: source text, or a folder."""
    if isinstance(handler, str):
        source = folder / "source"
        file = source / HANDLER_FILES[language]
        file.parent.mkdir(parents=True)
        file.write_text(handler)
        handler = source
    function = FunctionSpec("f", language, str(handler), "f")
    images.build(Application("a", (function,)), TEMPLATES, folder / "images")
    return (folder / "images" / "f").resolve()


class Server:
    """A function server with `handler` (source text, or a folder); its output is `log`.

    `image`: one of `build`, where compiling for each server would take too long.
    """

    def __init__(
        self,
        folder: Path,
        handler: str | Path,
        environment: Mapping[str, str] | None = None,
        pass_fds: tuple[int, ...] = (),
        *,
        language: str = "python3-http",
        image: Path | None = None,
    ) -> None:
        folder.mkdir(parents=True)
        image = image or build(folder, handler, language)
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = folder / "log"
        settings = {"port": str(self.port), "listen_address": "127.0.0.1", "FUNCTION_NAME": folder.name}
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                shlex.split(images.read_template(image).fprocess),
                cwd=image,
                env={"PATH": PROGRAM_PATH, "LANG": "C.UTF-8", **settings, **(environment or {})},
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

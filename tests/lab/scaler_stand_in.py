"""A scaler that knows one thing: a function that is asked for gets one replica. Where a lab has none of its own."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import requests

from testbed import addressing
from testbed.network.lab import Lab

REFUSED_LABEL = "autoscaling.keda.sh/maxReplicaCount"


class _Activation(BaseHTTPRequestHandler):
    asked: ClassVar[list[str]] = []

    def do_POST(self) -> None:
        name = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["function"]
        self.asked.append(name)
        function, _, namespace = name.rpartition(".")
        url = f"{addressing.APISERVER_URL}/system"
        found = requests.get(f"{url}/function/{function}", params={"namespace": namespace}, timeout=5)
        if found.status_code == 404:
            return self._answer(404, {"error": "unknown"})
        if (found.json().get("annotations") or {}).get(REFUSED_LABEL) == "0":
            return self._answer(409, {"error": "it will not be scaled"})
        if not found.json()["replicas"]:
            body = {"serviceName": function, "namespace": namespace, "replicas": 1}
            requests.post(f"{url}/scale-function/{function}", json=body, timeout=5)
        return self._answer(202, {"replicas": 1})

    def _answer(self, status: int, body: dict[str, object]) -> None:
        text = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def stand_in(lab: Lab) -> Iterator[None]:
    """Answers on the scaler's address until the block ends, unless the lab's own scaler does."""
    with lab.inside():
        try:
            server = ThreadingHTTPServer((addressing.CONTROL_PLANE_IP, addressing.SCALER_PORT), _Activation)
        except OSError:
            yield
            return
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()  # in the lab's namespace, as its children will be
        try:
            yield
        finally:
            server.shutdown()
            thread.join()
            server.server_close()

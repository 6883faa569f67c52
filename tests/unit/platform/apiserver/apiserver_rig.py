"""A real apiserver process on loopback, for tests."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import requests

from testbed.model.cluster import Host, Role
from testbed.model.credentials import LAB_KEY, file_of
from tests.authority import AS_OPERATOR, lab_folder
from tests.ports import free_port

HOSTS = (Host("gateway", Role.GATEWAY, 1, 1, "10.201.0.1"),)


class ApiserverProcess:
    """Its state folder holds `functions` (logs) and one built image, "i"; `output` is what it has printed."""

    def __init__(self, folder: Path) -> None:
        self.folder = lab_folder(folder)
        (folder / "functions").mkdir()
        (folder / "images" / "i").mkdir(parents=True)
        (folder / "images" / "i" / "template.yml").write_text("fprocess: python index.py")
        cluster = {"nodes": [1, 2, 3], "hosts": [host.to_json() for host in HOSTS]}
        (folder / "cluster.json").write_text(json.dumps(cluster))
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self._argv = [
            *(sys.executable, "-m", "testbed.platform.apiserver.process"),
            *("--cluster", str(folder / "cluster.json"), "--database", str(folder / "db")),
            *("--images", str(folder / "images"), "--logs", str(folder / "functions")),
            *("--listen", f"127.0.0.1:{port}", "--lab-key", str(file_of(folder, LAB_KEY))),
            *("--basic-auth", str(folder / "secrets")),
        ]
        self.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def output(self) -> str:
        return (self.folder / "apiserver.out").read_text()

    def start(self) -> None:
        with (self.folder / "apiserver.out").open("ab") as output:
            self._process = subprocess.Popen(self._argv, stdout=output, stderr=output)
        deadline = time.monotonic() + 60
        while True:
            try:
                requests.get(f"{self.url}/healthz", timeout=5)
                return
            except requests.ConnectionError:
                assert time.monotonic() < deadline
                assert self._process.poll() is None
                time.sleep(0.02)

    def end(self, number: signal.Signals = signal.SIGKILL) -> int:
        self._process.send_signal(number)
        return self._process.wait(30)

    def call(
        self, method: str, path: str, body: Any = None, headers: Mapping[str, str] = AS_OPERATOR, **options: Any
    ) -> requests.Response:
        """A request, by default the operator's; `body` is sent as JSON unless it is bytes."""
        data = body if isinstance(body, bytes) or body is None else json.dumps(body)
        return requests.request(method, f"{self.url}{path}", data=data, headers=headers, timeout=30, **options)

    def state(self) -> dict[str, Any]:
        return self.call("GET", "/state").json()

    def ready(self, function: str) -> None:
        """Report every instance of `name.namespace` ready."""
        for one in self.state()["instances"]:
            if f"{one['function']}.{one['namespace']}" == function and one["phase"] == "Pending":
                self.call("PUT", f"/instances/{one['id']}/phase", {"phase": "Ready"}).raise_for_status()

    def log(self, instance: str, text: str) -> None:
        """Let an instance write."""
        with (self.folder / "functions" / f"{instance}.log").open("a") as file:
            file.write(text)

    def descriptors(self) -> int:
        """How many files and connections the process has open."""
        return len(list(Path(f"/proc/{self.pid}/fd").iterdir()))


def deployment(name: str, namespace: str = "openfaas-fn", **more: Any) -> Mapping[str, Any]:
    """A FunctionDeployment of the image "i"."""
    return {"service": name, "image": "i", "namespace": namespace, **more}

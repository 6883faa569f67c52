"""Which processes make up the control plane and the gateway, and how each is started.

They are named as command lines only: the network layer imports nothing of the platform or the controller.
"""

from __future__ import annotations

import json
import secrets
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from testbed import addressing
from testbed.model import Host
from testbed.network.supervisor import ProcessSpec, Supervisor

if TYPE_CHECKING:
    from testbed.network.daemon import LabConfig

CHECKOUT = Path(__file__).resolve().parents[2]


class PlatformProcesses:
    """Starts apiserver, controller, node agents, scaler and gateway under the supervisor."""

    def __init__(self, config: LabConfig, supervisor: Supervisor, hosts: list[Host]) -> None:
        self._config = config
        self._supervisor = supervisor
        self._state = config.state_folder
        self._cluster_file = self._state / "cluster.json"
        cluster = {"nodes": list(config.nodes), "hosts": [host.to_json() for host in hosts]}
        self._cluster_file.write_text(json.dumps(cluster))
        self._environment = {
            "PYTHONPATH": str(CHECKOUT),
            "PYTHONUNBUFFERED": "1",
            "TESTBED_STATE": str(self._state),
            "TESTBED_LAB": config.name,
        }
        self._make_credentials()

    def start_control_plane(self) -> None:
        """Controller, apiserver, node agents and scaler: they wait for each other by themselves."""
        listen = f"{addressing.CONTROL_PLANE_IP}:{addressing.APISERVER_PORT}"
        self._start(
            "controller", "controllers.launcher",
            "--apiserver", addressing.APISERVER_URL, "--listen", addressing.CONTROL_PLANE_IP,
        )  # fmt: skip
        self._start(
            "apiserver", "testbed.platform.apiserver",
            "--cluster", str(self._cluster_file), "--database", str(self._state / "apiserver.db"),
            "--images", str(self._state / "images"), "--logs", str(self._state / "functions"),
            "--lab", self._config.name, "--listen", listen,
        )  # fmt: skip
        for node in self._config.nodes[1:]:
            self._start(
                f"agent{node}", "testbed.platform.agent",
                "--node", str(node), "--apiserver", addressing.APISERVER_URL,
                "--controller", addressing.CONTROLLER_URL, "--lab-socket", str(self._state / "lab.sock"),
                "--images", str(self._state / "images"), "--logs", str(self._state / "functions"),
            )  # fmt: skip

        if self._config.scaler != "off":
            dry_run = ("--dry-run",) if self._config.scaler == "dry-run" else ()
            self._start(
                "scaler", "testbed.platform.scaler",
                "--apiserver", addressing.APISERVER_URL, "--listen", addressing.CONTROL_PLANE_IP,
                "--preset", self._config.scaler_preset, "--controller", addressing.CONTROLLER_URL,
                "--log", str(self._state / "logs" / "scaler-decisions.ndjson"), *dry_run,
            )  # fmt: skip

    def start_gateway(self, host_pid: int) -> None:
        """The gateway, in its host; it inherits the listening socket that serves the machine's loopback."""
        fd = self._config.listen_fd
        environment = {
            "apiserver_url": addressing.APISERVER_URL,
            "basic_auth": "true",
            "secret_mount_path": str(self._state / "secrets"),
            **({} if fd is None else {"TESTBED_LISTEN_FD": str(fd)}),
            **self._config.gateway_environment,
        }
        self._start(
            "gateway", "testbed.platform.gateway",
            prefix=("nsenter", f"--net=/proc/{host_pid}/ns/net"),
            environment=environment, fds=() if fd is None else (fd,),
        )  # fmt: skip

    def _start(
        self, name: str, module: str, *arguments: str,
        prefix: tuple[str, ...] = (), environment: dict[str, str] | None = None, fds: tuple[int, ...] = (),
    ) -> None:  # fmt: skip
        argv = (*prefix, sys.executable, "-m", module, *arguments)
        self._supervisor.start(ProcessSpec(name, argv, {**self._environment, **(environment or {})}, fds))

    def _make_credentials(self) -> None:
        folder = self._state / "secrets"
        folder.mkdir(mode=0o700)
        (folder / "basic-auth-user").write_text("admin")
        (folder / "basic-auth-password").write_text(secrets.token_urlsafe(18))

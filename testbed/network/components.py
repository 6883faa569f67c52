"""Which processes make up the control plane and the gateway, and how each is started.

They are named as command lines only: the network layer imports nothing of the platform or the controller.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import sys
from pathlib import Path
from typing import Any

from testbed.model import addressing
from testbed.model.checkout import CHECKOUT
from testbed.model.cluster import DEFAULT_NAMESPACE, Host, Role
from testbed.model.credentials import (
    BASIC_AUTH_FILES,
    CREDENTIAL_VARIABLE,
    KEY_BYTES,
    LAB_KEY,
    OPERATOR,
    component,
    credential,
    file_of,
)
from testbed.network import foreign
from testbed.network.config import LabConfig
from testbed.network.process import skeleton
from testbed.network.process.place import Place, give
from testbed.network.process.supervisor import ProcessSpec, Supervisor

NO_CERTIFICATES = {"SSL_CERT_FILE": os.devnull}
"""For aiohttp, which reads all the machine's certificates when it is imported; nothing here speaks TLS."""

_BASIC_AUTH = {"basic_auth": "true", "secret_mount_path": str(skeleton.SECRETS)}
_MANY_FILES = 1 << 20
"""A gateway has connections of everybody; what the lab's own processes may have is the bound."""
METRICS_READER = "metrics-reader"
"""What the scaler shows the gateway, which may be a program of somebody else's, instead of its own credential."""


class Components:
    """Starts apiserver, controller, node agents, scaler and gateway under the supervisor."""

    def __init__(self, config: LabConfig, supervisor: Supervisor, hosts: list[Host]) -> None:
        self._config = config
        self._supervisor = supervisor
        self._state = config.state_folder
        self._gateway_eip = next(host.eip for host in hosts if host.role is Role.GATEWAY)
        self._cluster_file = self._state / "cluster.json"
        cluster = {"nodes": list(config.nodes), "hosts": [host.to_json() for host in hosts]}
        self._cluster_file.write_text(json.dumps(cluster))
        self._environment = {
            "PYTHONPATH": str(CHECKOUT),
            "PYTHONUNBUFFERED": "1",
            "TESTBED_STATE": str(self._state),
            "TESTBED_LAB": config.name,
        }
        self._digests: dict[str, str] = {}
        self._make_credentials()

    def start_control_plane(self) -> None:
        """Controller, apiserver, node agents and scaler: they wait for each other by themselves."""
        listen = f"{addressing.CONTROL_PLANE_IP}:{addressing.APISERVER_PORT}"
        self._start(
            "controller", "controllers.launcher",
            "--apiserver", addressing.APISERVER_URL, "--listen", addressing.CONTROL_PLANE_IP,
            "--switches", ",".join(map(addressing.management_ip, self._config.nodes)), *self._lab_key(),
        )  # fmt: skip
        self._start(
            "apiserver", "testbed.platform.apiserver.process",
            "--cluster", str(self._cluster_file), "--database", str(self._state / "apiserver.db"),
            "--images", str(self._state / "images"), "--logs", str(self._state / "functions"),
            "--lab", self._config.name, "--listen", listen, *self._lab_key(),
            "--basic-auth", str(self._state / "secrets"),
            environment=NO_CERTIFICATES,
        )  # fmt: skip
        for node in self._config.nodes[1:]:
            self._start(
                f"agent{node}", "testbed.platform.agent.process",
                "--node", str(node), "--apiserver", addressing.APISERVER_URL,
                "--controller", addressing.CONTROLLER_URL, "--lab-socket", str(self._state / "lab.sock"),
                "--images", str(self._state / "images"), "--logs", str(self._state / "functions"),
            )  # fmt: skip

        if self._config.scaler != "off":
            dry_run = ("--dry-run",) if self._config.scaler == "dry-run" else ()
            self._start(
                "scaler", "testbed.platform.scaler.process",
                "--apiserver", addressing.APISERVER_URL, "--listen", addressing.CONTROL_PLANE_IP,
                "--preset", self._config.scaler_preset, "--controller", addressing.CONTROLLER_URL,
                "--log", str(self._state / "logs" / "scaler-decisions.ndjson"), *self._lab_key(), *dry_run,
                "--gateway-credential", str(file_of(self._state, METRICS_READER)),
                environment=NO_CERTIFICATES,
            )  # fmt: skip

    def start_gateway(self, host_pid: int) -> None:
        """The gateway, in its host; it inherits the listening socket that serves the machine's loopback.

        A program that takes its place finds a provider on the host's loopback, and the variables of
        OpenFaaS's gateway in its environment; the provider then inherits the listening socket.
        """
        fd = self._config.listen_fd
        is_foreign = bool(self._config.gateway_command)
        name = "provider" if is_foreign else "gateway"
        environment = {
            "apiserver_url": addressing.APISERVER_URL,
            "metrics_readers": self._digests[METRICS_READER],
            "PYTHONPATH": str(skeleton.PACKAGES),
            "PYTHONUNBUFFERED": "1",
            "TESTBED_STATE": str(skeleton.DATA),
            CREDENTIAL_VARIABLE: str(skeleton.SECRETS / name),
            **_BASIC_AUTH,
            **({} if fd is None else {"TESTBED_LISTEN_FD": str(fd)}),
            **self._config.gateway_environment,
        }
        module = f"testbed.platform.gateway.{'provider_proxy' if is_foreign else 'process'}"
        argv = (str(skeleton.PYTHON), "-m", module)
        shown = {**self._operator(), name: file_of(self._state, name).read_bytes()}
        place = self._place(name, secrets=shown, data=self._data_folder(name))
        fds = () if fd is None else (fd,)
        self._supervisor.start(ProcessSpec(name, argv, environment, fds, place=place, host_pid=host_pid))
        if is_foreign:
            self._start_foreign_gateway(host_pid)

    def _start_foreign_gateway(self, host_pid: int) -> None:
        """The gateway program that TESTBED_GATEWAY_CMD named, with OpenFaaS's settings as its chart gives them."""
        provider = f"http://127.0.0.1:{addressing.PROVIDER_PROXY_PORT}/"
        environment = {
            **_BASIC_AUTH,
            "functions_provider_url": provider,
            "logs_provider_url": provider,
            "port": str(addressing.FUNCTION_PORT),
            "read_timeout": "65s",
            "write_timeout": "65s",
            "upstream_timeout": "60s",
            "function_namespace": DEFAULT_NAMESPACE,
            "scale_from_zero": "true",
            "direct_functions": "false",
            "faas_prometheus_host": "127.0.0.1",
            "faas_prometheus_port": str(addressing.PROVIDER_PROXY_PORT),
            **self._config.gateway_environment,
        }
        argv, shown = foreign.in_its_place(self._config.gateway_command, Path(self._config.working_folder))
        place = self._place("gateway", secrets=self._operator(), shown=shown)
        self._supervisor.start(ProcessSpec("gateway", argv, environment, place=place, host_pid=host_pid))

    def _place(self, name: str, **own: Any) -> Place:
        """Where a program of the gateway's host is kept. Two there have no user in common."""
        eip = self._gateway_eip
        user_of = eip if name == "gateway" else addressing.eip(addressing.node_of(eip), addressing.LAST_ID)
        return Place(name, addressing.user_id(self._config.name, user_of), eip, open_files=_MANY_FILES, **own)

    def _data_folder(self, name: str) -> Path:
        """The folder in which a program keeps what is to outlive its process."""
        folder = self._state / name
        folder.mkdir(mode=0o700)
        give(folder, self._place(name).user_id)
        return folder

    def _operator(self) -> dict[str, bytes]:
        """User and password of OpenFaaS's own interface, which its gateways read as files."""
        return {name: (self._state / "secrets" / name).read_bytes() for name in BASIC_AUTH_FILES}

    def _start(self, name: str, module: str, *arguments: str, environment: dict[str, str] | None = None) -> None:
        argv = (sys.executable, "-m", module, *arguments)
        own = {CREDENTIAL_VARIABLE: str(file_of(self._state, name))} if name in self._digests else {}
        self._supervisor.start(ProcessSpec(name, argv, {**self._environment, **own, **(environment or {})}))

    def _lab_key(self) -> tuple[str, str]:
        """For those who check credentials."""
        return "--lab-key", str(file_of(self._state, LAB_KEY))

    def _make_credentials(self) -> None:
        folder = self._state / "secrets"
        folder.mkdir(mode=0o700)
        for file, value in zip(BASIC_AUTH_FILES, ("admin", secrets.token_urlsafe(18)), strict=True):
            (folder / file).write_text(value)
        # Apart from these two, which a gateway program that is not ours reads as well.
        file_of(self._state, LAB_KEY).parent.mkdir(mode=0o700)
        key = secrets.token_bytes(KEY_BYTES)
        _write_private(file_of(self._state, LAB_KEY), key.hex())
        owners = {name: component(name) for name in ("controller", "scaler", "gateway", "provider", METRICS_READER)}
        owners |= {f"agent{node}": component("agent", node) for node in self._config.nodes[1:]}
        for name, owner in {"operator": OPERATOR, **owners}.items():
            text = credential(key, owner)
            _write_private(file_of(self._state, name), text)
            self._digests[name] = hashlib.sha256(text.encode()).hexdigest()


def _write_private(file: Path, text: str) -> None:
    file.touch(mode=0o600)
    file.write_text(text)

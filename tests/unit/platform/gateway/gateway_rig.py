"""A real gateway process, a fake apiserver and any number of backends, all on loopback and without root.

Every rig has a port of its own for its functions and puts each function on an address of its own
in 127/8, so rigs of concurrent test runs do not meet.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.ports import free_port
from tests.unit.platform.gateway.fake_apiserver import FakeApiserver
from tests.unit.platform.gateway.gateway_processes import GATEWAY, GatewayProcess
from tests.unit.platform.gateway.loopback import read_all, wait_until
from tests.unit.platform.gateway.scripted_backend import Backend, echo


class Rig:
    """An apiserver, a gateway and any number of backends, stopped together."""

    def __init__(
        self,
        folder: Path,
        environment: Mapping[str, str] | None = None,
        module: str = GATEWAY,
    ) -> None:
        self.function_port = free_port()
        self.apiserver = FakeApiserver()
        self.gateway = GatewayProcess(folder, self.apiserver.port, self.function_port, environment, module)
        self._backends: list[Backend] = []
        self._addresses = 0
        if module == GATEWAY:
            wait_until(lambda: self.gateway.request("GET", "/function/ghost")[0] == 404)  # 502 before the first state

    def address(self) -> str:
        """An address on which nothing listens yet."""
        self._addresses += 1
        return f"127.2.0.{self._addresses}"

    def backend(
        self, name: str, script: Callable[[socket.socket], None] = echo, namespace: str = "openfaas-fn"
    ) -> Backend:
        """Deploy a function that is answered by `script`."""
        address = self.address()
        backend = Backend(address, self.function_port, script)
        self._backends.append(backend)
        self.apiserver.function(name, address, namespace)
        self.gateway.wait_for(self.apiserver)
        return backend

    def raw(self, data: bytes) -> bytes:
        """Send bytes, and read until the gateway closes the connection."""
        with self.gateway.connect() as connection:
            connection.sendall(data)
            return read_all(connection)

    def opened(self, name: str, namespace: str = "openfaas-fn") -> float:
        """Connections to the function, as the gateway counts them."""
        return self.gateway.metric("testbed_gateway_upstream_connections_total", function_name=f"{name}.{namespace}")

    def counted(self, name: str, code: int, namespace: str = "openfaas-fn") -> float:
        return self.gateway.metric(
            "gateway_function_invocation_total", code=str(code), function_name=f"{name}.{namespace}"
        )

    def stop(self) -> None:
        if self.gateway.process.poll() is None:
            self.gateway.stop()
        self.apiserver.stop()
        for backend in self._backends:
            backend.stop()


@contextmanager
def rig(folder: Path, environment: Mapping[str, str] | None = None, module: str = GATEWAY) -> Iterator[Rig]:
    one = Rig(folder, environment, module)
    try:
        yield one
    finally:
        one.stop()

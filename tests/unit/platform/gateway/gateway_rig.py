"""A real gateway process, a fake apiserver and real function servers, all on loopback and without root.

Every rig has a port of its own for its functions and puts each function on an address of its own
in 127/8, so rigs of concurrent test runs do not meet.
"""

from __future__ import annotations

import asyncio
import base64
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from aiohttp import web

from testbed.model.cluster import ClusterState, Deployment, Function, Instance, Phase, Route

CHECKOUT = Path(__file__).resolve().parents[4]
TEMPLATE = CHECKOUT / "functions" / "templates" / "python3-http"
USER, PASSWORD = "admin", "secret"
BASIC = {"Authorization": "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()}


def free_port(address: str = "127.0.0.1") -> int:
    with socket.socket() as probe:
        probe.bind((address, 0))
        return int(probe.getsockname()[1])


def wait_until(condition: Callable[[], bool], timeout_s: float = 20.0) -> None:
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s, "what was waited for did not happen"
        time.sleep(0.01)


class FakeApiserver:
    """Serves /watch and a few /system routes from a thread; `put` and friends change the state."""

    def __init__(self, port: int | None = None) -> None:
        self.port = port or free_port()
        self.state = ClusterState()
        self.events: list[dict[str, Any]] = []
        self.requests: list[tuple[str, str, dict[str, str], bytes]] = []
        self.answers: dict[tuple[str, str], list[tuple[int, str]]] = {}
        """(method, path) -> (status, body) to give, one after the other; the last one stays."""
        self.watchers = 0
        self._loop = asyncio.new_event_loop()
        self._changed: asyncio.Event | None = None
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.start()

    def start(self) -> None:
        self._thread.start()
        assert self._ready.wait(10)

    def stop(self) -> None:
        """End it; a second time does nothing."""
        if self._loop.is_closed():
            return
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    def change(self, kind: str, value: Any, *, delete: bool = False) -> None:
        event = {
            "type": "DELETE" if delete else "PUT",
            "version": self.state.version + 1,
            "kind": kind,
            "object": value.to_json(),
        }
        self.state = self.state.apply(event)
        self.events.append(event)
        self._loop.call_soon_threadsafe(self._wake)

    def function(
        self,
        name: str,
        vip: str,
        namespace: str = "openfaas-fn",
        *,
        ingress: bool = True,
        phase: Phase | None = Phase.READY,
        **settings: Any,
    ) -> None:
        """Deploy a function with one instance in `phase`, or none; `settings` go to Function."""
        known = self.state.functions.get(f"{name}.{namespace}")
        number = known.id if known else 256 + len(self.state.functions)
        self.change(
            "function",
            Function(namespace, name, number, vip, ingress=ingress, **{"image": "image", "replicas": 1, **settings}),
        )
        if phase is not None:
            self.instance(f"{name}.{namespace}.1", phase)

    def instance(self, name: str, phase: Phase) -> None:
        function, namespace, _ = name.split(".")
        self.change("instance", Instance(name, namespace, function, 2, "10.202.0.9", phase))

    def asked(self, method: str, path: str) -> list[Any]:
        """The JSON bodies of the requests to this path so far."""
        return [
            json.loads(body or b"null")
            for made, target, _, body in list(self.requests)
            if (made, target.partition("?")[0]) == (method, path)
        ]

    def namespace(self, name: str, route: Route) -> None:
        self.change("deployment", Deployment(name, route))

    def _wake(self) -> None:
        if self._changed is not None:
            self._changed.set()
        self._changed = asyncio.Event()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        application = web.Application()
        application.router.add_get("/watch", self._watch)
        application.router.add_route("*", "/{path:.*}", self._other)
        runner = web.AppRunner(application, shutdown_timeout=0.1)
        self._loop.run_until_complete(runner.setup())
        site = web.TCPSite(runner, "127.0.0.1", self.port, reuse_address=True)
        self._loop.run_until_complete(site.start())
        self._ready.set()
        self._loop.run_forever()
        tasks = asyncio.all_tasks(self._loop)
        for task in tasks:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        self._loop.run_until_complete(runner.cleanup())
        self._loop.close()

    async def _watch(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        since = int(request.query.get("since", -1))
        if since < 0 or since > self.state.version:
            position = len(self.events)
            snapshot = {"type": "SNAPSHOT", "version": self.state.version, "object": self.state.to_json()}
            await response.write(json.dumps(snapshot).encode() + b"\n")
        else:
            position = sum(1 for event in self.events if event["version"] <= since)
        self.watchers += 1
        try:
            while True:
                changed = self._changed = self._changed or asyncio.Event()
                while position < len(self.events):
                    await response.write(json.dumps(self.events[position]).encode() + b"\n")
                    position += 1
                try:
                    await asyncio.wait_for(changed.wait(), 0.5)
                except TimeoutError:
                    await response.write(b'{"type": "HEARTBEAT", "version": %d}\n' % self.state.version)
        finally:
            self.watchers -= 1

    async def _other(self, request: web.Request) -> web.StreamResponse:
        self.requests.append((request.method, request.path_qs, dict(request.headers), await request.read()))
        given = self.answers.get((request.method, request.path))
        if given:
            status, text = given.pop(0) if len(given) > 1 else given[0]
            return web.Response(status=status, text=text)
        if request.path == "/system/logs":
            response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
            await response.prepare(request)
            for number in range(3):
                await response.write(b'{"text": "line %d"}\n' % number)
                await asyncio.sleep(0.05)
            return response
        return web.json_response({"method": request.method, "path": request.path_qs}, status=202)


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
        module: str = "testbed.platform.gateway.process",
    ) -> None:
        secrets = folder / "secrets"
        secrets.mkdir(parents=True, exist_ok=True)
        (secrets / "basic-auth-user").write_text(USER)
        (secrets / "basic-auth-password").write_text(PASSWORD + "\n")
        self.port = free_port()
        self.metrics_port = free_port() if module == "testbed.platform.gateway.process" else self.port
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

    def monitor(self, path: str) -> tuple[int, http.client.HTTPMessage, bytes]:
        return request("127.0.0.1", self.metrics_port, "GET", path)

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


def echo(connection: socket.socket) -> None:
    """A backend's script: answers every request with a JSON description of it. /close ends the connection after."""
    while True:
        head = read_head(connection)
        if not head:
            return
        head, _, body = head.partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        headers = [line.split(": ", 1) for line in lines]
        names = {name.lower(): value for name, value in headers}
        length, chunked = int(names.get("content-length", 0)), names.get("transfer-encoding") == "chunked"
        while len(body) < length or (chunked and not body.endswith(b"0\r\n\r\n")):
            piece = connection.recv(65536)
            if not piece:
                return
            body += piece
        method, target, _ = first.split(" ")
        answer = {"method": method, "target": target, "headers": headers, "body": body.decode("latin-1")}
        text = json.dumps(answer).encode()
        reply = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(text)
        connection.sendall(reply if method == "HEAD" else reply + text)  # in one piece: no delayed acknowledgement
        if target == "/close" or names.get("connection") == "close":
            return


def canned(*answers: bytes) -> Callable[[socket.socket], None]:
    """A backend's script: sends these bytes for the first, second, … request of a connection, then closes it."""

    def script(connection: socket.socket) -> None:
        for answer in answers:
            if not read_head(connection):
                return
            connection.sendall(answer)

    return script


class Backend:
    """A scripted upstream: `script(connection, request bytes)` decides what each connection is sent."""

    def __init__(self, address: str, port: int, script: Callable[[socket.socket], None]) -> None:
        self.accepted = 0
        self._script = script
        self._listener = socket.create_server((address, port), backlog=64)
        self._open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.accepted += 1
            self._open.append(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            self._script(connection)
        except OSError:
            pass
        finally:
            connection.close()

    def stop(self) -> None:
        self._listener.close()
        for connection in self._open:
            connection.close()


def read_head(connection: socket.socket) -> bytes:
    """Everything up to and including the blank line (and what came with it); nothing at the end."""
    data = b""
    while b"\r\n\r\n" not in data:
        piece = connection.recv(65536)
        if not piece:
            return data
        data += piece
    return data


def read_all(connection: socket.socket) -> bytes:
    data = b""
    while piece := connection.recv(65536):
        data += piece
    return data


def request(
    address: str,
    port: int,
    method: str,
    path: str,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
    timeout_s: float = 20.0,
) -> tuple[int, http.client.HTTPMessage, bytes]:
    connection = http.client.HTTPConnection(address, port, timeout=timeout_s)
    try:
        connection.request(method, path, body, dict(headers or {}))
        response = connection.getresponse()
        return response.status, response.headers, response.read()
    finally:
        connection.close()


class Rig:
    """An apiserver, a gateway and any number of backends, stopped together."""

    def __init__(
        self,
        folder: Path,
        environment: Mapping[str, str] | None = None,
        module: str = "testbed.platform.gateway.process",
    ) -> None:
        self.function_port = free_port()
        self.apiserver = FakeApiserver()
        self.gateway = GatewayProcess(folder, self.apiserver.port, self.function_port, environment, module)
        self._backends: list[Backend] = []
        self._addresses = 0
        if module == "testbed.platform.gateway.process":
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
def rig(
    folder: Path, environment: Mapping[str, str] | None = None, module: str = "testbed.platform.gateway.process"
) -> Iterator[Rig]:
    one = Rig(folder, environment, module)
    try:
        yield one
    finally:
        one.stop()

"""The functions of Hello, Retail! as real servers on loopback ports, with a gateway that keeps what passes it."""

from __future__ import annotations

import asyncio
import http.client
import json
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from aiosmtpd.controller import Controller

from tests import waiting
from tests.ports import free_port
from tests.unit.functions.function_rig import CHECKOUT, Server
from tests.unit.functions.mariadb_rig import PASSWORD, MariaDb

RETAIL = CHECKOUT / "functions" / "hello_retail"
FUNCTIONS = (
    "product-catalog-api", "product-catalog-builder", "photo-request", "photo-message", "photo-record",
    "photo-assign", "photo-register", "photo-acquire", "photo-receive", "photo-success", "photo-report",
    "product-purchase", "product-purchase-get-price", "product-purchase-authorize-cc", "product-purchase-publish",
)  # fmt: skip
OPERATORS = "product-purchase-add-cc"
CALLEES = {
    "URL_PHOTO_ASSIGN": "photo-assign",
    "URL_PHOTO_MESSAGE": "photo-message",
    "URL_PHOTO_RECORD": "photo-record",
    "URL_PHOTO_RECEIVE": "photo-receive",
    "URL_PHOTO_SUCCESS": "photo-success",
    "URL_PHOTO_REPORT": "photo-report",
    "URL_PRODUCT_PURCHASE_GET_PRICE": "product-purchase-get-price",
    "URL_PRODUCT_PURCHASE_AUTHORIZE_CC": "product-purchase-authorize-cc",
    "URL_PRODUCT_PURCHASE_PUBLISH": "product-purchase-publish",
}
until = partial(waiting.until, within_s=20, pause_s=0.01)


@dataclass(frozen=True)
class Hop:
    """One request through the gateway; times of the monotonic clock, in seconds."""

    caller: str
    callee: str
    request: bytes
    status: int
    answer: bytes
    started_s: float
    ended_s: float


@dataclass(frozen=True)
class Mail:
    sender: str
    recipients: tuple[str, ...]
    content: bytes


class Gateway:
    """Forwards /function/NAME/… to NAME's server and keeps every hop.

    `before` has what a request for a function waits for before it is forwarded.
    """

    def __init__(self) -> None:
        self.ports: dict[str, int] = {}
        self.hops: list[Hop] = []
        self.before: dict[str, Callable[[], Any]] = {}
        self.connections = 0
        self.under_way = 0
        self._lock = threading.Lock()
        gateway = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def setup(self) -> None:
                super().setup()
                gateway.connections += 1

            def do_POST(self) -> None:
                gateway.count(1)
                try:
                    gateway.forward(self)
                finally:
                    gateway.count(-1)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def count(self, more: int) -> None:
        with self._lock:
            self.under_way += more

    def forward(self, exchange: BaseHTTPRequestHandler) -> None:
        _, _, name, *rest = exchange.path.split("/")
        request = exchange.rfile.read(int(exchange.headers["Content-Length"]))
        caller = exchange.headers.get("X-Caller", "")
        started_s = time.monotonic()
        self.before.get(name, lambda: None)()
        connection = http.client.HTTPConnection("127.0.0.1", self.ports[name], timeout=20)
        connection.request("POST", "/" + "/".join(rest), request, dict(exchange.headers))
        response = connection.getresponse()
        answer = response.read()
        connection.close()
        self.hops.append(Hop(caller, name, request, response.status, answer, started_s, time.monotonic()))
        exchange.send_response(response.status)
        exchange.send_header("Content-Length", str(len(answer)))
        exchange.end_headers()
        exchange.wfile.write(answer)

    def ask(self, name: str, value: Any, path: str = "/") -> Hop:
        """Ask a function from outside, once what was asked before has come to its end; returns that hop."""
        until(lambda: self.under_way == 0, "what was asked before has ended")
        self.hops.clear()
        connection = http.client.HTTPConnection(*self._server.server_address[:2], timeout=20)
        try:
            body = json.dumps(value, separators=(",", ":")).encode()
            connection.request("POST", f"/function/{name}{path}", body, {"Content-Type": "application/json"})
            connection.getresponse().read()
        finally:
            connection.close()
        return next(hop for hop in self.hops if not hop.caller)

    def hop(self, callee: str) -> Hop:
        """The hop to this function; waits for one that is still under way."""
        found = until(
            lambda: next((hop for hop in list(self.hops) if hop.callee == callee), None), f"a hop to {callee}"
        )
        assert found
        return found

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class Mailbox:
    """A real SMTP server that keeps its mail."""

    def __init__(self) -> None:
        self.mails: list[Mail] = []
        self.release = threading.Event()
        self.release.set()
        self.port = free_port()
        self._controller = Controller(self, hostname="127.0.0.1", port=self.port)
        self._controller.start()

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:
        while not self.release.is_set():
            await asyncio.sleep(0.01)
        self.mails.append(Mail(envelope.mail_from, tuple(envelope.rcpt_tos), envelope.content))
        return "250 kept"

    def stop(self) -> None:
        self._controller.stop()


@dataclass(frozen=True)
class Shop:
    gateway: Gateway
    database: MariaDb
    mailbox: Mailbox
    servers: Mapping[str, Server]

    def seed(self, photographers: int = 9) -> None:
        """Begin anew, once nothing is under way any more: photos are stored after the answer."""
        until(lambda: self.gateway.under_way == 0, "nothing is under way")
        until(lambda: not any(self.database.sessions() or time.sleep(0.03) for _ in range(3)), "no session is left")
        self.database.empty()
        self.database.execute(f"SET @photographers = {photographers};" + (RETAIL / "seed.sql").read_text())


def handler_folder(folder: Path, function: str) -> Path:
    """A function's handler as its image has it: with the shared modules in it."""
    shutil.copytree(RETAIL / function, folder)
    shutil.copytree(RETAIL / "common", folder / "common")
    return folder


@contextmanager
def shop(
    folder: Path, database: MariaDb, functions: tuple[str, ...] = (*FUNCTIONS, OPERATORS), **settings: str
) -> Iterator[Shop]:
    """These functions of the shop, started side by side; `settings` go into the environment of each."""
    gateway, mailbox = Gateway(), Mailbox()
    secret = folder / "password"
    secret.write_text(PASSWORD + "\n")
    environment = {
        "DB_HOST": "127.0.0.1", "DB_PORT": str(database.port), "DB_PASSWORD_FILE": str(secret),
        "SMTP_HOST": "127.0.0.1", "SMTP_PORT": str(mailbox.port),
        **{variable: f"{gateway.url}/function/{callee}" for variable, callee in CALLEES.items()},
        **settings,
    }  # fmt: skip

    def start(name: str) -> Server:
        handler = handler_folder(folder / f"{name}-handler", name)
        for attempt in range(3):
            server = Server(folder / str(attempt) / name, handler, environment)
            server.ask("OPTIONS", "/")
            if server.records():
                return server
            server.stop()  # another process took the port first, and has answered
        raise AssertionError(f"{name} found no port of its own")

    with ThreadPoolExecutor(4) as pool:
        servers = dict(zip(functions, pool.map(start, functions), strict=True))
    gateway.ports.update({name: server.port for name, server in servers.items()})
    try:
        yield Shop(gateway, database, mailbox, servers)
    finally:
        for server in servers.values():
            server.process.terminate()
        for server in servers.values():
            server.stop()
        gateway.stop()
        mailbox.stop()

"""The servers behind the gateway in its subjects: `python -m bench.rigs.servers function|state PORT`.

The function echoes a body; below /sink it only counts it. The state is the stub of an apiserver.
"""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import json
import sys
from typing import Any

import httptools
import uvloop

from testbed.model.cluster import DEFAULT_NAMESPACE, ClusterState, Deployment, Function, Instance, Phase

FUNCTION_IP = "127.9.9.9"
SECURED_TOKEN = "bench-token"


class Echo(asyncio.Protocol):
    """Answers with the body it was sent, or with that body's length, in one write."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport
        self._parser = httptools.HttpRequestParser(self)
        self._body: list[bytes] = []
        self._received = 0
        self._keeps = True

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_url(self, url: bytes) -> None:
        self._received = 0
        self._keeps = not url.startswith(b"/sink")

    def on_body(self, data: bytes) -> None:
        self._received += len(data)
        if self._keeps:
            self._body.append(data)

    def on_message_complete(self) -> None:
        body = b"".join(self._body) if self._keeps else b"%d\n" % self._received
        self._body = []
        keep = self._parser.should_keep_alive()
        close = b"" if keep else b"Connection: close\r\n"
        head = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n%b\r\n" % (len(body), close)
        self._transport.write(head + body)
        if not keep:
            self._transport.close()


async def serve_function(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Echo, FUNCTION_IP, port, backlog=1024)
    await server.serve_forever()


def cluster() -> ClusterState:
    """Function f in two namespaces, one of which asks for a token where the model knows tokens."""
    deployments = {DEFAULT_NAMESPACE: Deployment(DEFAULT_NAMESPACE), "secured": Deployment("secured")}
    if has_tokens():
        changes: dict[str, Any] = {"token_revision": 1}
        deployments["secured"] = dataclasses.replace(deployments["secured"], **changes)
    functions = [
        Function(namespace, "f", 256 + n, FUNCTION_IP, "image", 1, ingress=True)
        for n, namespace in enumerate(deployments)
    ]
    instances = [
        Instance(f"{one.full_name}.1", one.namespace, "f", 2, f"10.202.0.{n}", Phase.READY)
        for n, one in enumerate(functions, 9)
    ]
    return ClusterState(
        1, (1, 2, 3), deployments, {one.full_name: one for one in functions}, {one.id: one for one in instances}, {}
    )


def has_tokens() -> bool:
    """Whether namespaces can ask for tokens in this version of the testbed."""
    return any(field.name == "token_revision" for field in dataclasses.fields(Deployment))


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """GET /tokens, or else the watch stream: a snapshot, then heartbeats."""
    request = await reader.readuntil(b"\r\n\r\n")
    if request.startswith(b"GET /tokens"):
        body = json.dumps({"secured": hashlib.sha256(SECURED_TOKEN.encode()).hexdigest()}).encode()
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n" % len(body)
        writer.write(head + b"Connection: close\r\n\r\n" + body)
        writer.close()
        return
    snapshot = {"type": "SNAPSHOT", "version": 1, "object": cluster().to_json()}
    writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + json.dumps(snapshot).encode() + b"\n")
    while not writer.is_closing():
        await asyncio.sleep(5)
        writer.write(json.dumps({"type": "HEARTBEAT", "version": 1}).encode() + b"\n")


async def serve_state(port: int) -> None:
    server = await asyncio.start_server(answer, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run({"function": serve_function, "state": serve_state}[sys.argv[1]](int(sys.argv[2])))

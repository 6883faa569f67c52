"""The gateway's own questions to the apiserver: short requests with short answers.

What a client asks of the apiserver is forwarded by `http.exchange` instead, piece by piece. A new connection
for each question, as OpenFaaS's gateway does it: there are few. Cluster state is not asked for, but followed
(`lifecycle.watch`).
"""

from __future__ import annotations

import asyncio
import json

import httptools

from testbed.model.credentials import bearer
from testbed.model.errors import PlatformError

CONNECT_TIMEOUT_S = 3.0
ANSWER_TIMEOUT_S = 10.0


class _Answer:
    """A whole answer, put together by the parser."""

    def __init__(self) -> None:
        self.status = 0
        self.body = b""
        self.complete = False
        self.parser = httptools.HttpResponseParser(self)

    def on_body(self, data: bytes) -> None:
        self.body += data

    def on_message_complete(self) -> None:
        self.status = self.parser.get_status_code()
        self.complete = True


class ApiserverClient:
    """Asks the apiserver at `host`:`port`: with the gateway's own `credential` what a gateway needs itself.

    What it asks for a client it asks `as_client`, whose proof goes with it: the gateway lends nobody its own.
    """

    def __init__(self, host: str, port: int, credential: str = "", *, authorization: bytes | None = None) -> None:
        """`authorization` is the value of a header to send instead of the credential; b"" sends none."""
        self.host = host
        self.port = port
        self._authorization = bearer(credential).encode() if authorization is None else authorization

    def as_client(self, authorization: bytes) -> ApiserverClient:
        """The same, for a client that sent this Authorization header, or none (b"")."""
        return ApiserverClient(self.host, self.port, authorization=authorization)

    async def call(self, method: str, target: str, body: bytes = b"") -> tuple[int, bytes]:
        """(status, body). Raises PlatformError when no answer comes; its text ends as Go's would."""
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                reader, writer = await asyncio.open_connection(self.host, self.port)
        except ConnectionRefusedError:
            raise PlatformError(f"dial tcp {self.host}:{self.port}: connect: connection refused") from None
        except (TimeoutError, OSError) as error:
            raise PlatformError(f"dial tcp {self.host}:{self.port}: {_reason(error)}") from error
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                writer.write(self._request(method, target, body))
                return await _read(reader)
        except (TimeoutError, OSError, httptools.HttpParserError) as error:
            raise PlatformError(f"{method} http://{self.host}:{self.port}{target}: {_reason(error)}") from error
        finally:
            writer.close()

    async def set_replicas(self, name: str, namespace: str, replicas: int) -> None:
        """Ask for that many replicas. PlatformError, in OpenFaaS's words, when they are not granted."""
        target = f"/system/scale-function/{name}?namespace={namespace}"
        body = {"serviceName": name, "namespace": namespace, "replicas": replicas}
        status, _ = await self.call("POST", target, json.dumps(body).encode())
        if status not in (200, 202):
            raise PlatformError(f"error scaling HTTP code {status}, http://{self.host}:{self.port}{target}")

    def _request(self, method: str, target: str, body: bytes) -> bytes:
        kind = b"Content-Type: application/json\r\nContent-Length: %d\r\n" % len(body) if body else b""
        proof = b"Authorization: %b\r\n" % self._authorization if self._authorization else b""
        return b"%b %b HTTP/1.1\r\nHost: %b:%d\r\nConnection: close\r\n%b%b\r\n%b" % (
            method.encode(), target.encode(), self.host.encode(), self.port, proof, kind, body,
        )  # fmt: skip


async def _read(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    answer = _Answer()
    while not answer.complete:
        data = await reader.read(1 << 16)
        if not data:
            raise ConnectionResetError("the answer broke off")
        answer.parser.feed_data(data)
    return answer.status, answer.body


def _reason(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "i/o timeout"
    return getattr(error, "strerror", None) or str(error) or type(error).__name__

"""One HTTP request on a connection of its own, timed in ns.

The connection is new and TCP_NODELAY is set: a pooled client, or Nagle's algorithm meeting delayed
acknowledgements, would hide or invent milliseconds. It follows no redirects and retries nothing.
"""

from __future__ import annotations

import http.client
import socket
import time
from dataclasses import dataclass
from urllib.parse import urlsplit

TIMEOUT_S = 30.0


@dataclass(frozen=True)
class Exchange:
    """The times of one request and its answer; fields as in `plan.Result`."""

    started_ns: int
    connected_ns: int
    ended_ns: int
    status: int
    body: bytes
    error: str


def get(url: str, call_id: str, timeout_s: float = TIMEOUT_S) -> Exchange:
    """GET the URL. Never raises for what the network or the server does: `error` names it."""
    parts = urlsplit(url)
    target = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port or 80, timeout=timeout_s)
    connected_ns, status, body, error = 0, 0, b"", ""
    started_ns = time.perf_counter_ns()
    try:
        connection.connect()  # http.client sets TCP_NODELAY
        connected_ns = time.perf_counter_ns()
        connection.request("GET", target, headers={"X-Call-Id": call_id, "Connection": "close"})
        answer = connection.getresponse()
        status, body = answer.status, answer.read()
    except (TimeoutError, socket.gaierror, ConnectionError, http.client.HTTPException, OSError) as problem:
        error = type(problem).__name__
    ended_ns = time.perf_counter_ns()
    connection.close()
    return Exchange(started_ns, connected_ns, ended_ns, status, body, error)

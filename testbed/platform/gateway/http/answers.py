"""Answers that the gateway gives itself: what one is, and those that a proxy gives whatever it is a proxy of.

What OpenFaaS says of its functions and routes is in `service.error_table`.
"""

from __future__ import annotations

from dataclasses import dataclass

TEXT = b"Content-Type: text/plain; charset=utf-8"
HTML = b"Content-Type: text/html; charset=utf-8"
JSON = b"Content-Type: application/json"
INTERNAL = b"X-OpenFaaS-Internal: proxy"
"""faas-provider's mark on what its proxy says in place of a function."""


@dataclass(frozen=True)
class Answer:
    """An answer that the gateway gives itself. `headers` are "Name: value" without line ends."""

    status: int
    body: bytes = b""
    headers: tuple[bytes, ...] = ()


BAD_REQUEST = Answer(400, b"400 Bad Request", (TEXT,))
MISSING_HOST = Answer(400, b"400 Bad Request: missing required Host header", (TEXT,))
BODY_TOO_LARGE = Answer(413, b"413 Content Too Large", (TEXT,))
HEAD_TOO_LARGE = Answer(431, b"431 Request Header Fields Too Large", (TEXT,))
UNSUPPORTED_CODING = Answer(501, b"501 Not Implemented: unsupported transfer encoding", (TEXT,))
UPGRADE_WITH_BODY = Answer(501, b"501 Not Implemented: no upgrade or tunnel is offered", (TEXT,))
BAD_GATEWAY = Answer(502)
"""The upstream cannot be reached, or broke off before its answer began."""
UPSTREAM_TIMEOUT = Answer(502)


def unreachable(name: bytes) -> Answer:
    """As BAD_GATEWAY, of a function (its name as the client wrote it)."""
    return Answer(500, b"Can't reach service for: %b." % name, (INTERNAL, TEXT))

"""HTTP/1.1 as a proxy needs it: status lines, hop-by-hop headers, chunk framing, whole short answers.

Functions on bytes; parsing is httptools' business.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from http import HTTPStatus

HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"trailers",
        b"transfer-encoding",
        b"upgrade",
    }
)
"""Headers that concern one connection only and are never passed on (RFC 9110, 7.6.1)."""

LAST_CHUNK = b"0\r\n\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
JOIN_BELOW = 16 * 1024
"""Bytes up to which copying costs less than another entry in a gathering write."""
BODILESS_STATUS = frozenset({204, 304})

_PLAIN = frozenset({b"close,", b"keep-alive,", b"Keep-Alive,"})
"""What nearly all clients send: nothing to take apart. (Values are gathered with a comma behind each.)"""
_NOTHING: frozenset[bytes] = frozenset()
_STATUS_LINES = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus}


def status_line(status: int) -> bytes:
    """The status line, with its line end."""
    return _STATUS_LINES.get(status) or b"HTTP/1.1 %d \r\n" % status


def nominated(connection: bytes) -> frozenset[bytes]:
    """The header names that a Connection header's value declares hop-by-hop."""
    if connection in _PLAIN:
        return _NOTHING
    return frozenset(token.strip().lower() for token in connection.split(b",")) - {b"", b"close", b"keep-alive"}


def without(lines: Iterable[bytes], names: frozenset[bytes]) -> list[bytes]:
    """Header lines whose name is not among `names` (lower case)."""
    return [line for line in lines if line.partition(b":")[0].lower() not in names]


def chunk(parts: Sequence[bytes]) -> list[bytes]:
    """`parts` as one chunk of the chunked coding; nothing when they are empty (that would end the body)."""
    size = sum(map(len, parts))
    return [b"%x\r\n" % size, *parts, b"\r\n"] if size else []


def send(transport: asyncio.WriteTransport, parts: list[bytes]) -> None:
    """Write `parts` as one: short ones are joined, long ones are left to the kernel's gathering write.

    asyncio's own transports send the pieces of `writelines` joined as well, uvloop's without a copy.
    """
    if len(parts) == 1:
        transport.write(parts[0])
    elif (len(parts) == 2 and len(parts[1]) < JOIN_BELOW) or sum(map(len, parts)) < JOIN_BELOW:  # mostly head and body
        transport.write(b"".join(parts))
    else:
        transport.writelines(parts)


def response(status: int, body: bytes = b"", headers: Sequence[bytes] = (), *, head_only: bool = False) -> bytes:
    """A whole answer. `headers` are "Name: value" without line ends; `head_only` answers a HEAD request."""
    lines = b"".join(b"%b\r\n" % header for header in headers)
    head = b"%b%bContent-Length: %d\r\n\r\n" % (status_line(status), lines, len(body))
    return head if head_only else head + body

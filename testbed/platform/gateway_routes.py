"""Where an HTTP request goes, and what the gateway answers when it goes nowhere.

Pure. The routes and the error table are OpenFaaS's (gateway 0.23.0 with scale_from_zero=true for
unknown functions, faas-provider's proxy for the rest), text by text.

A function that its application does not offer to the outside, in a namespace whose calls travel
directly, is not reachable here at all: the gateway answers for it as for an unknown function, so
that an outsider cannot tell the two apart. On the gateway route internal functions must be
reachable, because the calls between functions come this way.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum, auto
from functools import lru_cache
from urllib.parse import urlsplit

FUNCTION_PREFIX = b"/function/"
_PREFIX_LENGTH = len(FUNCTION_PREFIX)
_REMEMBERED_BYTES = 256
"""Functions are asked for again and again: short targets are looked up instead of taken apart."""
_NAME = re.compile(rb"[-a-zA-Z_0-9.]+")

FUNCTION_METHODS = frozenset({b"GET", b"POST", b"PUT", b"PATCH", b"DELETE", b"HEAD", b"OPTIONS"})
"""What faas-provider's proxy passes on; anything else is answered 405."""

_TEXT = b"Content-Type: text/plain; charset=utf-8"
_INTERNAL = b"X-OpenFaaS-Internal: proxy"


class Kind(Enum):
    """What a request target addresses."""

    FUNCTION = auto()
    SYSTEM = auto()
    HEALTH = auto()
    NOTHING = auto()


@dataclass(frozen=True)
class Answer:
    """An answer that the gateway gives itself. `headers` are "Name: value" without line ends."""

    status: int
    body: bytes = b""
    headers: tuple[bytes, ...] = ()


def match(target: bytes) -> tuple[Kind, bytes, bytes]:
    """(kind, function name as written, target for the upstream) of a request target.

    The target is in origin form ("/function/f?x=1") or absolute form ("http://host/function/f").
    """
    return _remembered(target) if len(target) <= _REMEMBERED_BYTES else _match(target)


def _match(target: bytes) -> tuple[Kind, bytes, bytes]:
    if not target.startswith(b"/"):
        target = _origin_form(target)
    if target.startswith(FUNCTION_PREFIX):
        return _function(target)
    path = target.partition(b"?")[0]
    if path.startswith(b"/system/"):
        return Kind.SYSTEM, b"", target
    if path == b"/healthz":
        return Kind.HEALTH, b"", target
    return Kind.NOTHING, b"", target


_remembered = lru_cache(maxsize=4096)(_match)


def full_name(name: str, default_namespace: str) -> tuple[str, str]:
    """(function, namespace) of a name as written: split at the last dot, else the default namespace."""
    function, dot, namespace = name.rpartition(".")
    return (function, namespace) if dot else (name, default_namespace)


def _function(target: bytes) -> tuple[Kind, bytes, bytes]:
    path, question, query = target.partition(b"?")
    name, _, rest = path[_PREFIX_LENGTH:].partition(b"/")
    if not _NAME.fullmatch(name):
        return Kind.NOTHING, b"", target
    return Kind.FUNCTION, name, b"/" + rest + question + query


def _origin_form(target: bytes) -> bytes:
    parts = urlsplit(target)
    if parts.scheme not in (b"http", b"https"):
        return b""
    return (parts.path or b"/") + (b"?" + parts.query if parts.query else b"")


NOT_FOUND = Answer(404, b"404 page not found\n", (_TEXT, b"X-Content-Type-Options: nosniff"))
METHOD_NOT_ALLOWED = Answer(405)
UNAUTHORIZED = Answer(401, b"invalid credentials", (b'Www-Authenticate: Basic realm="Restricted"', _TEXT))
UPSTREAM_TIMEOUT = Answer(502)
PROVIDER_DOWN = Answer(502)
BAD_REQUEST = Answer(400, b"400 Bad Request", (_TEXT,))
MISSING_HOST = Answer(400, b"400 Bad Request: missing required Host header", (_TEXT,))
UNSUPPORTED_CODING = Answer(501, b"501 Not Implemented: unsupported transfer encoding", (_TEXT,))
UPGRADE_WITH_BODY = Answer(501, b"501 Not Implemented: no upgrade or tunnel is offered", (_TEXT,))
HEAD_TOO_LARGE = Answer(431, b"431 Request Header Fields Too Large", (_TEXT,))


def unknown_function(name: str, namespace: str) -> Answer:
    """The function was never deployed here, or is hidden (see the module's docstring)."""
    text = (
        f"error finding function {name}.{namespace}: server returned non-200 status code (404) "
        f"for function, {name}, body: "
    )
    return Answer(404, text.encode(), (_TEXT,))


def no_endpoints(name: bytes) -> Answer:
    """The function has no instance that is ready."""
    return Answer(503, b"No endpoints available for: %b." % name, (_INTERNAL, _TEXT))


def cannot_scale(name: str, namespace: str, problem: str) -> Answer:
    """The provider did not take the request for a first instance."""
    text = f"error finding function {name}.{namespace}: unable to scale function [{name}], err: {problem}"
    return Answer(500, text.encode(), (_TEXT,))


def unreachable(name: bytes) -> Answer:
    """The connection to the function failed, or broke before an answer began."""
    return Answer(500, b"Can't reach service for: %b." % name, (_INTERNAL, _TEXT))

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
from enum import Enum
from functools import lru_cache
from urllib.parse import urlsplit

FUNCTION_PREFIX = b"/function/"
_PREFIX_LENGTH = len(FUNCTION_PREFIX)
_REMEMBERED_BYTES = 256
"""Functions are asked for again and again: short targets are looked up instead of taken apart."""
_NAME = re.compile(rb"[-a-zA-Z_0-9.]+")

FUNCTION_METHODS = frozenset({b"GET", b"POST", b"PUT", b"PATCH", b"DELETE", b"HEAD", b"OPTIONS"})
"""What faas-provider's proxy passes on; anything else is answered 405."""

TEXT = b"Content-Type: text/plain; charset=utf-8"
HTML = b"Content-Type: text/html; charset=utf-8"
JSON = b"Content-Type: application/json"
_INTERNAL = b"X-OpenFaaS-Internal: proxy"


_ANY: frozenset[bytes] = frozenset()
_GET = frozenset({b"GET"})
_POST = frozenset({b"POST"})
_CHANGES = frozenset({b"GET", b"POST", b"PUT", b"DELETE"})


class Kind(Enum):
    """What a request target addresses: `methods` that it knows; `protected` by basic auth or not.

    FUNCTION has an answer of its own to unknown methods, NOTHING is 404 for all of them.
    """

    FUNCTION = (0, _ANY, False)
    NOTHING = (1, _ANY, False)
    FUNCTIONS = (2, _CHANGES, True)
    STATUS = (3, _GET, True)
    SCALE = (4, _POST, True)
    INFO = (5, _GET, True)
    ALERT = (6, _POST, True)
    SECRETS = (7, _CHANGES, True)
    LOGS = (8, _GET, True)
    NAMESPACES = (9, _GET, True)
    NAMESPACE = (10, _CHANGES, True)
    TELEMETRY = (11, _GET, True)
    UI = (12, _GET, True)
    ROOT = (13, _GET, False)
    HEALTH = (14, _GET, False)

    def __init__(self, _: int, methods: frozenset[bytes], protected: bool) -> None:
        self.methods = methods
        self.protected = protected


_FIXED = {
    b"/system/functions": Kind.FUNCTIONS,
    b"/system/info": Kind.INFO,
    b"/system/alert": Kind.ALERT,
    b"/system/secrets": Kind.SECRETS,
    b"/system/logs": Kind.LOGS,
    b"/system/namespaces": Kind.NAMESPACES,
    b"/system/telemetry": Kind.TELEMETRY,
    b"/healthz": Kind.HEALTH,
    b"/": Kind.ROOT,
}
_NAMED = {
    b"/system/function/": Kind.STATUS,
    b"/system/scale-function/": Kind.SCALE,
    b"/system/namespace/": Kind.NAMESPACE,
}


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
    kind = _FIXED.get(path)
    if kind is None:
        kind = Kind.UI if path.startswith(b"/ui/") else _named(path)
    return kind, b"", target


def _named(path: bytes) -> Kind:
    folder, slash, name = path.rpartition(b"/")
    return _NAMED.get(folder + slash, Kind.NOTHING) if is_name(name) else Kind.NOTHING


def is_name(name: bytes) -> bool:
    """Whether this may be a function's or namespace's name in a route."""
    return _NAME.fullmatch(name) is not None


_remembered = lru_cache(maxsize=4096)(_match)


def full_name(name: str, default_namespace: str) -> tuple[str, str]:
    """(function, namespace) of a name as written: split at the last dot, else the default namespace."""
    function, dot, namespace = name.rpartition(".")
    return (function, namespace) if dot else (name, default_namespace)


def _function(target: bytes) -> tuple[Kind, bytes, bytes]:
    path, question, query = target.partition(b"?")
    name, _, rest = path[_PREFIX_LENGTH:].partition(b"/")
    if not is_name(name):
        return Kind.NOTHING, b"", target
    return Kind.FUNCTION, name, b"/" + rest + question + query


def _origin_form(target: bytes) -> bytes:
    parts = urlsplit(target)
    if parts.scheme not in (b"http", b"https"):
        return b""
    return (parts.path or b"/") + (b"?" + parts.query if parts.query else b"")


NOT_FOUND = Answer(404, b"404 page not found\n", (TEXT, b"X-Content-Type-Options: nosniff"))
METHOD_NOT_ALLOWED = Answer(405)
UNAUTHORIZED = Answer(401, b"invalid credentials", (b'Www-Authenticate: Basic realm="Restricted"', TEXT))
UPSTREAM_TIMEOUT = Answer(502)
PROVIDER_DOWN = Answer(502)
BAD_REQUEST = Answer(400, b"400 Bad Request", (TEXT,))
MISSING_HOST = Answer(400, b"400 Bad Request: missing required Host header", (TEXT,))
UNSUPPORTED_CODING = Answer(501, b"501 Not Implemented: unsupported transfer encoding", (TEXT,))
UPGRADE_WITH_BODY = Answer(501, b"501 Not Implemented: no upgrade or tunnel is offered", (TEXT,))
HEAD_TOO_LARGE = Answer(431, b"431 Request Header Fields Too Large", (TEXT,))


BODY_TOO_LARGE = Answer(413, b"413 Content Too Large", (TEXT,))
TO_UI = Answer(307, b'<a href="/ui/">Temporary Redirect</a>.\n\n', (b"Location: /ui/", HTML))
BAD_ALERT = Answer(400, b"Unable to parse alert, bad format.", (TEXT,))
UNREADABLE_LIST = Answer(500, b"Unable to parse list of functions from provider\n", (TEXT,))
TOKEN_NOT_KNOWN = Answer(503, b"the namespace's token is not known yet; try again\n", (TEXT, b"Retry-After: 1"))


def token_needed(namespace: str, *, presented: bool) -> Answer:
    """The call carries no bearer token (or, when one was presented, not this namespace's)."""
    error = ', error="invalid_token"' if presented else ""
    challenge = f'WWW-Authenticate: Bearer realm="{namespace}"{error}'
    text = f"calls of namespace {namespace} need its token: Authorization: Bearer TOKEN\n"
    return Answer(401, text.encode(), (challenge.encode(), TEXT))


def instead_of_log(status: int) -> Answer | None:
    """What OpenFaaS's log proxy makes of the provider's status (0: it did not answer); None: pass it on."""
    if status == 200:
        return None
    if status in (404, 501):
        return Answer(501)
    text = f"unknown log request error ({status})\n" if status else "log request failed\n"
    return Answer(500, text.encode(), (TEXT,))


def unknown_function(name: str, namespace: str) -> Answer:
    """The function was never deployed here, or is hidden (see the module's docstring)."""
    text = (
        f"error finding function {name}.{namespace}: server returned non-200 status code (404) "
        f"for function, {name}, body: "
    )
    return Answer(404, text.encode(), (TEXT,))


def no_endpoints(name: bytes) -> Answer:
    """The function has no instance that is ready."""
    return Answer(503, b"No endpoints available for: %b." % name, (_INTERNAL, TEXT))


def cannot_scale(name: str, namespace: str, problem: str) -> Answer:
    """The provider did not take the request for a first instance."""
    text = f"error finding function {name}.{namespace}: unable to scale function [{name}], err: {problem}"
    return Answer(500, text.encode(), (TEXT,))


def unreachable(name: bytes) -> Answer:
    """The connection to the function failed, or broke before an answer began."""
    return Answer(500, b"Can't reach service for: %b." % name, (_INTERNAL, TEXT))

"""Where an HTTP request goes, by its target alone. Pure.

The routes are OpenFaaS's (gateway 0.23.0). What is answered where a request leads nowhere is in `error_table`;
whether a function's name is known, and to whom, in `functions`.
"""

from __future__ import annotations

import re
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

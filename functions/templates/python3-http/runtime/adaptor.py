"""What a handler sees and what it may return, in the shapes that OpenFaaS's Flask template has.

Headers and query have the methods of werkzeug's classes that handlers use. Beyond the original,
a list or bytes as a dictionary's "body" are JSON and raw bytes instead of their Python spelling.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl

DEFAULT_CONTENT_TYPE = "text/html; charset=utf-8"
_REASONS = {status.value: f"{status.value} {status.phrase}" for status in HTTPStatus}


class Headers:
    """The request's headers: names in any case; iteration gives (name, value) pairs, as in werkzeug."""

    def __init__(self, environ: Mapping[str, Any]) -> None:
        self._environ = environ

    def __getitem__(self, name: str) -> str:
        return self._environ[_key(name)]

    def __contains__(self, name: str) -> bool:
        return _key(name) in self._environ

    def __iter__(self) -> Iterator[tuple[str, str]]:
        for key, value in self._environ.items():
            if key.startswith("HTTP_"):
                yield key[5:].replace("_", "-").title(), value
            elif key in ("CONTENT_TYPE", "CONTENT_LENGTH") and value:
                yield key.replace("_", "-").title(), value

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def get(self, name: str, default: Any = None, type: Callable[[str], Any] | None = None) -> Any:
        return _converted(self._environ.get(_key(name)), default, type)

    def getlist(self, name: str) -> list[str]:
        value = self.get(name)
        return [] if value is None else [value]

    def items(self) -> Iterator[tuple[str, str]]:
        return iter(self)

    def keys(self) -> Iterator[str]:
        return (name for name, _ in self)

    def values(self) -> Iterator[str]:
        return (value for _, value in self)


class Query(dict[str, Any]):
    """The query's parameters: a name gives its first value; `getlist` gives all."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self._lists: dict[str, list[str]] = {}
        for name, value in parse_qsl(text, keep_blank_values=True) if text else ():
            self._lists.setdefault(name, []).append(value)
            self.setdefault(name, value)

    def get(self, name: str, default: Any = None, type: Callable[[str], Any] | None = None) -> Any:
        return _converted(super().get(name), default, type)

    def getlist(self, name: str) -> list[str]:
        return list(self._lists.get(name, ()))

    def to_dict(self, flat: bool = True) -> dict[str, Any]:
        return dict(self) if flat else {name: list(values) for name, values in self._lists.items()}


class Event:
    """One request. `body` is bytes."""

    def __init__(self, environ: Mapping[str, Any]) -> None:
        self.body: bytes = environ["wsgi.input"].read() if environ.get("CONTENT_LENGTH") else b""
        self.headers = Headers(environ)
        self.method: str = environ["REQUEST_METHOD"]
        self.query = Query(environ["QUERY_STRING"])
        self.path: str = environ["PATH_INFO"].encode("latin-1").decode("utf-8", "replace") or "/"


class Context:
    """Where the handler runs."""

    def __init__(self, hostname: str) -> None:
        self.hostname = hostname


def format_response(returned: Any) -> tuple[str, list[tuple[str, str]], bytes]:
    """(WSGI status, headers, body) of what a handler returned.

    Raises TypeError for what Flask would not accept either.
    """
    if returned is None:
        return _REASONS[200], [("Content-Type", DEFAULT_CONTENT_TYPE)], b""
    if type(returned) is dict:
        returned = (returned.get("body", ""), returned.get("statusCode", 200), returned.get("headers", []))
        body, content_type = _body(returned[0], text_of_others=True)
    else:
        if not isinstance(returned, tuple):
            returned = (returned,)
        body, content_type = _body(returned[0], text_of_others=False)
    status, headers = _status_and_headers(returned[1:])
    if not any(name.lower() == "content-type" for name, _ in headers):
        headers.append(("Content-Type", content_type))
    return status, headers, body


def _body(value: Any, *, text_of_others: bool) -> tuple[bytes, str]:
    if isinstance(value, str):
        return value.encode(), DEFAULT_CONTENT_TYPE
    if isinstance(value, (bytes, bytearray)):
        return bytes(value), DEFAULT_CONTENT_TYPE
    if isinstance(value, (dict, list)):
        text = json.dumps(value, sort_keys=True, separators=(",", ":"))
        return text.encode() + b"\n", "application/json"
    if text_of_others:
        return str(value).encode(), DEFAULT_CONTENT_TYPE
    raise TypeError(f"the handler returned a {type(value).__name__}, which is no response")


def _status_and_headers(rest: tuple[Any, ...]) -> tuple[str, list[tuple[str, str]]]:
    """Flask's tuples: (body, status, headers), (body, status) or (body, headers)."""
    status: Any = 200
    headers: Any = []
    if len(rest) == 2:
        status, headers = rest
    elif len(rest) == 1 and isinstance(rest[0], (dict, list, tuple)):
        headers = rest[0]
    elif len(rest) == 1:
        status = rest[0]
    elif rest:
        raise TypeError("the handler returned a tuple of more than three parts, which is no response")
    pairs = headers.items() if isinstance(headers, Mapping) else headers or []
    return _status(status), [(str(name), str(value)) for name, value in pairs]


def _status(status: Any) -> str:
    if isinstance(status, str) and not status.isdecimal():
        return status
    code = int(status)
    return _REASONS.get(code) or f"{code} UNKNOWN"


def _key(name: str) -> str:
    key = name.upper().replace("-", "_")
    return key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else "HTTP_" + key


def _converted(value: Any, default: Any, convert: Callable[[str], Any] | None) -> Any:
    if value is None:
        return default
    if convert is None:
        return value
    try:
        return convert(value)
    except ValueError:
        return default

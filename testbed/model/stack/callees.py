"""Callee URLs: how a function's environment names the functions it calls, in OpenFaaS' form.

    http://gateway.openfaas:8080/function/NAME[.NAMESPACE][/path][?query]

A value may hold one such URL or several separated by commas or white space. Recognising them, and
recognising every other way to name the gateway, is all that is done here: nothing is replaced or
refused (`testbed.model.stack.stack_file` and `testbed.model.rewrite` do that), and nothing is resolved.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from testbed.model.addressing import FUNCTION_PORT, GATEWAY_ID, GATEWAY_MANAGEMENT_IP, vip

GATEWAY_NAMES = ("gateway.openfaas", "gateway.openfaas.svc.cluster.local", "gateway")
"""The names under which functions know the gateway, all with port FUNCTION_PORT."""

_CALLEE = re.compile(
    rf"http://(?:{'|'.join(map(re.escape, GATEWAY_NAMES))}):{FUNCTION_PORT}"
    r"/function/(?P<name>[-a-zA-Z_0-9.]+)(?P<rest>[/?#]\S*)?",
)
_SEPARATOR = re.compile(r"([,\s]+)(?=https?://)")  # a comma inside a query does not separate
_GATEWAY = re.compile(
    r"(?<![-\w.])gateway\.openfaas[-\w.]*(?::\d+)?"
    r"|(?<![-\w.])gateway:\d+"
    r"|//gateway(?=[/?#\s,]|$)"
    r"|^\s*gateway\s*$"
    rf"|(?<![\d.])(?:{re.escape(vip(GATEWAY_ID))}|{re.escape(GATEWAY_MANAGEMENT_IP)})(?![\d.]*\d)",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class CalleeUrl:
    """One callee URL. `namespace` is "" where the URL leaves it out; `rest` is its path and query."""

    function: str
    namespace: str = ""
    rest: str = ""

    def text(self) -> str:
        """The URL, by the gateway's usual name."""
        name = f"{self.function}.{self.namespace}" if self.namespace else self.function
        return f"http://{GATEWAY_NAMES[0]}:{FUNCTION_PORT}/function/{name}{self.rest}"


def parse(value: str) -> tuple[CalleeUrl, ...]:
    """The callee URLs that make up `value`, or () when it is anything else."""
    urls = tuple(_one(part) for part in _parts(value)[::2])
    return tuple(url for url in urls if url is not None) if None not in urls else ()


def replace(value: str, replacement: Callable[[CalleeUrl], str | None]) -> str | None:
    """`value` with each callee URL replaced; a URL whose replacement is None is left out.

    Returns None when no URL remains, and the value itself when it is not made of callee URLs.
    """
    if not parse(value):
        return value
    parts = _parts(value)
    kept: list[str] = []
    for index in range(0, len(parts), 2):
        url = _one(parts[index])
        text = replacement(url) if url else None
        if text is not None:
            kept += [parts[index - 1], text] if kept else [text]
    return "".join(kept) if kept else None


def mentions_gateway(value: str) -> str:
    """The first text in `value` that names the gateway in any form, or ""."""
    match = _GATEWAY.search(value)
    return match.group().strip() if match else ""


def _parts(value: str) -> list[str]:
    """URL, separator, URL, … in the order of the value."""
    return _SEPARATOR.split(value.strip())


def _one(text: str) -> CalleeUrl | None:
    match = _CALLEE.fullmatch(text)
    if not match:
        return None
    name, dot, namespace = match["name"].rpartition(".")
    return CalleeUrl(name, namespace, match["rest"] or "") if dot else CalleeUrl(namespace, "", match["rest"] or "")

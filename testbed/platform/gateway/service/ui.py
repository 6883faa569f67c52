"""The page under /ui/: what is deployed and how often it was invoked. Made on the server, without scripts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from html import escape

_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;margin:2rem;color:#222}"
    "table{border-collapse:collapse}th,td{padding:.3rem .9rem;text-align:left;border-bottom:1px solid #ccc}"
    "td.n,th.n{text-align:right}code{font-size:90%}"
)
_HEADINGS = ("function", "namespace", "image", "ready", "wanted", "invocations", "call it at")
_NUMBERS = frozenset({3, 4, 5})


@dataclass(frozen=True)
class Row:
    """One function. `reachable`: it may be called from outside."""

    name: str
    namespace: str
    image: str
    ready: int
    wanted: int
    invocations: int
    reachable: bool


def page(rows: Iterable[Row]) -> bytes:
    """The whole page, in UTF-8."""
    rows = sorted(rows, key=lambda row: (row.namespace, row.name))
    body = _table(rows) if rows else "<p>No function is deployed.</p>"
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Functions</title>'
        f"<style>{_STYLE}</style></head><body><h1>Functions</h1>"
        "<p>This page shows; it changes nothing. Deploy, scale and remove with <code>testbed</code> or "
        f"<code>faas-cli</code>. Reload for new numbers.</p>{body}</body></html>\n"
    ).encode()


def _table(rows: Iterable[Row]) -> str:
    lines = [_cells("th", _HEADINGS), *(_cells("td", _texts(row)) for row in rows)]
    return "<table>" + "".join(f"<tr>{line}</tr>" for line in lines) + "</table>"


def _texts(row: Row) -> tuple[str, ...]:
    address = f"/function/{row.name}.{row.namespace}" if row.reachable else "(internal)"
    return row.name, row.namespace, row.image, str(row.ready), str(row.wanted), str(row.invocations), address


def _cells(tag: str, texts: Iterable[str]) -> str:
    return "".join(
        f"<{tag}{' class=n' if column in _NUMBERS else ''}>{escape(text)}</{tag}>" for column, text in enumerate(texts)
    )

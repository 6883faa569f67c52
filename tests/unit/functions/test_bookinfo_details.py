"""Bookinfo's details: its answer, as long as the original's, and what it refuses."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.unit.functions.function_rig import CHECKOUT, Server


@pytest.fixture(scope="module")
def details(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    handler = CHECKOUT / "functions" / "bookinfo" / "details"
    server = Server(tmp_path_factory.mktemp("functions") / "details", handler, language="ruby")
    yield server
    server.stop()


def test_a_book_has_nine_fields_in_178_bytes(details: Server) -> None:
    status, headers, body = details.ask("GET", "/details/0")
    assert (status, headers["Content-Type"], len(body)) == (200, "application/json", 178)
    book = json.loads(body)
    names = ["id", "author", "year", "type", "pages", "publisher", "language", "ISBN-10", "ISBN-13"]
    assert (list(book), book["id"], book["year"], book["pages"]) == (names, 0, 1595, 200)
    assert json.loads(details.ask("GET", "/details/12?x=1")[2])["id"] == 12


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/details/abc", 400),
        ("GET", "/details/", 400),
        ("GET", "/details/1/2", 404),
        ("GET", "/", 404),
        ("POST", "/details/1", 405),
        ("GET", "/health", 200),
    ],
)
def test_other_paths(details: Server, method: str, path: str, status: int) -> None:
    found, _, body = details.ask(method, path)
    assert (found, list(json.loads(body))) == (status, ["status" if status == 200 else "error"])

"""Bookinfo's ratings: its answers, byte for byte as long as the original's, and its faults."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from tests.unit.functions.function_rig import CHECKOUT, Server

HANDLER = CHECKOUT / "functions" / "bookinfo" / "ratings"


def ratings(folder: Path, **environment: str) -> Server:
    return Server(folder / "ratings", HANDLER, environment, language="node20")


def test_ratings_are_given_and_replaced_in_memory(tmp_path: Path) -> None:
    server = ratings(tmp_path)
    try:
        status, headers, body = server.ask("GET", "/ratings/0")
        assert (status, headers["Content-Type"], len(body)) == (200, "application/json; charset=utf-8", 48)
        assert json.loads(body) == {"id": 0, "ratings": {"Reviewer1": 5, "Reviewer2": 4}}
        posted = server.ask("POST", "/ratings/7", b'{"Reviewer1": 1}', {"Content-Type": "application/json"})
        assert (posted[0], json.loads(posted[2])) == (200, {"id": 7, "ratings": {"Reviewer1": 1}})
        assert json.loads(server.ask("GET", "/ratings/7")[2]) == {"id": 7, "ratings": {"Reviewer1": 1}}
        assert json.loads(server.ask("GET", "/ratings/8")[2])["ratings"] == {"Reviewer1": 5, "Reviewer2": 4}
        assert server.ask("GET", "/health")[0] == 200
    finally:
        server.stop()


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/ratings/abc", None, 400),
        ("GET", "/ratings/", None, 400),
        ("POST", "/ratings/x", b"{}", 400),
        ("POST", "/ratings/1", b"{", 400),
        ("POST", "/ratings/1", b"[]", 400),
        ("DELETE", "/ratings/1", None, 405),
        ("GET", "/", None, 404),
        ("GET", "/ratings/1/2", None, 404),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, method: str, path: str, body: bytes | None, status: int) -> None:
    server = ratings(tmp_path)
    try:
        found, _, text = server.ask(method, path, body)
        assert (found, list(json.loads(text))) == (status, ["error"])
    finally:
        server.stop()


def test_a_database_that_does_not_answer_is_500_and_posting_501(tmp_path: Path) -> None:
    server = ratings(tmp_path, DB_HOST="127.0.0.1", DB_PORT="1")
    try:
        assert server.ask("GET", "/ratings/0")[0] == 500
        assert server.ask("POST", "/ratings/0", b"{}")[0] == 501
    finally:
        server.stop()


@pytest.mark.parametrize(
    ("version", "share", "status", "least_s"),
    [("v-delayed", "1", 200, 0.4), ("v-delayed", "0", 200, 0), ("v-faulty", "1", 503, 0), ("v-faulty", "0", 200, 0)],
)
def test_versions_that_misbehave(tmp_path: Path, version: str, share: str, status: int, least_s: float) -> None:
    server = ratings(tmp_path, SERVICE_VERSION=version, FAULT_SHARE=share, DELAY_S="0.4")
    try:
        started_s = time.monotonic()
        assert server.ask("GET", "/ratings/0")[0] == status
        assert time.monotonic() - started_s >= least_s
    finally:
        server.stop()


def test_v_unavailable_comes_and_goes(tmp_path: Path) -> None:
    server = ratings(tmp_path, SERVICE_VERSION="v-unavailable", UNAVAILABLE_S="0.5")
    try:
        seen = set()
        deadline_s = time.monotonic() + 20
        while seen != {200, 503} and time.monotonic() < deadline_s:
            seen.add(server.ask("GET", "/ratings/0")[0])
            time.sleep(0.1)
        assert seen == {200, 503}
    finally:
        server.stop()

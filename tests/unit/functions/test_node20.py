"""The node20 server: a handler written for OpenFaaS runs unmodified, with the event and context of its template."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.functions.function_rig import Server

HTML = "text/html; charset=utf-8"

ECHO = """
'use strict'

module.exports = async (event, context) => {
  const asked = event.query.return
  if (asked) return eval(asked)
  const type = Buffer.isBuffer(event.body) ? 'Buffer' : typeof event.body
  return context.status(200).headers({ 'Content-Type': 'application/json' }).succeed({
    body: event.body, type, method: event.method, path: event.path, query: event.query,
    call: event.headers['x-call-id']
  })
}
"""


@pytest.fixture(scope="module")
def echo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("functions") / "echo", ECHO, language="node20")
    yield server
    server.stop()


def event(server: Server, path: str, body: bytes | None = None, content_type: str = "") -> dict[str, object]:
    headers = {"X-Call-Id": "id", **({"Content-Type": content_type} if content_type else {})}
    found: dict[str, object] = json.loads(server.ask("POST", path, body, headers)[2])
    return found


def test_the_event_has_everything_of_the_request(echo: Server) -> None:
    found = event(echo, "/a/b?x=1&x=2&y=", b"data")
    assert (found["body"], found["type"], found["method"]) == ("data", "string", "POST")
    assert (found["path"], found["query"], found["call"]) == ("/a/b", {"x": ["1", "2"], "y": ""}, "id")


@pytest.mark.parametrize(
    ("content_type", "body", "seen"),
    [
        ("", b"text", "text"),
        ("text/plain; charset=utf-8", "für".encode(), "für"),
        ("application/json", b'{"a": [1, 2]}', {"a": [1, 2]}),
        ("application/json", b"", {}),
        ("application/x-www-form-urlencoded", b"a=1&b=x+y", {"a": "1", "b": "x y"}),
        ("application/octet-stream", b"\x00", {}),
    ],
)
def test_a_body_is_parsed_by_its_content_type(echo: Server, content_type: str, body: bytes, seen: object) -> None:
    assert event(echo, "/", body, content_type)["body"] == seen


def test_a_body_that_is_not_json_is_400(echo: Server) -> None:
    status, _, body = echo.ask("POST", "/", b"{", {"Content-Type": "application/json"})
    assert (status, body.startswith(b"the body is not JSON: ")) == (400, True)


@pytest.mark.parametrize(
    ("expression", "status", "content_type", "body"),
    [
        ("undefined", 200, None, b""),
        ("'text'", 200, HTML, b"text"),
        ("Buffer.from('raw')", 200, "application/octet-stream", b"raw"),
        ("({a: 1})", 200, HTML, b'{"a":1}'),
        ("[1, 2]", 200, HTML, b"[1,2]"),
        ("42", 200, HTML, b"42"),
        ("context.status(201).succeed('made')", 201, HTML, b"made"),
        ("context.status(201) && 'made'", 201, HTML, b"made"),
        ("context.headers({'content-type': 'a/b'}).succeed('x')", 200, "a/b", b"x"),
        (
            "context.headers({'Content-type': 'application/json'}).succeed('1')",
            200,
            "application/json; charset=utf-8",
            b"1",
        ),
        ("context.fail('no')", 500, "text/plain; charset=utf-8", b"no"),
        ("context.status(404).fail('none')", 404, "text/plain; charset=utf-8", b"none"),
        ("Promise.reject(new Error('late'))", 500, "text/plain; charset=utf-8", b"Error: late"),
        ("nothing.at.all", 500, "text/plain; charset=utf-8", b"ReferenceError: nothing is not defined"),
        ("context.status(99999).succeed('x')", 500, HTML, b"x"),
    ],
)
def test_a_handler_may_answer_what_the_template_accepts(
    echo: Server, expression: str, status: int, content_type: str | None, body: bytes
) -> None:
    from urllib.parse import quote

    found, headers, said = echo.ask("GET", f"/?return={quote(expression)}")
    assert (found, headers["Content-Type"], said) == (status, content_type, body)


@pytest.mark.parametrize(
    "handler",
    [
        "module.exports = async (event, context) => context.status(200).succeed({'body': event.body, 'n': 1});",
        "module.exports = (event, context, callback) => { setTimeout(() => callback(undefined, {body: 'in', n: 1})) }",
        "module.exports = async function (event, context) { return {'body': event.body, 'n': 1} }",
        "exports = module.exports = (event, context) => { context.succeed({body: event.body, n: 1}) }",
    ],
    ids=["context", "callback", "return", "sync"],
)
def test_handlers_in_the_styles_of_openfaas_own_pages_run_unmodified(tmp_path: Path, handler: str) -> None:
    server = Server(tmp_path / "f", handler, language="node20")
    try:
        assert json.loads(server.ask("POST", "/", b"in", {"Content-Type": "text/plain"})[2]) == {"body": "in", "n": 1}
    finally:
        server.stop()


def test_raw_bodies_and_their_limits_are_settings_of_the_template(tmp_path: Path) -> None:
    handler = "module.exports = async (event, context) => context.succeed(String(Buffer.isBuffer(event.body)))"
    server = Server(tmp_path / "f", handler, {"RAW_BODY": "true", "MAX_RAW_SIZE": "1kb"}, language="node20")
    try:
        assert server.ask("POST", "/", b"\xff" * 1024, {"Content-Type": "application/json"})[::2] == (200, b"true")
        assert server.ask("POST", "/", b"\xff" * 1025)[::2] == (413, b"the body is larger than 1024 bytes\n")
    finally:
        server.stop()


@pytest.mark.parametrize(
    ("handler", "sentence"),
    [
        ("require('no-such-module')", "function/handler.js cannot be loaded: Cannot find module 'no-such-module'"),
        (
            "module.exports = 1",
            "function/handler.js exports no function; write module.exports = async (event, context)",
        ),
    ],
)
def test_a_handler_that_cannot_be_loaded_is_named_in_the_last_line(tmp_path: Path, handler: str, sentence: str) -> None:
    with pytest.raises(AssertionError) as caught:
        Server(tmp_path / "f", handler, language="node20")
    assert (tmp_path / "f" / "log").read_text().splitlines()[-1].startswith(sentence)
    assert sentence in str(caught.value)

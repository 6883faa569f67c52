"""The ruby server: handlers of OpenFaaS's ruby-http and ruby templates run unmodified."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.unit.functions.function_rig import Server

HTML = "text/html;charset=utf-8"

ASKED = """
require 'json'
require 'uri'

class Handler
  def run(body, headers)
    asked = URI.decode_www_form(headers['QUERY_STRING']).to_h['return']
    return eval(asked) if asked

    seen = headers.reject { |name, _| name == 'rack.input' }
    return JSON.generate(seen.merge('body' => body.read)), { 'content-type': 'application/json' }
  end
end
"""


def test_the_environment_has_everything_of_the_request(tmp_path: Path) -> None:
    server = Server(tmp_path / "f", ASKED, language="ruby")
    try:
        headers = {"X-Call-Id": "id", "Content-Type": "text/plain"}
        seen = json.loads(server.ask("POST", "/a%20b/c?x=1&x=2", b"data", headers)[2])
    finally:
        server.stop()
    assert (seen["body"], seen["REQUEST_METHOD"], seen["PATH_INFO"]) == ("data", "POST", "/a%20b/c")
    assert (seen["QUERY_STRING"], seen["HTTP_X_CALL_ID"]) == ("x=1&x=2", "id")
    assert (seen["CONTENT_TYPE"], seen["CONTENT_LENGTH"]) == ("text/plain", "4")


def test_a_handler_may_return_what_the_template_accepts(tmp_path: Path) -> None:
    cases = [
        ("nil", 200, HTML, b""),
        ("'text'", 200, HTML, b"text"),
        ("['made', {'content-type' => 'a/b'}, 201]", 201, "a/b", b"made"),
        ("['x', {'Content-Type': 'c/d'}]", 200, "c/d", b"x"),
        ("['x', nil, '202']", 202, HTML, b"x"),
        ("[['a', 'b'], {}, 200]", 200, HTML, b"ab"),
        ("['x', {}, 99]", 500, "text/plain; charset=utf-8", None),
        ("no_such_name", 500, "text/plain; charset=utf-8", None),
        ("exit", 500, "text/plain; charset=utf-8", None),
    ]
    server = Server(tmp_path / "f", ASKED, language="ruby")
    try:
        for expression, status, content_type, body in cases:
            found, headers, said = server.ask("GET", f"/?return={quote(expression)}")
            assert (found, headers["Content-Type"]) == (status, content_type), expression
            assert body is None or said == body
    finally:
        server.stop()


@pytest.mark.parametrize(
    ("handler", "body"),
    [
        (
            'class Handler\n  def run(req)\n    return "Hello world from the Ruby template: #{req}"\n  end\nend\n',
            b"Hello world from the Ruby template: in",
        ),
        (
            'class Handler\n  def run(body, headers)\n    response_headers = {"content-type": "text/html"}\n'
            '    body = "<html>Hello world from the Ruby template</html>"\n\n    return body, response_headers\n'
            "  end\nend\n",
            b"<html>Hello world from the Ruby template</html>",
        ),
    ],
    ids=["ruby", "ruby-http"],
)
def test_handlers_of_openfaas_own_pages_run_unmodified(tmp_path: Path, handler: str, body: bytes) -> None:
    server = Server(tmp_path / "f", handler, language="ruby")
    try:
        assert server.ask("POST", "/", b"in")[::2] == (200, body)
    finally:
        server.stop()


@pytest.mark.parametrize(
    ("handler", "sentence"),
    [
        ("require 'no/such'", "function/handler.rb cannot be loaded: cannot load such file -- no/such"),
        ("class Other; end", "function/handler.rb has no class Handler with a method run(body, headers); write it"),
        ("class Handler", "function/handler.rb cannot be loaded: "),
    ],
)
def test_a_handler_that_cannot_be_loaded_is_named_in_the_last_line(tmp_path: Path, handler: str, sentence: str) -> None:
    with pytest.raises(AssertionError):
        Server(tmp_path / "f", handler, language="ruby")
    assert (tmp_path / "f" / "log").read_text().splitlines()[-1].startswith(sentence)


def test_a_post_without_a_length_has_no_body(tmp_path: Path) -> None:
    server = Server(tmp_path / "f", ASKED, language="ruby")
    try:
        with server.connect() as connection:
            for _ in range(2):
                connection.sendall(b"POST / HTTP/1.1\r\nHost: f\r\n\r\n")
                answer = connection.recv(65536)
                assert json.loads(answer.partition(b"\r\n\r\n")[2])["body"] == ""
    finally:
        server.stop()

"""The python3-http server: a handler written for OpenFaaS runs unmodified. Its manners: test_contract.py."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.unit.functions.function_rig import Server

ECHO = '''
import json

def handle(event, context):
    """Tells what it was given; returns what the query asks for."""
    how = event.query.get("return", "event")
    if how == "event":
        return {"statusCode": 200, "body": {
            "body": event.body.decode("latin-1"), "type": type(event.body).__name__, "method": event.method,
            "path": event.path, "query": event.query.to_dict(flat=False), "hostname": context.hostname,
            "call": event.headers.get("x-call-id"), "agent": event.headers["User-Agent"],
            "names": sorted(name for name, _ in event.headers.items()), "missing": event.headers.get("No", "default"),
        }}
    return eval(how)
'''

SLEEPY = """
import time

def handle(event, context):
    time.sleep(float(event.query.get("s", 0)))
    return "slept"
"""


@pytest.fixture(scope="module")
def echo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(
        tmp_path_factory.mktemp("functions") / "echo",
        ECHO,
        {"FUNCTION_NAMESPACE": "ns", "INSTANCE_ID": "echo.ns.1", "HOSTNAME": "here"},
    )
    yield server
    server.stop()


def returned(server: Server, expression: str) -> tuple[int, str, bytes]:
    """(status, content type, body) of a handler that returns this expression."""
    from urllib.parse import quote

    status, headers, body = server.ask("GET", f"/?return={quote(expression)}")
    return status, headers["Content-Type"], body


def test_the_event_has_everything_of_the_request(echo: Server) -> None:
    status, headers, body = echo.ask(
        "POST", "/a%20b/c?x=1&x=2&y=", b"\x00\xffdata", {"X-Call-Id": "id", "User-Agent": "me", "Content-Type": "a/b"}
    )
    event = json.loads(body)
    assert (status, headers["Content-Type"]) == (200, "application/json")
    assert (event["body"], event["type"], event["method"]) == ("\x00\xffdata", "bytes", "POST")
    assert (event["path"], event["query"]) == ("/a b/c", {"x": ["1", "2"], "y": [""]})
    assert (event["call"], event["agent"], event["hostname"], event["missing"]) == ("id", "me", "here", "default")
    assert {"Content-Type", "Content-Length", "X-Call-Id", "User-Agent", "Host"} <= set(event["names"])


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE"])
def test_the_templates_methods_reach_the_handler(echo: Server, method: str) -> None:
    assert json.loads(echo.ask(method, "/", None, {"User-Agent": "x"})[2])["method"] == method


def test_other_methods_do_not(echo: Server) -> None:
    assert echo.ask("PURGE", "/")[0] == 405
    status, headers, _ = echo.ask("OPTIONS", "/")
    assert (status, headers["Allow"]) == (200, "DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT")


HTML = "text/html; charset=utf-8"


@pytest.mark.parametrize(
    ("expression", "status", "content_type", "body"),
    [
        ("None", 200, HTML, b""),
        ("'text'", 200, HTML, b"text"),
        ("b'raw'", 200, HTML, b"raw"),
        ("{}", 200, HTML, b""),
        ("{'statusCode': 201, 'body': 'made'}", 201, HTML, b"made"),
        ("{'statusCode': 599, 'body': ''}", 599, HTML, b""),
        ("{'body': {'b': 1, 'a': [2]}}", 200, "application/json", b'{"a":[2],"b":1}\n'),
        ("{'body': [1, 2]}", 200, "application/json", b"[1,2]\n"),
        ("{'body': 42}", 200, HTML, b"42"),
        ("{'body': 'x', 'headers': {'Content-type': 'text/plain'}}", 200, "text/plain", b"x"),
        ("{'body': 'x', 'headers': [('Content-Type', 'a/b')]}", 200, "a/b", b"x"),
        ("[1]", 200, "application/json", b"[1]\n"),
        ("('text', 202)", 202, HTML, b"text"),
        ("('text', '203 Something')", 203, HTML, b"text"),
        ("('text', {'Content-Type': 'c/d'})", 200, "c/d", b"text"),
        ("({'a': 1}, 404, {'X-A': 'b'})", 404, "application/json", b'{"a":1}\n'),
        ("'\u00e9'", 200, HTML, "é".encode()),
    ],
)
def test_a_handler_may_return_what_the_template_accepts(
    echo: Server, expression: str, status: int, content_type: str, body: bytes
) -> None:
    assert returned(echo, expression) == (status, content_type, body)


@pytest.mark.parametrize("expression", ["1/0", "42", "object()", "(1, 2, 3, 4)", "('x', 'y' * 0)"])
def test_a_failing_handler_is_500_and_the_server_lives_on(echo: Server, expression: str) -> None:
    assert returned(echo, expression)[0] == 500
    assert returned(echo, "'well'") == (200, HTML, b"well")
    assert "Traceback" in echo.log.read_text()

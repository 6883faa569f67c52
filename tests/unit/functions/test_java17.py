"""The java17 server: handlers of OpenFaaS's java templates run unmodified; what does not compile is said."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from testbed.model.errors import StackError
from tests.unit.functions.function_rig import HANDLER_FILES, Server, build

ECHO = """
package com.openfaas.function;

import com.google.gson.Gson;
import com.openfaas.model.IHandler;
import com.openfaas.model.IResponse;
import com.openfaas.model.IRequest;
import com.openfaas.model.Response;
import java.util.Map;

public class Handler implements com.openfaas.model.IHandler {

    public IResponse Handle(IRequest req) {
        Response res = new Response();
        if (req.getPathRaw().equals("/out-of-range")) {
            res.setStatusCode(99);
        } else if (req.getPathRaw().equals("/split")) {
            res.setHeader("X-A", "b\\r\\nX-C: d");
        } else {
            res.setHeader("content-type", "application/json");
            res.setBody(new Gson().toJson(Map.of("body", req.getBody(), "path", req.getPath(), "raw", req.getPathRaw(),
                "query", req.getQuery(), "queryRaw", req.getQueryRaw(), "call", req.getHeader("x-call-id"),
                "method", req.getMethod())));
        }
        return res;
    }
}
"""


@pytest.fixture(scope="module")
def echo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("functions") / "echo", ECHO, language="java17")
    yield server
    server.stop()


def test_the_request_has_what_openfaas_interface_names(echo: Server) -> None:
    status, headers, body = echo.ask("POST", "/book/1/x?a=1&a=2&b=%20&c", "für".encode(), {"X-Call-Id": "id"})
    assert (status, headers["content-type"], headers.get_all("content-type")) == (
        200,
        "application/json",
        ["application/json"],
    )
    assert json.loads(body) == {
        "body": "für", "path": {"book": "1", "x": ""}, "raw": "/book/1/x", "query": {"a": "1", "b": " ", "c": ""},
        "queryRaw": "a=1&a=2&b=%20&c", "call": "id", "method": "POST",
    }  # fmt: skip


@pytest.mark.parametrize("path", ["/out-of-range", "/split"])
def test_an_answer_that_http_does_not_allow_is_500(echo: Server, path: str) -> None:
    status, headers, _ = echo.ask("GET", path)
    assert (status, headers["X-C"]) == (500, None)


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"GET / HTTP/1.1\r\n: empty\r\n\r\n",
        b"GET /\r\n\r\n",
        b"GET / HTTP/1.1\r\nX: " + b"x" * 300_000,
    ],
)
def test_what_is_not_http_is_400_and_ends_the_connection(echo: Server, request_bytes: bytes) -> None:
    with echo.connect() as connection:
        connection.sendall(request_bytes)
        assert connection.recv(65536).startswith(b"HTTP/1.1 400 Bad Request\r\n")


def test_a_client_that_waits_for_100_continue_gets_it(echo: Server) -> None:
    with echo.connect() as connection:
        connection.sendall(b"POST / HTTP/1.1\r\nExpect: 100-continue\r\nX-Call-Id: a\r\nContent-Length: 2\r\n\r\n")
        assert connection.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(b"in")
        assert b'"body":"in"' in connection.recv(65536)


def test_what_does_not_compile_is_refused_with_file_and_line(tmp_path: Path) -> None:
    wrong = "package com.openfaas.function;\n\npublic class Handler {\n    int f() { return missing; }\n}\n"
    with pytest.raises(StackError) as caught:
        build(tmp_path, wrong, "java17")
    assert str(caught.value) == (
        f"function f does not compile: function/{HANDLER_FILES['java17']}:4: error: cannot find symbol; "
        "mend it and deploy again"
    )


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("", "java.lang.ClassCastException: class com.openfaas.function.Handler cannot be cast"),
        (
            'public Handler() { throw new IllegalStateException("no database"); }',
            "java.lang.IllegalStateException: no database",
        ),
    ],
)
def test_a_handler_that_cannot_be_made_is_named_in_the_last_line(tmp_path: Path, body: str, reason: str) -> None:
    with pytest.raises(AssertionError):
        Server(
            tmp_path / "f", f"package com.openfaas.function;\n\npublic class Handler {{ {body} }}\n", language="java17"
        )
    last = (tmp_path / "f" / "log").read_text().splitlines()[-1]
    assert last.startswith(f"com.openfaas.function.Handler cannot be made: {reason}")

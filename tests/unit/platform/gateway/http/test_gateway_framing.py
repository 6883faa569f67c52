"""Requests that two parties could read differently, pipelining, upgrades, and clients that expect 100."""

from __future__ import annotations

import json
import re
import socket
import time
from collections.abc import Iterator

import pytest

from tests.unit.platform.gateway.gateway_rig import Rig, rig
from tests.unit.platform.gateway.loopback import read_all, read_head


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    with rig(tmp_path_factory.mktemp("gateway")) as one:
        one.backend("f")
        yield one


def statuses(answers: bytes) -> list[int]:
    return [int(code) for code in re.findall(rb"HTTP/1\.1 (\d{3}) ", answers)]


SMUGGLED = b"GET /function/smuggled HTTP/1.1\r\nHost: g\r\n\r\n"


@pytest.mark.parametrize(
    "head",
    [
        b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        b"Content-Length: 5\r\nContent-Length: 6\r\n",
        b"Content-Length: 5\r\nContent-Length: 5\r\n",
        b"Content-Length: +5\r\n",
        b"Content-Length: 5, 6\r\n",
        b"Content-Length: 0x5\r\n",
        b"Content-Length: -1\r\n",
        b"Content-Length: 99999999999999999999999\r\n",
        b"Transfer-Encoding : chunked\r\n",
        b"Transfer-Encoding: identity\r\n",
        b"Transfer-Encoding: chunked, identity\r\n",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
        b"X: 1\r\n Content-Length: 5\r\n",
        b"X: 1\nContent-Length: 5\r\n",
        b"X\x00: 1\r\n",
        b"X: a\x00b\r\n",
        b": nameless\r\n",
        b"Host: second\r\n",
        b"Content-Length: 5 5\r\n",
        b"Content-Length: 5\x0b\r\n",
        b"Content-Length: 5\r\nContent-length: 5\r\n",
        b"Content-Length : 5\r\n",
        b"Transfer-Encoding:\x0bchunked\r\n",
        b"Transfer-Encoding: \x00chunked\r\n",
        b"Transfer-Encoding: xchunked\r\nContent-Length: 5\r\n",
        b"Transfer-Encoding\r\n : chunked\r\n",
        b"X: 1\r\n\tTransfer-Encoding: chunked\r\n",
        b"X: 1\rTransfer-Encoding: chunked\r\n",
        b" Transfer-Encoding: chunked\r\n",
        b"Transfer\xc2\xadEncoding: chunked\r\n",
    ],
)
def test_ambiguous_or_malformed_heads_are_refused_and_what_follows_is_not_served(lab: Rig, head: bytes) -> None:
    before = lab.gateway.metric("gateway_function_invocation_started", function_name="f.openfaas-fn")
    answers = lab.raw(b"POST /function/f HTTP/1.1\r\nHost: g\r\n" + head + b"\r\n0\r\n\r\n" + SMUGGLED)
    assert statuses(answers) == [400]
    assert b"Connection: close" in answers
    assert lab.gateway.metric("gateway_function_invocation_started", function_name="f.openfaas-fn") == before


@pytest.mark.parametrize("coding", [b"gzip, chunked", b"chunked, chunked"])
def test_codings_other_than_chunked_are_not_passed_on(lab: Rig, coding: bytes) -> None:
    answers = lab.raw(b"POST /function/f HTTP/1.1\r\nHost: g\r\nTransfer-Encoding: " + coding + b"\r\n\r\n0\r\n\r\n")
    assert statuses(answers) in ([400], [501])


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GET /function/f HTTP/1.1\r\n\r\n",
        b"GET /function/f HTTP/2.0\r\nHost: g\r\n\r\n",
        b"GET /function/f\r\n\r\n",
        b"POST /function/f HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ],
)
def test_what_is_no_http_1_1_request_is_400(lab: Rig, request_bytes: bytes) -> None:
    assert statuses(lab.raw(request_bytes)) == [400]


@pytest.mark.parametrize(
    "chunks",
    [
        b"2;name=value\r\nab\r\n0\r\n\r\n",
        b'2;name="a;b"\r\nab\r\n0\r\n\r\n',
        b"002\r\nab\r\n000\r\n\r\n",
        b"1\r\na\r\n1;x\r\nb\r\n0;last\r\nX-Trailer: 1\r\n\r\n",
    ],
)
def test_chunk_extensions_and_trailers_stop_here(lab: Rig, chunks: bytes) -> None:
    head = b"POST /function/f HTTP/1.1\r\nHost: g\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    answer = lab.raw(head + chunks)
    assert statuses(answer) == [200]
    passed_on = json.loads(answer.partition(b"\r\n\r\n")[2])["body"]
    assert re.sub(r"[0-9]+\r\n|\r\n", "", passed_on) == "ab"


@pytest.mark.parametrize(
    "chunks",
    [
        b"0x2\r\nab\r\n0\r\n\r\n",
        b"-2\r\nab\r\n0\r\n\r\n",
        b"+2\r\nab\r\n0\r\n\r\n",
        b"10000000000000002\r\nab\r\n0\r\n\r\n",
        b"2\r\nabc\r\n0\r\n\r\n",
        b"2\r\nab0\r\n\r\n",
        b"2\nab\n0\n\n",
        b"2;x\nab\r\n0\r\n\r\n",
        b"\r\n\r\n",
    ],
)
def test_chunks_that_could_be_read_otherwise_end_the_connection(lab: Rig, chunks: bytes) -> None:
    head = b"POST /function/f HTTP/1.1\r\nHost: g\r\nTransfer-Encoding: chunked\r\n\r\n"
    answers = lab.raw(head + chunks + SMUGGLED)
    assert statuses(answers) == [400]
    assert b"smuggled" not in answers


def test_a_bad_chunk_ends_the_exchange_and_the_connection(lab: Rig) -> None:
    head = b"POST /function/f HTTP/1.1\r\nHost: g\r\nTransfer-Encoding: chunked\r\n\r\n"
    with lab.gateway.connect() as connection:
        connection.sendall(head + b"2\r\nab\r\n")
        time.sleep(0.1)
        connection.sendall(b"zz\r\n" + SMUGGLED)
        assert statuses(read_all(connection)) == [400]


def test_a_head_of_more_than_a_mebibyte_is_431(lab: Rig) -> None:
    with lab.gateway.connect() as connection:
        connection.sendall(b"GET /function/f HTTP/1.1\r\nHost: g\r\n")
        line = b"X-Filler: " + b"x" * 8000 + b"\r\n"
        try:
            for _ in range(200):
                connection.sendall(line)
        except OSError:
            pass
        answer = connection.recv(65536)
    assert statuses(answer) == [431]


def test_a_head_may_arrive_byte_by_byte(lab: Rig) -> None:
    with lab.gateway.connect() as connection:
        for byte in (
            b"POST /function/f/some/path?q=1 HTTP/1.1\r\nHost: g\r\nX-Long-Name: value\r\nContent-Length: 3\r\n\r\nabc"
        ):
            connection.sendall(bytes([byte]))
        answer = read_head(connection)
        while not answer.endswith(b"}"):
            answer += connection.recv(65536)
    got = json.loads(answer.partition(b"\r\n\r\n")[2])
    assert (got["target"], got["body"]) == ("/some/path?q=1", "abc")
    assert ["X-Long-Name", "value"] in got["headers"]


def test_pipelined_requests_are_answered_in_their_order(lab: Rig) -> None:
    requests = b"".join(b"GET /function/f/%d HTTP/1.1\r\nHost: g\r\n\r\n" % number for number in range(50))
    last = b"POST /function/none HTTP/1.1\r\nHost: g\r\nContent-Length: 3\r\n\r\nabc"
    closing = b"GET /function/f/end HTTP/1.1\r\nHost: g\r\nConnection: close\r\n\r\n"
    answers = lab.raw(requests + last + closing)
    assert statuses(answers) == [200] * 50 + [404, 200]
    targets = re.findall(rb'"target": "(/[^"]*)"', answers)
    assert targets == [*(b"/%d" % number for number in range(50)), b"/end"]


def test_a_pipelined_request_waits_for_a_slow_answer(lab: Rig) -> None:
    def slowly(connection: socket.socket) -> None:
        while read_head(connection):
            time.sleep(0.2)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nslow")

    lab.backend("slowly", slowly)
    answers = lab.raw(
        b"GET /function/slowly HTTP/1.1\r\nHost: g\r\n\r\n"
        b"GET /function/ghost HTTP/1.1\r\nHost: g\r\nConnection: close\r\n\r\n"
    )
    assert statuses(answers) == [200, 404]


def test_garbage_after_a_good_request_is_answered_after_it(lab: Rig) -> None:
    answers = lab.raw(b"GET /function/f HTTP/1.1\r\nHost: g\r\n\r\nGARBAGE\r\n\r\n")
    assert statuses(answers) == [200, 400]


def test_an_upgrade_is_declined_by_an_ordinary_answer(lab: Rig) -> None:
    answers = lab.raw(
        b"GET /function/f/one HTTP/1.1\r\nHost: g\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
        b"GET /function/f/two HTTP/1.1\r\nHost: g\r\nConnection: close\r\n\r\n"
    )
    assert statuses(answers) == [200, 200]
    assert b"pgrade" not in answers.partition(b'"target": "/two"')[0].replace(b"X-Upgrade", b"")


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"POST /function/f HTTP/1.1\r\nHost: g\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 46\r\n\r\n",
        b"CONNECT g:443 HTTP/1.1\r\nHost: g\r\n\r\n",
    ],
)
def test_an_upgrade_with_a_body_and_a_tunnel_are_refused(lab: Rig, request_bytes: bytes) -> None:
    assert statuses(lab.raw(request_bytes + SMUGGLED)) == [501]


def test_a_client_that_expects_100_gets_it_before_it_sends(lab: Rig) -> None:
    with lab.gateway.connect() as connection:
        connection.sendall(
            b"POST /function/f HTTP/1.1\r\nHost: g\r\nContent-Length: 3\r\nExpect: 100-continue\r\n"
            b"Connection: close\r\n\r\n"
        )
        assert connection.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(b"abc")
        answer = read_all(connection)
    got = json.loads(answer.partition(b"\r\n\r\n")[2])
    assert got["body"] == "abc"
    assert "expect" not in [name.lower() for name, _ in got["headers"]]


def test_a_client_that_expects_100_for_nothing_gets_the_final_answer(lab: Rig) -> None:
    answer = lab.raw(b"POST /function/ghost HTTP/1.1\r\nHost: g\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n")
    assert statuses(answer) == [404]
    assert b"Connection: close" in answer


def test_the_extra_bytes_of_an_answer_never_reach_the_next_client(lab: Rig) -> None:
    def talkative(connection: socket.socket) -> None:
        while read_head(connection):
            poison = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison"
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood" + poison)

    lab.backend("talkative", talkative)
    for _ in range(10):
        assert lab.gateway.request("GET", "/function/talkative")[2] == b"good"
    assert lab.opened("talkative") == 10


def test_unasked_bytes_on_an_idle_connection_close_it(lab: Rig) -> None:
    def late(connection: socket.socket) -> None:
        while read_head(connection):
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood")
            time.sleep(0.05)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison")

    lab.backend("late", late)
    for _ in range(3):
        assert lab.gateway.request("GET", "/function/late")[2] == b"good"
        time.sleep(0.2)
    assert lab.opened("late") == 3


def test_the_gateway_logs_no_exception(lab: Rig) -> None:
    assert "Traceback" not in lab.gateway.log.read_text()

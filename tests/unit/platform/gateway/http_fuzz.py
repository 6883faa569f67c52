"""Requests that are almost HTTP: a corpus of mutants, the same for the same seed."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

SEEDS = (
    b"GET /function/f HTTP/1.1\r\nHost: g\r\nConnection: close\r\n\r\n",
    b"GET /function/f.openfaas-fn/a/b?c=d HTTP/1.1\r\nHost: g\r\nX-Call-Id: 1\r\nX-Forwarded-For: 1.2.3.4\r\n\r\n",
    b"POST /function/f HTTP/1.1\r\nHost: g\r\nContent-Length: 5\r\n\r\nhello",
    b"POST /function/f HTTP/1.1\r\nHost: g\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    b"POST /function/f HTTP/1.1\r\nHost: g\r\nTransfer-Encoding: chunked\r\n\r\n1;a=b\r\nh\r\n0\r\nX: 1\r\n\r\n",
    b"POST /function/f HTTP/1.1\r\nHost: g\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nok",
    b"HEAD /function/f HTTP/1.1\r\nHost: g\r\n\r\nGET /function/f HTTP/1.1\r\nHost: g\r\n\r\n",
    b"GET /function/f HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nHost: g\r\n\r\n",
    b"GET http://g/function/f HTTP/1.1\r\nHost: g\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
    b"CONNECT g:443 HTTP/1.1\r\nHost: g\r\n\r\n",
    b"GET /system/functions HTTP/1.1\r\nHost: g\r\nAuthorization: Basic YWRtaW46c2VjcmV0\r\n\r\n",
    b"POST /system/alert HTTP/1.1\r\nHost: g\r\nAuthorization: Basic YWRtaW46c2VjcmV0\r\nContent-Length: 2\r\n\r\n{}",
    b"GET /ui/ HTTP/1.1\r\nHost: g\r\nAuthorization: Basic YWRtaW46c2VjcmV0\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: g\r\nCookie: a=b; c=d\r\nAccept: */*\r\nUser-Agent: x\r\n\r\n",
)
TOKENS = (
    b"\r\n", b"\n", b"\r", b"\0", b" ", b"\t", b":", b"\r\n ", b"\x80", b"\xff", b"%00", b"%2f", b"//", b"/../",
    b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding : chunked\r\n", b"Content-Length: 3\r\n",
    b"Content-Length: 99999999999\r\n", b"Content-Length: -1\r\n", b"Connection: close, X\r\n", b"Host: other\r\n",
    b"Expect: 100-continue\r\n", b"Upgrade: h2c\r\n", b"0\r\n\r\n", b"ffffffffffffffff\r\n", b"7fffffff\r\n",
    b"HTTP/1.1", b"HTTP/9.9", b"GET /function/f HTTP/1.1\r\nHost: g\r\n\r\n", b"X: " + b"y" * 5000 + b"\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"\x16\x03\x01",
)  # fmt: skip

Mutation = Callable[[random.Random, bytearray], None]


def mutants(count: int, seed: int) -> Iterator[bytes]:
    """`count` requests, each one to six mutations away from a good one or from two of them."""
    chance = random.Random(seed)
    for _ in range(count):
        data = bytearray(chance.choice(SEEDS))
        if chance.random() < 0.2:
            data += chance.choice(SEEDS)
        for _ in range(chance.randint(1, 6)):
            chance.choice(MUTATIONS)(chance, data)
        yield bytes(data)


def _place(chance: random.Random, data: bytearray) -> int:
    return chance.randrange(len(data) + 1)


def _span(chance: random.Random, data: bytearray) -> slice:
    start = _place(chance, data)
    return slice(start, min(len(data), start + chance.randint(1, 40)))


def _flip(chance: random.Random, data: bytearray) -> None:
    if data:
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)


def _insert_token(chance: random.Random, data: bytearray) -> None:
    place = _place(chance, data)
    data[place:place] = chance.choice(TOKENS)


def _insert_line(chance: random.Random, data: bytearray) -> None:
    """A token where a header line begins: the likeliest place to confuse two readers."""
    place = data.find(b"\r\n") + 2
    data[place:place] = chance.choice(TOKENS)


def _delete(chance: random.Random, data: bytearray) -> None:
    del data[_span(chance, data)]


def _repeat(chance: random.Random, data: bytearray) -> None:
    span = _span(chance, data)
    data[span.stop : span.stop] = data[span] * chance.randint(1, 3)


def _cut(chance: random.Random, data: bytearray) -> None:
    if chance.random() < 0.3:
        del data[_place(chance, data) :]


def _noise(chance: random.Random, data: bytearray) -> None:
    place = _place(chance, data)
    data[place:place] = chance.randbytes(chance.randint(1, 8))


MUTATIONS: tuple[Mutation, ...] = (_flip, _insert_token, _insert_line, _delete, _repeat, _cut, _noise)

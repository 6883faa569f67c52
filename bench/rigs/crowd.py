"""An application of many functions: a stack.yaml with a random call graph, and a server that costs next to nothing.

It is deployed as any other. By default its functions run a server of few lines by an `fprocess` of their own, so that
hundreds of them are a matter of the lab and not of their language; python3-http's server otherwise.
"""

from __future__ import annotations

import random
from pathlib import Path

import yaml

LIGHT_FPROCESS = "python -I -S function/light.py"
_HANDLER = """\
def handle(event, context):
    return "here"
"""
_LIGHT = """\
import _socket
import select

ANSWER = b"HTTP/1.1 200 OK\\r\\nContent-Length: 4\\r\\nConnection: close\\r\\n\\r\\nhere"

listening = _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM)
listening.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEADDR, 1)
listening.bind(("0.0.0.0", 8080))
listening.listen(1024)
poll = select.epoll()
poll.register(listening.fileno(), select.EPOLLIN)
connections = {}
while True:
    for descriptor, _ in poll.poll():
        if descriptor == listening.fileno():
            connection = _socket.socket(fileno=listening._accept()[0])
            connections[connection.fileno()] = connection
            poll.register(connection.fileno(), select.EPOLLIN)
            continue
        connection = connections.pop(descriptor)
        try:
            if connection.recv(4096):
                connection.send(ANSWER)
        except OSError:
            pass
        connection.close()
"""


def name(number: int) -> str:
    return f"f{number:03}"


def call_graph(functions: int, calls: int, seed: int) -> dict[str, list[str]]:
    """Function -> its callees: so many calls without a circle, drawn at random; the same for the same seed."""
    chance = random.Random(seed)
    drawn: set[tuple[int, int]] = set()
    while len(drawn) < calls:
        caller, callee = sorted(chance.sample(range(functions), 2))
        drawn.add((caller, callee))
    return {name(one): [name(callee) for caller, callee in sorted(drawn) if caller == one] for one in range(functions)}


def write(folder: Path, graph: dict[str, list[str]], *, light: bool = True) -> Path:
    """The stack.yaml of such an application, with its handler beside it. Every function is an ingress function."""
    code = folder / "member"
    code.mkdir(parents=True)
    (code / "handler.py").write_text(_HANDLER)
    (code / "light.py").write_text(_LIGHT)
    functions = {}
    for caller, callees in graph.items():
        environment = {f"URL_{n}": f"http://gateway.openfaas:8080/function/{one}" for n, one in enumerate(callees)}
        if light:
            environment["fprocess"] = LIGHT_FPROCESS
        functions[caller] = {
            "lang": "python3-http",
            "handler": "./member",
            "image": "crowd/member:1.0",
            "environment": environment,
            "annotations": {
                "directfaas/ingress": "true",
                **({"directfaas/calls": ", ".join(callees)} if callees else {}),
            },
        }
    provider = {"name": "openfaas", "gateway": "http://127.0.0.1:8080"}
    file = folder / "stack.yaml"
    file.write_text(yaml.safe_dump({"version": "1.0", "provider": provider, "functions": functions}, sort_keys=False))
    return file

"""No socket of the gateway waits to fill a segment.

Nagle's algorithm together with delayed acknowledgements would add 40 ms to calls by gateway, and
so make direct calls look far better than they are.
"""

from __future__ import annotations

import asyncio
import socket

import uvloop

from testbed.model.cluster import ClusterState, Function, Instance, Phase
from testbed.platform.gateway.http.client_connection import ClientConnection
from testbed.platform.gateway.http.deadlines import Limits
from testbed.platform.gateway.http.pool import Pool, Upstream
from testbed.platform.gateway.service.apiserver_client import ApiserverClient
from testbed.platform.gateway.service.dispatch import Gateway, Parts
from testbed.platform.gateway.service.functions import Functions


def nodelay(transport: asyncio.BaseTransport) -> bool:
    sock = transport.get_extra_info("socket")
    return bool(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while await reader.readuntil(b"\r\n\r\n"):
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")


async def both_ends() -> tuple[bytes, bool, bool]:
    """(the client's answer, TCP_NODELAY towards the client, towards the function)."""
    loop = asyncio.get_running_loop()
    function = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = function.sockets[0].getsockname()[1]
    functions = Functions(lambda vip: Pool(vip, port, pooled=True, max_idle=8, idle_timeout_s=60), "ns")
    deployed = Function("ns", "f", 256, "127.0.0.1", "image", 1, ingress=True)
    instance = Instance("f.ns.1", "ns", "f", 2, "10.202.0.1", phase=Phase.READY)
    functions.update(ClusterState(functions={deployed.full_name: deployed}, instances={instance.id: instance}))
    apiserver = Upstream(Pool("127.0.0.1", 1, pooled=True, max_idle=8, idle_timeout_s=60))
    gateway = Gateway(Parts(functions, apiserver, ApiserverClient("127.0.0.1", 1), Limits(), None, "ns"))
    server = await loop.create_server(lambda: ClientConnection(gateway), "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    writer.write(b"GET /function/f HTTP/1.1\r\nHost: g\r\n\r\n")
    got = await reader.readuntil(b"ok")
    (client,) = gateway.connections
    (upstream,) = next(functions.pools()).connections
    ends = nodelay(client.transport), nodelay(upstream.transport)
    writer.close()
    return got, *ends


def test_both_ends_send_at_once() -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        got, towards_client, towards_function = runner.run(both_ends())
    assert got.startswith(b"HTTP/1.1 200")
    assert (towards_client, towards_function) == (True, True)

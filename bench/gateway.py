"""What the gateway costs, in one interleaved run beside HAProxy: added median latency and CPU time a request.

    python bench/gateway.py [--requests N] [--sizes 200,4096] [--json FILE]

Three targets serve the same function (an echo server): directly, through HAProxy, through the
gateway. One client takes them in random order, in bursts, so that whatever else the machine does
hits all three alike. "Added" is the median, over the turns, of the difference between a burst's
median and that of the direct burst in the same turn; CPU is the proxy process's
own, by the scheduler's accounting. The budget (docs/performance.md) is a multiple of HAProxy's.
Nothing here judges absolute times, except that answers which take about 40 ms, the mark of Nagle's
algorithm meeting delayed acknowledgements, raise an alarm. Exit code 1: over budget, or an alarm.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import select
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(CHECKOUT))

from testbed.model import ClusterState, Function, Instance, Phase  # noqa: E402

P50_BUDGET, CPU_BUDGET = 2.0, 3.0
FUNCTION_IP = "127.9.9.9"
STALL_MS = (38.0, 60.0)
STALL_SHARE = 0.01
TARGETS = ("direct", "haproxy", "gateway")

HAPROXY_CONFIG = """
global
    nbthread 1
    maxconn 2000
defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
    option forwardfor
    http-reuse {reuse}
frontend gateway
    bind 127.0.0.1:{port}
    unique-id-format %{{+X}}o%ci:%cp_%fi:%fp_%Ts_%rt:%pid
    http-request set-header X-Call-Id %[unique-id]
    http-request replace-path /function/[^/]+(.*) \\1
    default_backend function
backend function
    {close}
    server f {function}:{function_port}
"""


@dataclass
class Cell:
    """One way of asking: latencies in ms and CPU in ms a request, by target."""

    size: int
    keepalive: bool
    upstream: str
    burst: int
    latencies_ms: dict[str, list[float]] = field(default_factory=lambda: {target: [] for target in TARGETS})
    errors: dict[str, int] = field(default_factory=lambda: dict.fromkeys(TARGETS, 0))
    cpu_ms: dict[str, float] = field(default_factory=dict)

    def added_ms(self, target: str) -> float:
        pairs = zip(self._bursts(target), self._bursts("direct"), strict=True)
        return statistics.median(own - direct for own, direct in pairs)

    def _bursts(self, target: str) -> list[float]:
        """The median of each burst, in the order of the turns."""
        values = self.latencies_ms[target]
        return [statistics.median(values[at : at + self.burst]) for at in range(0, len(values), self.burst)]

    @property
    def p50_ratio(self) -> float:
        return self.added_ms("gateway") / self.added_ms("haproxy")

    @property
    def cpu_ratio(self) -> float:
        return self.cpu_ms["gateway"] / self.cpu_ms["haproxy"]

    def stalls(self, target: str) -> int:
        return sum(1 for value in self.latencies_ms[target] if STALL_MS[0] <= value <= STALL_MS[1])

    def alarms(self) -> list[str]:
        limit = {target: STALL_SHARE * len(self.latencies_ms[target]) + self.stalls("direct") for target in TARGETS}
        return [
            f"{target}: {self.stalls(target)} of {len(self.latencies_ms[target])} answers took about 40 ms"
            for target in TARGETS
            if self.stalls(target) > max(2, limit[target])
        ]


# The function and the apiserver: one small process each.


class Echo(asyncio.Protocol):
    """Answers with the body it was sent, in one write."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        import httptools

        self._transport: Any = transport
        self._parser = httptools.HttpRequestParser(self)
        self._body: list[bytes] = []

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_body(self, data: bytes) -> None:
        self._body.append(data)

    def on_message_complete(self) -> None:
        body, self._body = b"".join(self._body), []
        keep = self._parser.should_keep_alive()
        close = b"" if keep else b"Connection: close\r\n"
        head = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n%b\r\n" % (len(body), close)
        self._transport.write(head + body)
        if not keep:
            self._transport.close()


def serve_function(port: int) -> None:
    import uvloop

    async def serve() -> None:
        server = await asyncio.get_running_loop().create_server(Echo, FUNCTION_IP, port, backlog=1024)
        await server.serve_forever()

    uvloop.run(serve())


def serve_state(port: int) -> None:
    """One snapshot with one ready function, then heartbeats."""
    function = Function("openfaas-fn", "f", 256, FUNCTION_IP, "image", 1, ingress=True)
    instance = Instance("f.openfaas-fn.1", "openfaas-fn", "f", 2, "10.202.0.9", Phase.READY)
    state = ClusterState(1, (1, 2, 3), {}, {function.full_name: function}, {instance.id: instance}, {})
    lines = [{"type": "SNAPSHOT", "version": 1, "object": state.to_json()}, {"type": "HEARTBEAT", "version": 1}]

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + json.dumps(lines[0]).encode() + b"\n")
        while not writer.is_closing():
            await asyncio.sleep(5)
            writer.write(json.dumps(lines[1]).encode() + b"\n")

    async def serve() -> None:
        server = await asyncio.start_server(answer, "127.0.0.1", port)
        await server.serve_forever()

    asyncio.run(serve())


# Processes under test


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("", 0))
        return int(probe.getsockname()[1])


def spawn(stack: ExitStack, argv: Sequence[str], log: Path, environment: dict[str, str] | None = None) -> int:
    """Start a process that is ended with the stack; returns its pid."""
    with log.open("wb") as output:
        process = subprocess.Popen(argv, stdout=output, stderr=output, env={**os.environ, **(environment or {})})

    def stop() -> None:
        process.send_signal(signal.SIGTERM)
        process.wait(15)

    stack.callback(stop)
    return process.pid


def start(stack: ExitStack, folder: Path, upstream: str) -> tuple[dict[str, tuple[str, int]], dict[str, int]]:
    """({target: address}, {proxy: pid}) of everything, ready."""
    ports = {name: free_port() for name in ("function", "state", "haproxy", "gateway", "metrics")}
    own = [sys.executable, str(Path(__file__).resolve())]
    spawn(stack, [*own, "--serve-function", str(ports["function"])], folder / "function.log")
    spawn(stack, [*own, "--serve-state", str(ports["state"])], folder / "state.log")
    config = folder / "haproxy.cfg"
    config.write_text(
        HAPROXY_CONFIG.format(
            port=ports["haproxy"],
            function=FUNCTION_IP,
            function_port=ports["function"],
            reuse="always" if upstream == "pooled" else "never",
            close="" if upstream == "pooled" else "option httpclose",
        )
    )
    haproxy = shutil.which("haproxy") or "/usr/sbin/haproxy"
    pids = {"haproxy": spawn(stack, [haproxy, "-db", "-f", str(config)], folder / "haproxy.log")}
    pids["gateway"] = spawn(
        stack,
        [sys.executable, "-m", "testbed.platform.gateway"],
        folder / "gateway.log",
        {
            "PYTHONPATH": str(CHECKOUT),
            "port": str(ports["gateway"]),
            "metrics_port": str(ports["metrics"]),
            "function_port": str(ports["function"]),
            "apiserver_url": f"http://127.0.0.1:{ports['state']}",
            "gateway_upstream": upstream,
        },
    )
    addresses = {
        "direct": (FUNCTION_IP, ports["function"]),
        "haproxy": ("127.0.0.1", ports["haproxy"]),
        "gateway": ("127.0.0.1", ports["gateway"]),
    }
    for target, address in addresses.items():
        wait_until_it_answers(target, address)
    return addresses, pids


def wait_until_it_answers(target: str, address: tuple[str, int]) -> None:
    client = Client(target, address, 10, keepalive=False)
    for _ in range(200):
        try:
            if client.ask():
                return
        except OSError:
            pass
        time.sleep(0.05)
    raise SystemExit(f"{target} at {address[0]}:{address[1]} does not answer; see its log")


def cpu_ms(pid: int) -> float:
    """CPU time of all threads of a process, by the scheduler's clock."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e6


# The client


class Client:
    """Blocking sockets: the least that stands between the clock and the target."""

    def __init__(self, target: str, address: tuple[str, int], size: int, *, keepalive: bool) -> None:
        self._address = address
        self._keepalive = keepalive
        path = "/" if target == "direct" else "/function/f/"
        persistence = "" if keepalive else "Connection: close\r\n"
        self._body = b"x" * size
        self._request = (
            f"POST {path} HTTP/1.1\r\nHost: function\r\nUser-Agent: bench\r\nAccept: */*\r\n"
            f"Content-Type: text/plain\r\nContent-Length: {size}\r\n{persistence}\r\n"
        ).encode() + self._body
        self._socket: socket.socket | None = None

    def ask(self) -> bool:
        """One request; whether its answer was right. Raises OSError."""
        connection = self._socket
        if connection is None:
            connection = socket.create_connection(self._address, timeout=10)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            good = self._exchange(connection)
        except OSError:
            self._socket = None
            connection.close()
            raise
        if self._keepalive:
            self._socket = connection
        else:
            connection.close()
        return good

    def _exchange(self, connection: socket.socket) -> bool:
        sender = connection.sendall
        if len(self._request) > 1 << 17:
            return self._exchange_large(connection)
        sender(self._request)
        answer = connection.recv(1 << 20)
        while answer and not self._complete(answer):
            piece = connection.recv(1 << 20)
            if not piece:
                break
            answer += piece
        return answer.startswith(b"HTTP/1.1 200") and answer.endswith(self._body)

    def _exchange_large(self, connection: socket.socket) -> bool:
        """A streaming proxy answers while it is still being sent to: read and write as they become possible."""
        connection.setblocking(False)
        poll = select.poll()
        poll.register(connection, select.POLLIN | select.POLLOUT)
        rest, answer, wanted = memoryview(self._request), bytearray(), len(self._body)
        while not self._complete(answer):
            events = poll.poll(10_000)
            if not events:
                break
            if events[0][1] & select.POLLOUT and rest:
                rest = rest[connection.send(rest) :]
                if not rest:
                    poll.modify(connection, select.POLLIN)
            if events[0][1] & ~select.POLLOUT:
                piece = connection.recv(1 << 20)
                if not piece:
                    break
                answer += piece
        connection.settimeout(10)
        return answer.startswith(b"HTTP/1.1 200") and len(answer) > wanted and answer.endswith(self._body[:64])

    def _complete(self, answer: bytes | bytearray) -> bool:
        end = answer.find(b"\r\n\r\n")
        return end >= 0 and len(answer) >= end + 4 + len(self._body)

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()


def measure(cell: Cell, addresses: dict[str, tuple[str, int]], pids: dict[str, int], requests: int) -> None:
    """Fill in the cell: `requests` for each target, in bursts, in random order."""
    clients = {name: Client(name, address, cell.size, keepalive=cell.keepalive) for name, address in addresses.items()}
    for client in clients.values():
        for _ in range(5):
            client.ask()
    before = {name: cpu_ms(pid) for name, pid in pids.items()}
    order = random.Random(cell.size + cell.keepalive)
    burst = cell.burst
    for _ in range(max(1, requests // burst)):
        for target in order.sample(TARGETS, len(TARGETS)):
            for _ in range(burst):
                _one(cell, target, clients[target].ask)
    asked = burst * max(1, requests // burst)
    cell.cpu_ms = {name: (cpu_ms(pid) - before[name]) / asked for name, pid in pids.items()}
    for client in clients.values():
        client.close()


def _one(cell: Cell, target: str, ask: Callable[[], bool]) -> None:
    started_ns = time.perf_counter_ns()
    try:
        good = ask()
    except OSError:
        good = False
    took_ms = (time.perf_counter_ns() - started_ns) / 1e6
    cell.latencies_ms[target].append(took_ms)
    cell.errors[target] += not good


def report(cells: Sequence[Cell]) -> bool:
    """Print the table; whether everything is within the budget."""
    print(
        f"{'body':>8} {'client':>10} {'upstream':>8} | {'direct':>7} {'+haproxy':>8} {'+gateway':>8} {'ratio':>6} |"
        f" {'haproxy':>8} {'gateway':>8} {'ratio':>6} | errors"
    )
    print(f"{'bytes':>8} {'':>10} {'':>8} | {'p50 µs':>7} {'p50 µs':>8} {'p50 µs':>8} {'':>6} | CPU µs a request")
    good = True
    for cell in cells:
        direct_us = 1e3 * statistics.median(cell.latencies_ms["direct"])
        within = cell.p50_ratio <= P50_BUDGET and cell.cpu_ratio <= CPU_BUDGET and not any(cell.errors.values())
        good &= within
        print(
            f"{cell.size:>8} {'keep-alive' if cell.keepalive else 'per-call':>10} {cell.upstream:>8} |"
            f" {direct_us:>7.0f} {1e3 * cell.added_ms('haproxy'):>8.0f} {1e3 * cell.added_ms('gateway'):>8.0f}"
            f" {cell.p50_ratio:>6.2f} | {1e3 * cell.cpu_ms['haproxy']:>8.0f} {1e3 * cell.cpu_ms['gateway']:>8.0f}"
            f" {cell.cpu_ratio:>6.2f} | {sum(cell.errors.values())}{'' if within else '  OVER BUDGET'}"
        )
        for alarm in cell.alarms():
            good &= not alarm.startswith("gateway")
            print(f"{'':>8} ALARM {alarm}")
    print(f"load average of the machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors")
    print(f"budget: p50 ratio <= {P50_BUDGET}, CPU ratio <= {CPU_BUDGET}, no errors: {'met' if good else 'NOT MET'}")
    return good


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=1000, help="requests for each target and cell (default 1000)")
    parser.add_argument("--burst", type=int, default=25, help="requests in a row to the same target (default 25)")
    parser.add_argument("--sizes", default="200,4096,16384,1048576", help="body sizes in bytes")
    parser.add_argument("--upstream", default="pooled,per-call", help="how the proxies connect to the function")
    parser.add_argument("--json", type=Path, help="write all numbers to this file")
    parser.add_argument("--serve-function", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--serve-state", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve_function:
        serve_function(options.serve_function)
    if options.serve_state:
        serve_state(options.serve_state)
    cells: list[Cell] = []
    for upstream in options.upstream.split(","):
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="gateway-", dir=_scratch())))
            addresses, pids = start(stack, folder, upstream)
            for size in map(int, options.sizes.split(",")):
                for keepalive in (True, False):
                    large = size > 1 << 17
                    cell = Cell(size, keepalive, upstream, min(options.burst, 5) if large else options.burst)
                    measure(cell, addresses, pids, options.requests // (10 if large else 1))
                    cells.append(cell)
    if options.json:
        options.json.write_text(json.dumps([asdict(cell) for cell in cells]))
    return 0 if report(cells) else 1


def _scratch() -> Path:
    folder = CHECKOUT / ".cache"
    folder.mkdir(exist_ok=True)
    return folder


if __name__ == "__main__":
    sys.exit(main())

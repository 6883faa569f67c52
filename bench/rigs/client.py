"""The load generator: as little as possible between the clock and the target, the same for every target.

Blocking sockets for loads with one request in flight; one `select` loop for the open-loop load. It parses
no more of an answer than its status and its length, and follows nothing.
"""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

TIMEOUT_S = 10.0
LARGE = 1 << 17
"""A body from this size on does not fit into socket buffers: it is sent while the answer is read."""


@dataclass(frozen=True)
class Target:
    """Something that answers a POST with the body that it was sent."""

    name: str
    address: tuple[str, int]
    path: str
    headers: tuple[str, ...] = ()

    def request(self, size: int, *, keepalive: bool) -> bytes:
        """The whole request, as one piece of bytes."""
        lines = [
            f"POST {self.path} HTTP/1.1", "Host: function", "User-Agent: bench", "Accept: */*",
            "Content-Type: text/plain", f"Content-Length: {size}", *self.headers,
            *([] if keepalive else ["Connection: close"]),
        ]  # fmt: skip
        return "\r\n".join(lines).encode() + b"\r\n\r\n" + b"x" * size


@dataclass
class Timed:
    """What a series of requests took, in ms, and how many were not answered rightly."""

    latencies_ms: list[float] = field(default_factory=list)
    errors: int = 0

    def add(self, took_ns: int, *, good: bool) -> None:
        self.latencies_ms.append(took_ns / 1e6)
        self.errors += not good


class Client:
    """Asks one target, one request at a time."""

    def __init__(self, target: Target, size: int, *, keepalive: bool) -> None:
        self._address = target.address
        self._keepalive = keepalive
        self._request = target.request(size, keepalive=keepalive)
        self._size = size
        self._connection: socket.socket | None = None

    def timed(self, results: Timed) -> None:
        """One request, recorded. What fails is recorded too, as an error."""
        started_ns = time.perf_counter_ns()
        try:
            good = self.ask()
        except OSError:
            good = False
        results.add(time.perf_counter_ns() - started_ns, good=good)

    def ask(self) -> bool:
        """One request; whether its answer was right. Raises OSError."""
        connection = self._connection or connect(self._address)
        self._connection = None
        try:
            if self._size < LARGE:
                connection.sendall(self._request)
                good = self._read(connection)
            else:
                good = self._exchange_large(connection)
        except OSError:
            connection.close()
            raise
        if self._keepalive and good:
            self._connection = connection
        else:
            connection.close()
        return good

    def _read(self, connection: socket.socket) -> bool:
        answer = connection.recv(1 << 20)
        while answer and not complete(answer, self._size):
            piece = connection.recv(1 << 20)
            if not piece:
                break
            answer += piece
        return right(answer, self._size)

    def _exchange_large(self, connection: socket.socket) -> bool:
        flight = Flight(connection, self._request, 0)
        deadline = time.monotonic() + TIMEOUT_S
        connection.setblocking(False)
        while not flight.ended(self._size):
            readable, writable, _ = select.select([connection], [connection] if flight.rest else [], [], 1.0)
            if writable:
                flight.send()
            if readable:
                flight.receive()
            if time.monotonic() > deadline:
                raise TimeoutError("the answer did not come")
        connection.settimeout(TIMEOUT_S)
        return right(flight.answer, self._size)

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class Flight:
    """A request under way on a non-blocking socket."""

    def __init__(self, connection: socket.socket, request: bytes, intended_ns: int) -> None:
        self.connection = connection
        self.intended_ns = intended_ns
        self.rest = memoryview(request)
        self.answer = bytearray()
        self.closed = False

    def send(self) -> None:
        self.rest = self.rest[self.connection.send(self.rest) :]

    def receive(self) -> None:
        piece = self.connection.recv(1 << 20)
        self.closed = not piece
        self.answer += piece

    def ended(self, size: int) -> bool:
        return self.closed or complete(self.answer, size)


class OpenLoop:
    """Starts requests when they are due, whatever became of the others; latency counts from the due moment."""

    def __init__(self, target: Target, size: int, *, keepalive: bool) -> None:
        self._address = target.address
        self._keepalive = keepalive
        self._request = target.request(size, keepalive=keepalive)
        self._size = size
        self._idle: list[socket.socket] = []
        self._flights: dict[socket.socket, Flight] = {}

    def run(self, offsets_ns: Sequence[int], results: Timed) -> None:
        """All requests of a schedule, to their end."""
        begin_ns = time.perf_counter_ns()
        due = [begin_ns + offset_ns for offset_ns in reversed(offsets_ns)]
        last_s = time.monotonic() + offsets_ns[-1] / 1e9 + TIMEOUT_S
        while due or self._flights:
            now_ns = time.perf_counter_ns()
            while due and due[-1] <= now_ns:
                self._start(due.pop(), results)
            pause_s = max(0.0, (due[-1] - time.perf_counter_ns()) / 1e9) if due else 1.0
            self._move(pause_s, results)
            if time.monotonic() > last_s:
                self._give_up(results)

    def _start(self, intended_ns: int, results: Timed) -> None:
        try:
            connection = self._idle.pop() if self._idle else connect(self._address)
            connection.setblocking(False)
            flight = Flight(connection, self._request, intended_ns)
            flight.send()
        except OSError:
            results.add(time.perf_counter_ns() - intended_ns, good=False)
            return
        self._flights[connection] = flight

    def _move(self, pause_s: float, results: Timed) -> None:
        writers = [connection for connection, flight in self._flights.items() if flight.rest]
        readable, writable, _ = select.select(list(self._flights), writers, [], pause_s)
        for connection in {*readable, *writable}:
            flight = self._flights[connection]
            try:
                if connection in writable:
                    flight.send()
                if connection in readable:
                    flight.receive()
            except OSError:
                flight.closed = True
            if flight.ended(self._size):
                self._end(flight, results)

    def _end(self, flight: Flight, results: Timed) -> None:
        good = right(flight.answer, self._size)
        results.add(time.perf_counter_ns() - flight.intended_ns, good=good)
        del self._flights[flight.connection]
        if self._keepalive and good and not flight.closed:
            self._idle.append(flight.connection)
        else:
            flight.connection.close()

    def _give_up(self, results: Timed) -> None:
        for flight in list(self._flights.values()):
            flight.answer.clear()
            flight.closed = True
            self._end(flight, results)

    def close(self) -> None:
        for connection in (*self._idle, *self._flights):
            connection.close()


def connect(address: tuple[str, int]) -> socket.socket:
    """A new connection without Nagle's algorithm. Raises OSError."""
    connection = socket.create_connection(address, timeout=TIMEOUT_S)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def complete(answer: bytes | bytearray, size: int) -> bool:
    """Whether head and body are there; every target answers with a body of the request's size."""
    end = answer.find(b"\r\n\r\n", 0, 4096)
    return end >= 0 and len(answer) >= end + 4 + size


def right(answer: bytes | bytearray, size: int) -> bool:
    """Status 200, and the body that was sent, as far as its length and its end tell."""
    return answer.startswith(b"HTTP/1.1 200") and complete(answer, size) and answer.endswith(b"x" * min(size, 64))

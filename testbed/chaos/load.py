"""Load beside a fault: a probe that notices what fails, an overload, and a flood of connection requests.

Each runs in threads of this process, with sockets of a host of the lab, until it is closed.
"""

from __future__ import annotations

import http.client
import itertools
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from testbed.model import addressing
from testbed.model.segments import syn_frame
from testbed.network.hosts.frames import Namespaces, in_host, packet_socket

GATEWAY = addressing.vip(addressing.GATEWAY_ID)
TIMEOUT_S = 10.0
PROBE_PAUSE_S = 0.005
FIRST_PORT, PORTS = 10_000, 50_000
TICK_S = 0.01


@dataclass
class Outcome:
    """What became of requests. `failures`: reason -> how often. Times in seconds; `longest_gap_s`: between answers."""

    answered: int = 0
    slowest_s: float = 0.0
    longest_gap_s: float = 0.0
    failures: Counter[str] = field(default_factory=Counter)

    def to_json(self) -> dict[str, Any]:
        return {
            "answered": self.answered,
            "failed": self.failures.total(),
            "failures": dict(self.failures),
            "slowest_ms": round(self.slowest_s * 1000, 1),
            "longest_gap_ms": round(self.longest_gap_s * 1000, 1),
        }


class Requests:
    """`clients` clients in the client host that call a function through the gateway, one request after the other."""

    def __init__(self, lab: Namespaces, function: str, clients: int = 1, pause_s: float = 0.0) -> None:
        self.outcome = Outcome()
        self._path = f"/function/{function}"
        self._pause_s = pause_s
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._last_s = time.monotonic()
        self._threads = [_thread(lab, "client", self._run) for _ in range(clients)]

    def __enter__(self) -> Requests:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> Outcome:
        """End the load; what became of it."""
        self._stop.set()
        for thread in self._threads:
            thread.join()
        return self.outcome

    def _run(self) -> None:
        while not self._stop.is_set():
            began_s = time.monotonic()
            reason = request(self._path)
            self._note(reason, began_s, time.monotonic())
            self._stop.wait(self._pause_s)

    def _note(self, reason: str | None, began_s: float, ended_s: float) -> None:
        with self._lock:
            outcome = self.outcome
            if reason is not None:
                outcome.failures[reason] += 1
                return
            outcome.answered += 1
            outcome.slowest_s = max(outcome.slowest_s, ended_s - began_s)
            outcome.longest_gap_s = max(outcome.longest_gap_s, ended_s - self._last_s)
            self._last_s = ended_s


def request(path: str) -> str | None:
    """GET `path` of the gateway on a connection of its own; None, or why it failed."""
    connection = http.client.HTTPConnection(GATEWAY, addressing.FUNCTION_PORT, timeout=TIMEOUT_S)
    try:
        connection.request("GET", path, headers={"Connection": "close"})
        answer = connection.getresponse()
        answer.read()
    except (OSError, http.client.HTTPException) as error:
        return type(error).__name__
    finally:
        connection.close()
    return None if answer.status == 200 else f"HTTP {answer.status}"


class Flood:
    """Connection requests (SYN) from a host to addresses in turn, each from another port, `rate` a second."""

    def __init__(self, lab: Namespaces, host: str, eip: str, addresses: list[str], rate: float) -> None:
        self.sent = 0
        self._rate = rate
        self._frames = itertools.cycle(
            syn_frame(addressing.mac(eip), eip, address, port)
            for port in range(FIRST_PORT, FIRST_PORT + PORTS)
            for address in addresses
        )
        self._stop = threading.Event()
        self._thread = _thread(lab, host, self._run)

    def __enter__(self) -> Flood:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> int:
        """End it; how many were sent."""
        self._stop.set()
        self._thread.join()
        return self.sent

    def _run(self) -> None:
        began_s = time.monotonic()
        with packet_socket() as raw:
            while not self._stop.wait(TICK_S):
                due = int((time.monotonic() - began_s) * self._rate)
                for frame in itertools.islice(self._frames, due - self.sent):
                    raw.send(frame)
                self.sent = due


def _thread(lab: Namespaces, host: str, function: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=in_host, args=(lab, host, function), daemon=True)
    thread.start()
    return thread

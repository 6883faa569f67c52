"""Requests at given times from a host of the lab; every answer is kept count of."""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Iterator, Sequence

from testbed.network.lab import Lab
from tests.lab.traffic import in_host

PATIENCE_S = 30.0


class Load:
    """Runs from the moment it is made. `failures` says what was answered otherwise than 200."""

    def __init__(self, lab: Lab, target: str, workers: int, times_s: Iterator[float], host: str = "10.96.0.1") -> None:
        self.answered = 0
        self.failures: list[str] = []
        self._target = target
        self._host = host
        self._times_s = times_s
        self._started_s = time.monotonic()
        self._lock = threading.Lock()
        self._threads = [
            threading.Thread(target=lambda: in_host(lab, "client", self._work), daemon=True) for _ in range(workers)
        ]
        for thread in self._threads:
            thread.start()

    def wait(self) -> Load:
        """Until every request has been made and answered."""
        for thread in self._threads:
            thread.join()
        return self

    def _work(self) -> None:
        while True:
            with self._lock:
                due_s = next(self._times_s, None)
            if due_s is None:
                return
            time.sleep(max(0.0, self._started_s + due_s - time.monotonic()))
            outcome = request(self._host, self._target)
            with self._lock:
                if outcome:
                    self.failures.append(outcome)
                else:
                    self.answered += 1


def request(host: str, target: str) -> str:
    """One request on a connection of its own; "" when it is answered with 200."""
    connection = http.client.HTTPConnection(host, 8080, timeout=PATIENCE_S)
    try:
        connection.request("GET", target, headers={"Connection": "close"})
        answer = connection.getresponse()
        body = answer.read()
    except (OSError, http.client.HTTPException) as error:
        return f"{type(error).__name__}: {error}"
    finally:
        connection.close()
    return "" if answer.status == 200 else f"{answer.status} {body[:200].decode(errors='replace')}"


def at_rates(phases: Sequence[tuple[float, float]]) -> Iterator[float]:
    """The times of requests for phases of (seconds, requests a second), evenly spread."""
    begin_s = 0.0
    for seconds, rate in phases:
        for number in range(round(seconds * rate)):
            yield begin_s + number / rate
        begin_s += seconds

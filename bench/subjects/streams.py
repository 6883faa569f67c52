"""What the gateway holds: an upload of 2 GiB that streams through, and 10 000 idle connections.

Rates are taken in turns with the direct call and HAProxy, on a smaller upload. Memory is the gateway
process's anonymous memory, in MB of 10^6 bytes.
"""

from __future__ import annotations

import random
import resource
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from bench.outcome import Outcome
from bench.rigs.client import Client, Target, connect
from bench.rigs.proxies import Rig, anonymous_mb, rig
from bench.subject import Context
from testbed.model.errors import EnvironmentProblem

MIB = 1 << 20
PIECE = b"x" * MIB
UPLOAD_TIMEOUT_S = 120.0
SAMPLE_S = 0.02
SPARE_FILES = 500
ASKED_WHILE_IDLE = 200


@contextmanager
def watched_memory(pid: int) -> Iterator[list[float]]:
    """Samples of a process's memory in MB, taken while the block runs."""
    samples, over = [anonymous_mb(pid)], threading.Event()

    def watch() -> None:
        while not over.wait(SAMPLE_S):
            samples.append(anonymous_mb(pid))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield samples
    finally:
        over.set()
        watcher.join()


def upload_s(target: Target, size: int) -> float:
    """Seconds that an upload of `size` bytes (whole MiB) takes until its answer; OSError when that is wrong."""
    head = f"POST {target.path}sink HTTP/1.1\r\nHost: function\r\nContent-Length: {size}\r\nConnection: close\r\n\r\n"
    with connect(target.address) as connection:
        connection.settimeout(UPLOAD_TIMEOUT_S)
        started = time.perf_counter()
        connection.sendall(head.encode())
        for _ in range(size // MIB):
            connection.sendall(PIECE)
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
    if not answer.startswith(b"HTTP/1.1 200") or str(size).encode() not in answer:
        raise OSError(f"{target.name} answered an upload of {size} bytes with {answer[:80]!r}")
    return time.perf_counter() - started


def uploads(context: Context, running: Rig, outcome: Outcome) -> None:
    """Rates in turns, then the large upload with the gateway's memory watched."""
    rounds, size = context.count(5, 1), context.count(256, 8) * MIB
    rates: dict[str, list[float]] = {name: [] for name in ("direct", "haproxy", "gateway")}
    rng = random.Random(context.seed)
    for turn in range(rounds):
        context.progress(0.5 * turn / rounds, f"uploads in turn, {turn + 1} of {rounds}")
        for name in rng.sample(list(rates), len(rates)):
            rates[name].append(size / 1e6 / upload_s(running.targets[name], size))
    large = context.count(2048, 64) * MIB
    context.progress(0.5, f"an upload of {large // MIB} MiB")
    with watched_memory(running.pids["gateway"][0]) as memory_mb:
        took_s = upload_s(running.targets["gateway"], large)
    outcome.figure("upload-growth", max(memory_mb) - memory_mb[0], f"{memory_mb[0]:.0f} MB before")
    outcome.figure("upload-rate", large / 1e6 / took_s)
    outcome.add_series("gateway's memory during the large upload", "MB", memory_mb)
    haproxy = median(rates["haproxy"])
    rows = [(name, round(median(values)), round(median(values) / haproxy, 2)) for name, values in rates.items()]
    outcome.table(f"An upload of {size // MIB} MiB", ("way", "MB/s", "over HAProxy's"), rows)
    for name, values in rates.items():
        outcome.add_series(f"upload of {size // MIB} MiB, {name}", "MB/s", values)


def open_files(pid: int) -> int:
    return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())


def raise_file_limit(wanted: int) -> None:
    """EnvironmentProblem when this process may not open that many files."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, max(hard, wanted)))
    except (ValueError, OSError) as error:
        raise EnvironmentProblem(
            f"this process may not open {wanted} files ({error}); run the bench as root"
        ) from error


def idle(context: Context, running: Rig, outcome: Outcome) -> None:
    """Connections that say nothing: what each costs, whether others are served meanwhile, what stays behind."""
    count = context.count(10_000, 100)
    raise_file_limit(count + SPARE_FILES)
    pid, target = running.pids["gateway"][0], running.targets["gateway"]
    client = Client(target, 200, keepalive=True)
    client.ask()
    before_mb, before_files = anonymous_mb(pid), open_files(pid)
    context.progress(0.75, f"{count} idle connections")
    connections: list[socket.socket] = []
    try:
        for _ in range(count):
            connections.append(connect(target.address))
        _until(lambda: open_files(pid) >= before_files + count, 5.0)
        held_mb, refused = anonymous_mb(pid) - before_mb, max(0, count - (open_files(pid) - before_files))
        failed = sum(not client.ask() for _ in range(ASKED_WHILE_IDLE))
    finally:
        for connection in connections:
            connection.close()
    context.progress(0.9, "after they closed")
    _until(lambda: open_files(pid) <= before_files, 10.0)
    time.sleep(1.0 if context.quick else 5.0)  # whatever it does about closed connections in its own time
    client.close()
    outcome.figure("idle-refused", refused)
    outcome.figure("idle-left", max(0.0, anonymous_mb(pid) - before_mb), f"{before_mb:.0f} MB before")
    outcome.facts |= {
        "memory held by idle connections, MB": round(held_mb, 1),
        "a connection, KB": round(1000 * held_mb / count, 2),
        "requests that failed meanwhile": failed,
    }
    if failed:
        outcome.problems.append(f"{failed} of {ASKED_WHILE_IDLE} requests failed beside {count} idle connections")


def _until(condition: Callable[[], bool], timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.1)


def run(context: Context) -> Outcome:
    outcome = Outcome("loopback")
    with rig("pooled", profile_folder=context.profile_folder) as running:
        uploads(context, running, outcome)
        idle(context, running, outcome)
    return outcome

"""What the gateway's subjects measure: a function, HAProxy and the gateway, each a process on this machine's loopback.

The function answers with the body that it was sent. A stub stands for the apiserver: one snapshot with
functions that are ready, then heartbeats. Everything started here dies with the process that started it.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench import profiling
from bench.client import Client, Target
from bench.servers import FUNCTION_IP, SECURED_TOKEN
from bench.subject import CHECKOUT
from testbed.errors import EnvironmentProblem, LabError

ANSWER_TIMEOUT_S = 15.0
STOP_TIMEOUT_S = 15.0

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


@dataclass(frozen=True)
class Rig:
    """The targets by name, "direct" first, and the process to account for behind each of the others."""

    targets: Mapping[str, Target]
    pids: Mapping[str, int]

    def cpu_ms(self) -> dict[str, float]:
        """Each proxy's CPU time so far."""
        return {name: cpu_ms(pid) for name, pid in self.pids.items()}


@contextmanager
def rig(upstream: str, *, secured: bool = False, profile_folder: Path | None = None) -> Iterator[Rig]:
    """Everything started and answering.

    Args:
        upstream: "pooled" or "per-call": how both proxies connect to the function.
        secured: one more gateway, whose function asks for a namespace token.

    Raises:
        EnvironmentProblem: there is no HAProxy here.
        LabError: a process does not answer.
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-", dir=scratch())))
        ports = {name: free_port() for name in ("function", "state", "haproxy", "gateway", "metrics")}
        serve = [sys.executable, "-m", "bench.servers"]
        spawn(stack, [*serve, "function", str(ports["function"])], folder / "function.log")
        spawn(stack, [*serve, "state", str(ports["state"])], folder / "state.log")
        pids = {"haproxy": _haproxy(stack, folder, ports, upstream), "gateway": 0}
        pids["gateway"] = gateway(stack, folder, ports, upstream, profile_folder)
        targets = {
            "direct": Target("direct", (FUNCTION_IP, ports["function"]), "/"),
            "haproxy": Target("haproxy", ("127.0.0.1", ports["haproxy"]), "/function/f/"),
            "gateway": Target("gateway", ("127.0.0.1", ports["gateway"]), "/function/f/"),
        }
        if secured:
            second = {**ports, "gateway": free_port(), "metrics": free_port()}
            pids["tokens"] = gateway(stack, folder, second, upstream, None)
            header = f"Authorization: Bearer {SECURED_TOKEN}"
            targets["tokens"] = Target("tokens", ("127.0.0.1", second["gateway"]), "/function/f.secured/", (header,))
        for target in targets.values():
            wait_until_it_answers(target, folder)
        if profile_folder is not None:
            profiling.forget_start(pids["gateway"])
        yield Rig(targets, pids)


def _haproxy(stack: ExitStack, folder: Path, ports: Mapping[str, int], upstream: str) -> int:
    program = shutil.which("haproxy", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if program is None:
        raise EnvironmentProblem("the gateway's peer, haproxy, is not installed here; run `make setup`")
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
    return spawn(stack, [program, "-db", "-f", str(config)], folder / "haproxy.log")


def gateway(
    stack: ExitStack, folder: Path, ports: Mapping[str, int], upstream: str, profile_folder: Path | None
) -> int:
    """The gateway's process; `ports` names its own, its metrics', the function's and the state's."""
    environment = {
        "PYTHONPATH": str(CHECKOUT),
        "port": str(ports["gateway"]),
        "metrics_port": str(ports["metrics"]),
        "function_port": str(ports["function"]),
        "apiserver_url": f"http://127.0.0.1:{ports['state']}",
        "gateway_upstream": upstream,
    }
    if profile_folder is not None:
        environment |= profiling.environment(profile_folder / f"gateway.gateway-{upstream}.prof")
    argv = [sys.executable, "-m", "testbed.platform.gateway"]
    return spawn(stack, argv, folder / f"gateway-{ports['gateway']}.log", environment)


def spawn(stack: ExitStack, argv: Sequence[str], log: Path, environment: Mapping[str, str] | None = None) -> int:
    """Start a process that ends with the stack, and with this process whatever ends that; its pid."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", *argv], stdout=output, stderr=output, cwd=CHECKOUT,
            env={**os.environ, **(environment or {})},
        )  # fmt: skip

    def stop() -> None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    stack.callback(stop)
    return process.pid


def wait_until_it_answers(target: Target, logs: Path) -> None:
    """LabError with the end of the logs when the target does not answer in time."""
    client = Client(target, 10, keepalive=False)
    deadline = time.monotonic() + ANSWER_TIMEOUT_S
    while time.monotonic() < deadline:
        try:
            if client.ask():
                return
        except OSError:
            pass
        time.sleep(0.05)
    tails = [f"{log.name}: {log.read_text(errors='replace')[-500:]}" for log in sorted(logs.glob("*.log"))]
    raise LabError(f"{target.name} at {target.address[0]}:{target.address[1]} does not answer; " + " ".join(tails))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("", 0))
        return int(probe.getsockname()[1])


def cpu_ms(pid: int) -> float:
    """CPU time of all threads of a process, by the scheduler's clock: finer than the ticks of 10 ms elsewhere."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e6


def anonymous_mb(pid: int) -> float:
    """Anonymous resident memory of a process, in MB of 10^6 bytes."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024 / 1e6
    return 0.0


def scratch() -> Path:
    folder = CHECKOUT / ".cache"
    folder.mkdir(exist_ok=True)
    return folder

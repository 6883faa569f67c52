"""What the gateway's subjects measure: a function, HAProxy and the gateway, each a process on this machine's loopback.

The function answers with the body that it was sent. A stub stands for the apiserver: one snapshot with
functions that are ready, then heartbeats. Everything started here dies with the process that started it.
"""

from __future__ import annotations

import importlib.util
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
from dataclasses import dataclass, replace
from pathlib import Path

from bench.rigs import profiling
from bench.rigs.client import Client, Target
from bench.rigs.servers import FUNCTION_IP, SECURED_TOKEN
from testbed.model.checkout import CHECKOUT
from testbed.model.errors import EnvironmentProblem, LabError

ANSWER_TIMEOUT_S = 15.0
STOP_TIMEOUT_S = 15.0
GATEWAY, PROVIDER = "testbed.platform.gateway.process", "testbed.platform.gateway.provider_proxy"

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
    {rewrite}
    default_backend function
backend function
    {close}
    server f {server}
"""


@dataclass(frozen=True)
class Rig:
    """The targets by name, "direct" first, and the processes to account for behind each of the others."""

    targets: Mapping[str, Target]
    pids: Mapping[str, tuple[int, ...]]

    def cpu_ms(self) -> dict[str, float]:
        """Each proxy's CPU time so far."""
        return {name: sum(map(cpu_ms, pids)) for name, pids in self.pids.items()}


@dataclass(frozen=True)
class _Rigging:
    """What the parts of a rig need to start."""

    stack: ExitStack
    folder: Path
    function_port: int
    state_port: int
    upstream: str

    def haproxy(self, address: str, port: int, *, strips_path: bool) -> tuple[int, int]:
        """(port, pid) of a HAProxy before address:port. EnvironmentProblem when there is none on this machine."""
        program = shutil.which("haproxy", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
        if program is None:
            raise EnvironmentProblem("the gateway's peer, haproxy, is not installed here; run `make setup`")
        own = free_port()
        config = self.folder / f"haproxy-{own}.cfg"
        pooled = self.upstream == "pooled"
        config.write_text(
            HAPROXY_CONFIG.format(
                port=own,
                server=f"{address}:{port}",
                rewrite="http-request replace-path /function/[^/]+(.*) \\1" if strips_path else "",
                reuse="always" if pooled else "never",
                close="" if pooled else "option httpclose",
            )
        )
        return own, spawn(self.stack, [program, "-db", "-f", str(config)], self.folder / f"haproxy-{own}.log")

    def component(self, module: str, profile: Path | None = None) -> tuple[int, int]:
        """(port, pid) of the gateway, or of what takes the same settings."""
        own = free_port()
        environment = {
            "PYTHONPATH": str(CHECKOUT),
            "port": str(own),
            "metrics_port": str(free_port()),
            "function_port": str(self.function_port),
            "apiserver_url": f"http://127.0.0.1:{self.state_port}",
            "gateway_upstream": self.upstream,
            **(profiling.environment(profile) if profile else {}),
        }
        log = self.folder / f"{module.rpartition('.')[2]}-{own}.log"
        return own, spawn(self.stack, [sys.executable, "-m", module], log, environment)


@contextmanager
def rig(upstream: str, *, extras: bool = False, profile_folder: Path | None = None) -> Iterator[Rig]:
    """Everything started and answering.

    Args:
        upstream: "pooled" or "per-call": how the proxies connect to the function.
        extras: more targets: "tokens", a gateway whose function asks for its namespace's token; "provider", the
            provider's own proxy; "haproxy+provider", the two proxies in a row that OpenFaaS's requests pass.

    Raises:
        EnvironmentProblem: there is no HAProxy here.
        LabError: a process does not answer.
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-", dir=scratch())))
        parts = _Rigging(stack, folder, free_port(), free_port(), upstream)
        serve = [sys.executable, "-m", "bench.rigs.servers"]
        spawn(stack, [*serve, "function", str(parts.function_port)], folder / "function.log")
        spawn(stack, [*serve, "state", str(parts.state_port)], folder / "state.log")
        profile = profile_folder / f"gateway.gateway-{upstream}.prof" if profile_folder else None
        started = {
            "haproxy": parts.haproxy(FUNCTION_IP, parts.function_port, strips_path=True),
            "gateway": parts.component(GATEWAY, profile),
        }
        targets = {"direct": Target("direct", (FUNCTION_IP, parts.function_port), "/")}
        targets |= {name: _target(name, port) for name, (port, _) in started.items()}
        pids: dict[str, tuple[int, ...]] = {name: (pid,) for name, (_, pid) in started.items()}
        if extras:
            _add_extras(parts, targets, pids)
        for target in targets.values():
            wait_until_it_answers(target, folder)
        _drop_unasked_tokens(targets)
        if profile is not None:
            profiling.forget_start(pids["gateway"][0])
        yield Rig(targets, {name: these for name, these in pids.items() if name in targets})


def _target(name: str, port: int) -> Target:
    return Target(name, ("127.0.0.1", port), "/function/f/")


def _add_extras(parts: _Rigging, targets: dict[str, Target], pids: dict[str, tuple[int, ...]]) -> None:
    port, pid = parts.component(GATEWAY)
    header = f"Authorization: Bearer {SECURED_TOKEN}"
    targets["tokens"] = Target("tokens", ("127.0.0.1", port), "/function/f.secured/", (header,))
    pids["tokens"] = (pid,)
    if importlib.util.find_spec(PROVIDER) is None:
        return
    provider_port, provider = parts.component(PROVIDER)
    targets["provider"], pids["provider"] = _target("provider", provider_port), (provider,)
    behind_port, behind = parts.component(PROVIDER)
    port, pid = parts.haproxy("127.0.0.1", behind_port, strips_path=False)
    targets["haproxy+provider"], pids["haproxy+provider"] = _target("haproxy+provider", port), (pid, behind)


def _drop_unasked_tokens(targets: dict[str, Target]) -> None:
    """A gateway that answers without the token checks none, and there is nothing to measure."""
    if "tokens" in targets and Client(replace(targets["tokens"], headers=()), 10, keepalive=False).ask():
        del targets["tokens"]


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
    ends = [" ".join(log.read_text(errors="replace").split())[-200:] for log in sorted(logs.glob("*.log"))]
    said = "; ".join(end for end in ends if end) or "nothing"
    raise LabError(
        f"{target.name} at {target.address[0]}:{target.address[1]} does not answer; the programs said: {said}"
    )


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

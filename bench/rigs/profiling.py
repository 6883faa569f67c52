"""Profiles of the programs under test: they start with an environment that runs them under cProfile."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.rigs import labs
from bench.subject import Context
from testbed.model.checkout import CHECKOUT
from testbed.model.errors import LabError, PlatformError
from testbed.network.lab import Lab
from testbed.platform.client.platform import Platform

FOLDER = CHECKOUT / "bench" / "profiled"
RESTART_TIMEOUT_S = 30.0


def environment(path: Path) -> dict[str, str]:
    """Additions to a Python program's environment that make it write its profile to `path` when it ends."""
    return {"PYTHONPATH": f"{FOLDER}{os.pathsep}{CHECKOUT}", "BENCH_PROFILE": str(path.resolve())}


def forget_start(pid: int) -> None:
    """Let a process that runs under the profiler forget its start, which is mostly imports."""
    os.kill(pid, signal.SIGUSR1)


@contextmanager
def controller(context: Context, lab: Lab, platform: Platform, subject: str) -> Iterator[None]:
    """In a pass that is there to be profiled, run the block with the controller under cProfile; else just run it."""
    if context.profile_folder is None:
        yield
        return
    path = context.profile_folder / f"{subject}.controller.prof"
    lab.client.restart("controller", environment(path))
    _await_switches(platform)
    forget_start(labs.component_pid(lab, "controller"))
    try:
        yield
    finally:
        lab.client.restart("controller", {"PYTHONPATH": str(CHECKOUT), "BENCH_PROFILE": ""})


@contextmanager
def daemon(context: Context, subject: str) -> Iterator[None]:
    """In a pass that is there to be profiled, a lab that is started in the block has its daemon under cProfile."""
    if context.profile_folder is None:
        yield
        return
    own = sys.executable
    path = (context.profile_folder / f"{subject}.daemon.prof").resolve()
    os.environ |= {"BENCH_PROFILE": str(path), "BENCH_PYTHON": own}
    sys.executable = str(FOLDER / "python")  # what the lab starts its daemon with
    try:
        yield
    finally:
        sys.executable = own
        del os.environ["BENCH_PROFILE"], os.environ["BENCH_PYTHON"]


def write_daemon(context: Context, lab: Lab, subject: str) -> None:
    """Have a daemon that is profiled write its profile. The last thing that such a lab does."""
    if context.profile_folder is None:
        return
    path = context.profile_folder / f"{subject}.daemon.prof"
    children = Path(f"/proc/{lab.init_pid}/task/{lab.init_pid}/children").read_text().split()
    path.unlink(missing_ok=True)
    os.kill(int(children[0]), signal.SIGUSR2)
    deadline = time.monotonic() + RESTART_TIMEOUT_S
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(0.05)


def _await_switches(platform: Platform) -> None:
    deadline = time.monotonic() + RESTART_TIMEOUT_S
    while time.monotonic() < deadline:
        try:
            if all(switch["connected"] for switch in platform.switches().values()):
                platform.wait_ready()
                return
        except PlatformError:
            pass
        time.sleep(0.1)
    raise LabError(f"the controller did not come back within {RESTART_TIMEOUT_S:.0f} s under the profiler")

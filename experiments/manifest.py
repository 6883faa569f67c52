"""Where, when and with what a run was made: everything another person needs to judge or repeat it.

It observes this machine and this checkout; it changes nothing and never fails because a tool is missing.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from testbed.measure.clocks import inspect_clocks
from testbed.model.checkout import CHECKOUT

TOOLS = {
    "ovs-vswitchd": ("ovs-vswitchd", "--version"),
    "iproute2": ("ip", "-V"),
    "mininet": ("mn", "--version"),
}
ABSENT = "not found"


def collect(command_line: Sequence[str], seed: int) -> dict[str, Any]:
    """The manifest of a run that starts now."""
    return {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "command_line": list(command_line),
        "seed": seed,
        "gateway_command": os.environ.get("TESTBED_GATEWAY_CMD", ""),
        "commit": _output(_git("rev-parse", "HEAD")),
        "uncommitted_changes": _output(_git("status", "--porcelain", "--untracked-files=no")) not in ("", ABSENT),
        "machine": machine(),
        "versions": {name: _output(command) for name, command in TOOLS.items()},
        "python": platform.python_version(),
        "packages": sorted(
            f"{package.name}=={package.version}" for package in importlib.metadata.distributions() if package.name
        ),
        "clocks": inspect_clocks().to_json(),
    }


def machine() -> dict[str, Any]:
    """The machine in the few lines that matter for a measurement."""
    return {
        "kernel": platform.release(),
        "architecture": platform.machine(),
        "system": _os_name(),
        "cpu": _cpu_model(),
        "cpus": os.cpu_count(),
        "memory_mb": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20,
        "governor": _first_line(Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")),
        "lab_kernel": "user mode" in _read(Path("/proc/cpuinfo")).lower(),
    }


def _git(*arguments: str) -> tuple[str, ...]:
    return ("git", "-c", "safe.directory=*", "-C", str(CHECKOUT), *arguments)


def _output(command: Sequence[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ABSENT
    text = (done.stdout or done.stderr).strip()
    return text.splitlines()[0] if text and done.returncode == 0 else "" if done.returncode == 0 else ABSENT


def _cpu_model() -> str:
    for line in _read(Path("/proc/cpuinfo")).splitlines():
        if line.lower().startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or "unknown"


def _os_name() -> str:
    for line in _read(Path("/etc/os-release")).splitlines():
        if line.startswith("PRETTY_NAME="):
            return line.partition("=")[2].strip('"')
    return platform.system()


def _first_line(path: Path) -> str:
    return _read(path).partition("\n")[0] or "unknown"


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""

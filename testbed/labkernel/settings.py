"""Where the lab kernel's parts lie and what a user may change by environment variable. Reads, never writes."""

import os
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from testbed.model.checkout import CHECKOUT
from testbed.model.errors import UsageError

INSIDE = "TESTBED_IN_LAB_KERNEL"
"""Set to 1 for every process of a guest."""

MODULES = ("openvswitch", "sch_netem", "sch_htb", "veth", "tun", "bridge", "8021q", "overlay")
"""What a lab needs loaded; everything else of the network stack can be loaded by `modprobe`."""

COVERED = ("/run", "/var/log", "/etc/openvswitch", "/var/lib/openvswitch")
"""Folders of the host that a guest sees empty and of its own: what it writes there, it forgets."""

HIDDEN = ("/dev", "/proc", "/sys", *COVERED)
"""No command can start in one of these: the guest has its own."""

PASSED = ("TERM", "COLUMNS", "LINES", "LANG", "LANGUAGE", "TZ", "NO_COLOR", "FORCE_COLOR", "CI", "PYTHONPATH",
          "PYTHONDONTWRITEBYTECODE")  # fmt: skip
"""Not PYTHONUNBUFFERED: a system call costs a guest tens of microseconds, and a print would make two of them."""

PASSED_PREFIXES = ("TESTBED_", "LC_", "PYTEST_", "HYPOTHESIS_")
NOT_PASSED = ("TESTBED_STATE",)


@dataclass(frozen=True)
class Settings:
    """One guest's settings; see `from_environ` for the variables."""

    kernel: str
    kernel_arguments: tuple[str, ...]
    cache: Path
    modules: Path | None
    memory_mib: int
    timeout_s: float
    ram_folder: Path | None
    core: int | None
    log: Path | None


def from_environ(environ: Mapping[str, str]) -> Settings:
    """The settings in an environment. Raises UsageError on a value that is no number.

    TESTBED_UML: kernel binary (linux.uml). TESTBED_UML_ARGS: further kernel arguments (`seccomp=on` for
    a 7.x kernel). TESTBED_UML_MODULES: folder that holds <version>/modules.dep, instead of the built one.
    TESTBED_UML_MEMORY_MIB: guest memory (2048). TESTBED_UML_TIMEOUT_S: seconds before the command is
    ended, 0 for no limit. TESTBED_UML_RAM: folder for the guest's memory, best a tmpfs.
    TESTBED_UML_CORE: host core. TESTBED_UML_LOG: kernel log. TESTBED_LABKERNEL_CACHE: cache folder.
    """
    return Settings(
        kernel=environ.get("TESTBED_UML") or "linux.uml",
        kernel_arguments=tuple(shlex.split(environ.get("TESTBED_UML_ARGS", ""))),
        cache=_path(environ, "TESTBED_LABKERNEL_CACHE") or CHECKOUT / ".cache" / "labkernel",
        modules=_path(environ, "TESTBED_UML_MODULES"),
        memory_mib=int(_number(environ, "TESTBED_UML_MEMORY_MIB", 2048)),
        timeout_s=_number(environ, "TESTBED_UML_TIMEOUT_S", 0),
        ram_folder=_path(environ, "TESTBED_UML_RAM"),
        core=int(_number(environ, "TESTBED_UML_CORE", -1)) if environ.get("TESTBED_UML_CORE") else None,
        log=_path(environ, "TESTBED_UML_LOG"),
    )


def passed_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """The part of the host's environment that a command in the guest sees."""
    return {
        name: value
        for name, value in environ.items()
        if (name in PASSED or name.startswith(PASSED_PREFIXES)) and name not in NOT_PASSED
    }


def inside(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether this process runs in a lab kernel's guest."""
    return environ.get(INSIDE) == "1"


def _path(environ: Mapping[str, str], name: str) -> Path | None:
    value = environ.get(name)
    return Path(value).absolute() if value else None


def _number(environ: Mapping[str, str], name: str, default: float) -> float:
    value = environ.get(name)
    if not value:
        return default
    try:
        number = float(value)
    except ValueError:
        raise UsageError(f"the environment variable {name} must be a number, not '{value}'") from None
    if number < 0:
        raise UsageError(f"the environment variable {name} must not be negative, and is {value}")
    return number

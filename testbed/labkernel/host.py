"""What the host gives a guest: a kernel, modules, memory, a core, a log file. Looks and chooses; starts no guest."""

import mmap
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

from testbed.labkernel.settings import Settings
from testbed.model.errors import EnvironmentProblem

KEPT_LOGS = 20
HOW_TO_BUILD = "run `make lab-kernel` in the checkout first"


def kernel_binary(settings: Settings) -> Path:
    """The User-Mode Linux binary. Raises EnvironmentProblem when there is none."""
    found = shutil.which(settings.kernel)
    if not found:
        raise EnvironmentProblem(
            f"the lab kernel's program {settings.kernel} is not here (Debian package user-mode-linux): {HOW_TO_BUILD}"
        )
    return Path(found)


def kernel_version(binary: Path) -> str:
    """The release that a kernel binary reports, as its `uname -r` will. Raises EnvironmentProblem."""
    try:
        answer = subprocess.run([binary, "--version"], capture_output=True, text=True, timeout=30, check=True).stdout
    except (OSError, subprocess.SubprocessError) as problem:
        raise EnvironmentProblem(f"the kernel program {binary} does not run here: {problem}") from None
    version = answer.strip()
    if not re.fullmatch(r"\d+\.\d+\S*", version):
        raise EnvironmentProblem(f"{binary} is no User-Mode Linux kernel: to --version it answers '{version[:60]}'")
    return version


SELECTION = 2
"""Raised when other modules are put together (see `modules.KEPT`): those of an earlier testbed are made again."""


def modules_folder(settings: Settings) -> Path:
    """The folder that becomes /lib/modules in the guest. Raises EnvironmentProblem when it is not built."""
    version = kernel_version(kernel_binary(settings))
    folder = settings.modules or built_modules(settings, version)
    if not (folder / version / "modules.dep").exists():
        raise EnvironmentProblem(f"the lab kernel's modules for Linux {version} are not in {folder}: {HOW_TO_BUILD}")
    return folder


def built_modules(settings: Settings, version: str) -> Path:
    """Where `build` puts the modules of a version; beside them lies `verified` once a guest has proved them."""
    return settings.cache / f"{version}-{SELECTION}" / "modules"


def proved(modules: Path) -> bool:
    """Whether OVS in a guest has been seen to support conntrack zones with these modules."""
    return (modules.parent / "verified").exists()


def memory_folder(settings: Settings) -> Path:
    """A folder for the guest's memory, which is a nameless file: a tmpfs if one is large enough, else a disk.

    Raises EnvironmentProblem when no folder has the room, or all are mounted noexec.
    """
    needed = settings.memory_mib << 20
    candidates = [settings.ram_folder] if settings.ram_folder else _usual_memory_folders()
    for folder in candidates:
        if folder.is_dir() and shutil.disk_usage(folder).free >= needed and _can_hold_memory(folder):
            return folder
    raise EnvironmentProblem(
        f"none of {', '.join(map(str, candidates))} has {settings.memory_mib} MiB free for the guest's memory and "
        "allows execution: mount a larger /dev/shm, or set TESTBED_UML_RAM or TESTBED_UML_MEMORY_MIB"
    )


def _usual_memory_folders() -> list[Path]:
    return [Path("/dev/shm"), Path(f"/run/user/{os.getuid()}"), Path(tempfile.gettempdir()), Path("/var/tmp")]


def _can_hold_memory(folder: Path) -> bool:
    """Containers often mount their tmpfs noexec; a kernel cannot have its memory there."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.truncate(mmap.PAGESIZE)
            mmap.mmap(file.fileno(), mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC).close()
    except OSError:
        return False
    return True


def free_core(settings: Settings) -> int:
    """The allowed core with the fewest other guests' processes on it; of equals the last."""
    allowed = os.sched_getaffinity(0)
    if settings.core is not None:
        if settings.core not in allowed:
            raise EnvironmentProblem(
                f"TESTBED_UML_CORE is {settings.core}, and this process may use only {sorted(allowed)}"
            )
        return settings.core
    return least_used(allowed, _cores_of_guests(settings))


def least_used(allowed: Iterable[int], used: Iterable[int]) -> int:
    """Of the allowed cores the one that occurs least in `used`; of equals the last."""
    counts = Counter(used)
    return min(allowed, key=lambda core: (counts[core], -core))


def _cores_of_guests(settings: Settings) -> list[int]:
    name = comm(settings)
    cores: list[int] = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "comm").read_text().strip() == name:
                pinned = os.sched_getaffinity(int(process.name))
                cores += pinned if len(pinned) == 1 else []
        except OSError:  # it has just ended
            continue
    return cores


def bury_strays(settings: Settings) -> None:
    """Kills what a guest has left whose guard was itself killed: helper processes of a kernel that is gone.

    They sleep and hold its memory. Known by their name and by their session, whose leader was the kernel.
    """
    name = comm(settings)
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            head, _, tail = stat.read_text().rpartition(")")
            session = int(tail.split()[3])
            if head.partition("(")[2] == name and not Path(f"/proc/{session}").exists():
                os.kill(int(stat.parent.name), signal.SIGKILL)
        except OSError:  # it has just ended, or is another user's
            continue


def comm(settings: Settings) -> str:
    """The name under which the host's kernel lists a guest's processes: it keeps 15 letters."""
    return kernel_binary(settings).name[:15]


def kernel_environment(folder: Path) -> dict[str, str]:
    """The environment of the kernel program itself: only where its memory shall lie."""
    return {"TMPDIR": str(folder), "PATH": os.environ.get("PATH", os.defpath)}


def open_log(settings: Settings) -> BinaryIO:
    """A new file for the kernel's messages: in the cache if this user may, else in ./runs, else a temporary one."""
    if settings.log:
        settings.log.parent.mkdir(parents=True, exist_ok=True)
        return settings.log.open("wb", buffering=0)
    name = f"kernel-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-{os.getpid()}.log"
    for folder in (settings.cache / "logs", Path.cwd() / "runs", Path(tempfile.gettempdir())):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            log = (folder / name).open("wb", buffering=0)
        except OSError:
            continue
        _forget_old_logs(folder)
        return log
    raise EnvironmentProblem(
        "there is no folder to write the lab kernel's log to: set TESTBED_UML_LOG to a file's path"
    )


def _forget_old_logs(folder: Path) -> None:
    for old in sorted(folder.glob("kernel-*.log"))[:-KEPT_LOGS]:
        try:
            old.unlink()
        except OSError:  # another user's, or just forgotten by another guest
            continue

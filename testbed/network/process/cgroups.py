"""One cgroup for each instance and component of a lab: limits, CPU and memory accounting.

Version 2 and version 1 hierarchies (there each controller may be mounted by itself) behind one interface.
A lab's groups stand under <mount>/testbed/<lab>/ of every hierarchy that is used. Where none is writable the
lab runs on without: `Cgroups.of_lab` gives one whose `writable` is False, which limits nothing and knows no usage.

The CPU controller is used for groups with a CPU limit only: a group shares the CPU as one, against every single
process outside, so that grouping alone would take CPU from a lab and give it to the load generator.
"""

from __future__ import annotations

import contextlib
import errno
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from testbed.model.errors import LabError
from testbed.network.process.namespaces import in_thread

OURS = "testbed"
PERIOD_US = 100_000
_CONTROLLERS = ("cpu", "cpuacct", "memory")
_NO_LIMIT = "no-limit"
"""One group for all labs, with no process in it: whoever is shown it learns no lab's name. No lab is called so."""
_REMOVE_TIMEOUT_S = 2.0


class _HasPid(Protocol):
    pid: int


T = TypeVar("T", bound=_HasPid)


@dataclass(frozen=True)
class Usage:
    """What a group and the groups below it have used: CPU seconds ever, anonymous bytes of live processes."""

    cpu_s: float
    anonymous_bytes: int


@dataclass(frozen=True)
class Hierarchy:
    """A mounted hierarchy and which of the controllers used here it has. `version` is 1 or 2."""

    mount: Path
    version: int
    controllers: frozenset[str]

    @property
    def ours(self) -> Path:
        return self.mount / OURS


def parse_mounts(mounts: str) -> list[Hierarchy]:
    """The cgroup hierarchies in the text of /proc/mounts. Version 2's controllers stand in a file: empty here."""
    found = []
    for line in mounts.splitlines():
        _, mount, kind, options = line.split(" ")[:4]
        if kind == "cgroup2":
            found.append(Hierarchy(Path(mount), 2, frozenset()))
        elif kind == "cgroup" and (named := frozenset(options.split(",")) & frozenset(_CONTROLLERS)):
            found.append(Hierarchy(Path(mount), 1, named))
    return found


def cpu_sets(mounts: str) -> tuple[Hierarchy, ...]:
    """Version 1's hierarchy of CPU sets where it is by itself, in the text of /proc/mounts."""
    lines = (line.split(" ") for line in mounts.splitlines())
    alone = (mount for _, mount, kind, options, *_ in lines if kind == "cgroup" and _is_cpu_set(options.split(",")))
    return tuple(Hierarchy(Path(mount), 1, frozenset()) for mount in alone)


def _is_cpu_set(options: list[str]) -> bool:
    return "cpuset" in options and not set(options) & set(_CONTROLLERS)


def hierarchies(mounts: str) -> tuple[Hierarchy, ...]:
    """Those to use: version 2 where it has memory and cpu, else version 1's. Each controller once."""
    chosen: list[Hierarchy] = []
    for found in parse_mounts(mounts):
        if found.version == 2:
            with contextlib.suppress(OSError):
                names = frozenset((found.mount / "cgroup.controllers").read_text().split()) & frozenset(_CONTROLLERS)
                if {"cpu", "memory"} <= names:
                    return (Hierarchy(found.mount, 2, names),)
        elif not any(found.controllers & other.controllers for other in chosen):
            chosen.append(found)
    return tuple(chosen)


class Cgroups:
    """A lab's groups. Paths are like "functions/<instance id>" or "components/gateway"; calls are thread-safe."""

    def __init__(self, lab_name: str, used: tuple[Hierarchy, ...], beside: tuple[Hierarchy, ...] = ()) -> None:
        """`beside`: hierarchies in which nothing is limited or counted, but which programs look for (see `shown`)."""
        self._lab_name = lab_name
        self._used = used
        self._beside = beside

    @classmethod
    def of_lab(cls, lab_name: str, mounts: Path = Path("/proc/self/mounts")) -> Cgroups:
        """The groups of the lab of this name; asks of the machine what can be written."""
        text = mounts.read_text()
        used = hierarchies(text)
        controllers = frozenset[str]().union(*(one.controllers for one in used))
        if not {"cpu", "memory"} <= controllers or not all(_prepare(one, lab_name) for one in used):
            return cls(lab_name, ())
        beside = tuple(one for one in cpu_sets(text) if used[0].version == 1 and _prepare(one, lab_name))
        return cls(lab_name, used, beside)

    @property
    def writable(self) -> bool:
        """Whether groups can be made on this machine, so that limits hold and usage is known."""
        return bool(self._used)

    def make(self, path: str, memory_bytes: int | None = None, cpu_cores: float | None = None) -> None:
        """Make a group, or give the one there is these limits (None: no limit).

        Raises LabError when a limit is wanted and cannot be enforced here.
        """
        if not self._used:
            if memory_bytes is not None or cpu_cores is not None:
                raise LabError(refusal())
            return
        for one in self._used:
            folder = self._folder(one, path)
            if cpu_cores is not None or one.controllers != {"cpu"}:
                _make(one, folder, with_cpu=cpu_cores is not None)
            if "cpu" in one.controllers and (cpu_cores is not None or _limits_cpu(one, folder)):
                _limit_cpu(one, folder, cpu_cores)
            if "memory" in one.controllers:
                _limit_memory(one, folder, memory_bytes)

    def add(self, path: str, pid: int) -> None:
        """Move a process, and what it will start, into a group. LabError when there is no such process or group.

        The kernel may take 10 ms for it; `enter` costs nothing where it can be used.
        """
        for one in self._having(path):
            try:
                (self._folder(one, path) / "cgroup.procs").write_text(str(pid))
            except OSError as error:
                raise LabError(f"process {pid} could not be put into group {path}: {error.strerror}") from error

    def enter(self, path: str) -> tuple[Path, ...]:
        """Move the calling thread alone into a group where hierarchies allow that: its children are born there.

        Returns the files into which a child has yet to write its pid, those of version 2. The thread should end
        soon. LabError when there is no such group.
        """
        remaining = []
        for one in self._having(path):
            folder = self._folder(one, path)
            if one.version == 2:
                remaining.append(folder / "cgroup.procs")
                continue
            try:
                # "0" is this thread: the one move for which the kernel does not wait for all CPUs.
                (folder / "tasks").write_text("0")
            except OSError as error:
                raise LabError(f"group {path} cannot be entered: {error.strerror}") from error
        return tuple(remaining)

    def spawn(self, path: str, start: Callable[[], T]) -> T:
        """The process that `start()` starts, born in a group that is made for it.

        `start` runs in a thread that ends at once: not for programs that set PR_SET_PDEATHSIG.
        """
        self.make(path)
        late: list[Path] = []

        def born() -> T:
            child = start()
            for file in late:
                with contextlib.suppress(ProcessLookupError):  # it has ended already
                    file.write_text(str(child.pid))
            return child

        return in_thread(lambda: late.extend(self.enter(path)), born)

    def usage(self, path: str) -> Usage | None:
        """What a group has used; None where that is not known."""
        if not self._used:
            return None
        cpu_s, anonymous_bytes = 0.0, 0
        try:
            for one in self._used:
                folder = self._folder(one, path)
                if one.version == 2:
                    cpu_s = _fields(folder / "cpu.stat")["usage_usec"] / 1e6
                    if "memory" in one.controllers:
                        anonymous_bytes = _fields(folder / "memory.stat")["anon"]
                if "cpuacct" in one.controllers:
                    cpu_s = int((folder / "cpuacct.usage").read_text()) / 1e9
                if "memory" in one.controllers and one.version == 1:
                    anonymous_bytes = _fields(folder / "memory.stat")["total_rss"]
        except (OSError, KeyError):
            return None
        return Usage(cpu_s, anonymous_bytes)

    def oom_kills(self, path: str) -> int:
        """How many processes of the group the kernel has killed because its memory was used up."""
        for one in self._used:
            if "memory" in one.controllers:
                name = "memory.events" if one.version == 2 else "memory.oom_control"
                with contextlib.suppress(OSError):
                    return _fields(self._folder(one, path) / name).get("oom_kill", 0)
        return 0

    @property
    def shown_names(self) -> tuple[str, ...]:
        """The names of the folders below /sys/fs/cgroup in which programs look for a group (version 2: none)."""
        return tuple(one.mount.name for one in (*self._used, *self._beside) if one.version == 1)

    def shown(self, path: str) -> dict[Path, str]:
        """Where programs of a group read their limits and usage: folder -> its name below /sys/fs/cgroup ("": there).

        A language's machine believes in a limit only where it finds all the controllers that it knows (Java 17: memory,
        cpu, cpuacct and cpuset). Where the group has no limit, an empty group stands for it.
        """
        found = {}
        for one in (*self._used, *self._beside):
            folder = self._folder(one, path)
            if not folder.exists():
                folder = one.ours / _NO_LIMIT
                folder.mkdir(exist_ok=True)
            found[folder] = "" if one.version == 2 else one.mount.name
        return found

    def remove(self, path: str) -> None:
        """Take a group and those below it away, if it is there; its processes must have ended."""
        for one in self._used:
            _remove(self._folder(one, path))

    def remove_all(self) -> None:
        """Take all groups of this lab away, and with the last lab the folder of all; its processes must have ended."""
        for one in (*self._used, *self._beside):
            _remove(one.ours / self._lab_name)
            _remove_last(one)

    def _having(self, path: str) -> list[Hierarchy]:
        """The hierarchies in which the group is wanted: not those that only limit CPU, where it was made without."""
        return [one for one in self._used if one.controllers != {"cpu"} or self._folder(one, path).exists()]

    def _folder(self, one: Hierarchy, path: str) -> Path:
        return one.ours / self._lab_name / path


def refusal() -> str:
    """Why a limit cannot be set here."""
    return (
        "limits cannot be enforced: this machine has no writable cgroup hierarchy with cpu and memory; "
        "deploy without limits, or run as root on a machine that has one"
    )


def remove_dead(running: set[str], mounts: Path = Path("/proc/self/mounts")) -> None:
    """Take away the groups of all labs but these; what runs keeps its groups."""
    text = mounts.read_text()
    for one in (*hierarchies(text), *cpu_sets(text)):
        with contextlib.suppress(OSError):
            for folder in one.ours.iterdir():
                if folder.is_dir() and folder.name not in {*running, _NO_LIMIT}:
                    _remove(folder)
            if not running:
                _remove_last(one)


def _remove_last(one: Hierarchy) -> None:
    """With the last lab's groups, what is for all of them."""
    if {folder.name for folder in one.ours.glob("*") if folder.is_dir()} <= {_NO_LIMIT}:
        _rmdir(one.ours / _NO_LIMIT)
        _rmdir(one.ours)


def _prepare(one: Hierarchy, lab_name: str) -> bool:
    """Make the lab's own group; False where that is not allowed."""
    try:
        _make(one, one.ours / lab_name, with_cpu=False)
    except OSError:
        return False
    return True


def _make(one: Hierarchy, folder: Path, *, with_cpu: bool) -> None:
    """Make a group with those above it; in version 2 each has to hand its controllers down."""
    above = one.mount
    for part in folder.relative_to(one.mount).parts:
        if one.version == 2:
            _hand_down(above, one.controllers & ({"memory", "cpu"} if with_cpu else {"memory"}))
        above = above / part
        above.mkdir(exist_ok=True)


def _hand_down(folder: Path, wanted: frozenset[str]) -> None:
    control = folder / "cgroup.subtree_control"
    missing = wanted - set(control.read_text().split())
    if missing:
        control.write_text(" ".join(f"+{name}" for name in sorted(missing)))


def _limits_cpu(one: Hierarchy, folder: Path) -> bool:
    return (folder / ("cpu.max" if one.version == 2 else "cpu.cfs_quota_us")).exists()


def _limit_cpu(one: Hierarchy, folder: Path, cores: float | None) -> None:
    quota = None if cores is None else max(1000, round(cores * PERIOD_US))
    if one.version == 2:
        (folder / "cpu.max").write_text(f"{'max' if quota is None else quota} {PERIOD_US}")
    else:
        (folder / "cpu.cfs_period_us").write_text(str(PERIOD_US))
        (folder / "cpu.cfs_quota_us").write_text(str(-1 if quota is None else quota))


def _limit_memory(one: Hierarchy, folder: Path, limit: int | None) -> None:
    if one.version == 2:
        (folder / "memory.max").write_text("max" if limit is None else str(limit))
        _write_if_there(folder / "memory.swap.max", "max" if limit is None else "0")
        _write_if_there(folder / "memory.oom.group", "0" if limit is None else "1")
        return
    memory, with_swap = folder / "memory.limit_in_bytes", folder / "memory.memsw.limit_in_bytes"
    files = [memory, with_swap] if with_swap.exists() else [memory]
    # Sockets' buffers are counted apart; only the machine as a whole would bound them.
    _write_if_there(folder / "memory.kmem.tcp.limit_in_bytes", str(-1 if limit is None else limit))
    for file in files[::-1]:  # none at first: the limit with swap may not be below the one without
        file.write_text("-1")
    for file in files:
        if limit is not None:
            file.write_text(str(limit))


def _write_if_there(file: Path, value: str) -> None:
    if file.exists():
        file.write_text(value)


def _fields(file: Path) -> dict[str, int]:
    """The numbers of a file whose lines are "name number"."""
    pairs = (line.split() for line in file.read_text().splitlines())
    return {name: int(value) for name, value in pairs}


def _remove(folder: Path) -> None:
    """Remove a group and those below it; a process that has just been killed still counts for a moment."""
    deadline = time.monotonic() + _REMOVE_TIMEOUT_S
    for path, folders, _ in os.walk(folder, topdown=False):
        for name in folders:
            _rmdir(Path(path, name), deadline)
    _rmdir(folder, deadline)


def _rmdir(folder: Path, deadline: float = 0.0) -> None:
    while True:
        try:
            folder.rmdir()
            return
        except FileNotFoundError:
            return
        except OSError as error:
            if error.errno != errno.EBUSY or time.monotonic() > deadline:
                return
            time.sleep(0.005)

"""Where the machine's CPU time went: idle, stolen, the lab's, and others' ("competing").

Competing CPU is what ordinary processes outside the lab and outside this program used: total user and
system time minus theirs. Interrupt time is left out on both sides: the lab's own packets cause most of it.
Kernel threads are left out too, for the same reason. Counters move in ticks of 10 ms on most
kernels, so windows should span seconds.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Set
from dataclasses import dataclass
from pathlib import Path

KERNEL_THREADS_PARENT = 2


@dataclass(frozen=True)
class CpuTimes:
    """The machine's CPU seconds since boot, over all CPUs, by /proc/stat's columns."""

    user_s: float
    system_s: float
    idle_s: float
    interrupt_s: float
    steal_s: float

    @property
    def total_s(self) -> float:
        return self.user_s + self.system_s + self.idle_s + self.interrupt_s + self.steal_s


@dataclass(frozen=True)
class CpuSample:
    """The machine's times at one moment, and those of processes that belong to the measurement."""

    machine: CpuTimes
    own_s: float


@dataclass(frozen=True)
class CpuShares:
    """Shares of the machine's whole capacity (all CPUs) in a window, each 0..1.

    `steal` alone is the share of what was wanted, that is of the time in which a CPU was not idle: on a
    machine that idles much, what a hypervisor takes away slows what runs more than its share of all says.
    """

    idle: float
    steal: float
    own: float
    competing: float


def parse_machine(stat: str, ticks_per_s: int) -> CpuTimes:
    """The machine's CPU times from the text of /proc/stat."""
    values = [int(value) / ticks_per_s for value in stat.splitlines()[0].split()[1:9]]
    user, nice, system, idle, iowait, irq, softirq, steal = values + [0.0] * (8 - len(values))
    return CpuTimes(user + nice, system, idle + iowait, irq + softirq, steal)


@dataclass(frozen=True)
class ProcessTimes:
    """One process's CPU seconds, and those of its children that ended and were waited for."""

    pid: int
    parent: int
    own_s: float
    children_s: float


def parse_process(stat: str, ticks_per_s: int) -> ProcessTimes:
    """One process from the text of /proc/<pid>/stat. Its name may hold blanks and brackets."""
    pid, rest = stat.split(" ", 1)
    fields = rest[rest.rindex(")") + 2 :].split()
    user, system, children_user, children_system = (int(value) / ticks_per_s for value in fields[11:15])
    return ProcessTimes(int(pid), int(fields[1]), user + system, children_user + children_system)


def shares(before: CpuSample, after: CpuSample) -> CpuShares:
    """What happened between two samples.

    Raises:
        ValueError: no time passed between them.
    """
    total_s = after.machine.total_s - before.machine.total_s
    if total_s <= 0:
        raise ValueError("two CPU samples of the same moment say nothing")
    wanted_s = total_s - (after.machine.idle_s - before.machine.idle_s)
    ordinary_s = (after.machine.user_s + after.machine.system_s) - (before.machine.user_s + before.machine.system_s)
    own_s = after.own_s - before.own_s
    return CpuShares(
        idle=(after.machine.idle_s - before.machine.idle_s) / total_s,
        steal=(after.machine.steal_s - before.machine.steal_s) / wanted_s if wanted_s > 0 else 0.0,
        own=own_s / total_s,
        competing=min(1.0, max(0.0, (ordinary_s - own_s) / total_s)),
    )


class CpuMeter:
    """Samples the CPU. The measurement's own processes: those in the lab's PID namespace, what they have started in
    namespaces below it, and this one."""

    def __init__(self, lab_init_pid: int, proc: Path = Path("/proc")) -> None:
        self._proc = proc
        self._ticks_per_s = os.sysconf("SC_CLK_TCK")
        self._lab_namespace = (proc / str(lab_init_pid) / "ns" / "pid").readlink()

    def sample(self) -> CpuSample:
        """The counters now. Takes a few milliseconds, as it reads every process of the machine."""
        processes: dict[int, ProcessTimes] = {}
        in_lab: set[int] = set()
        for folder in self._proc.iterdir():
            if folder.name.isdigit():
                try:
                    process = parse_process((folder / "stat").read_text(), self._ticks_per_s)
                    if (folder / "ns" / "pid").readlink() == self._lab_namespace:
                        in_lab.add(process.pid)
                except OSError:  # it ended meanwhile, or is another user's
                    continue
                processes[process.pid] = process
        own_s = sum(self._measurement_s(process, processes, in_lab) for process in processes.values())
        return CpuSample(parse_machine((self._proc / "stat").read_text(), self._ticks_per_s), own_s)

    def _measurement_s(self, process: ProcessTimes, processes: Mapping[int, ProcessTimes], in_lab: Set[int]) -> float:
        """CPU seconds that a process adds to the measurement's own: 0 for everybody else's."""
        if process.pid == os.getpid():
            return process.own_s  # without its children: a planted hog is one
        if KERNEL_THREADS_PARENT in (process.pid, process.parent):
            return process.own_s
        ancestor: ProcessTimes | None = process
        while ancestor is not None:
            if ancestor.pid in in_lab:
                return process.own_s + process.children_s  # a process that ends moves to its parent's children
            ancestor = processes.get(ancestor.parent)
        return 0.0

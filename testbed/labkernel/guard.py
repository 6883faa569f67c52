"""Starts one guest's kernel and sees to it that none of its processes outlives the runner. Standard library only.

Run as `python -I -S guard.py LIFELINE CORE KERNEL ARGUMENT...`. A guest is a family of host processes:
the kernel, and a traced process for each of its own. They are killed together when the kernel ends,
or when the other end of the descriptor LIFELINE is closed, as it is however the runner dies.
"""

import ctypes
import os
import select
import signal
import sys
from pathlib import Path

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
_libc = ctypes.CDLL(None, use_errno=True)


def start(core: int, command: list[str]) -> int:
    """The kernel's process, pinned to one core, killed by the host's kernel when this process dies; its pid."""
    guard = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    try:
        _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != guard:
            os._exit(1)
        # Unpinned, netem's tail grows from 1 ms to several and Mininet starts twice as slowly.
        os.sched_setaffinity(0, {core})
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        os.execvp(command[0], command)
    except OSError as problem:
        os.write(2, f"{command[0]}: {problem.strerror}\n".encode())
    finally:
        os._exit(127)


def children() -> list[int]:
    """The pids of this process's children, adopted ones too."""
    found = []
    me = os.getpid()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:  # it has just ended
            continue
        if int(fields[1]) == me:
            found.append(int(stat.parent.name))
    return found


def bury_all() -> None:
    """Kills and reaps until no child is left; orphans of what was killed become children in their turn."""
    while True:
        for pid in children():
            os.kill(pid, signal.SIGKILL)
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return


def main() -> int:
    """The kernel's exit code, or 137 when the runner has gone or let go."""
    lifeline, core, command = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
    os.set_inheritable(lifeline, False)
    _libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    kernel = start(core, command)
    ended = os.pidfd_open(kernel)
    select.select([lifeline, ended], [], [])
    pid, status = os.waitpid(kernel, os.WNOHANG)
    bury_all()
    return os.waitstatus_to_exitcode(status) & 0xFF if pid else 137


if __name__ == "__main__":
    sys.exit(main())

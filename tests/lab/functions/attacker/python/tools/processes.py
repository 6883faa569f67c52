"""Tools on processes. Others are named by number and by when they began, because a number may be somebody else's."""

import ctypes
import os
import resource
import signal
from pathlib import Path

from function.tools.answers import Refused
from function.tools.kernel import LIBC, checked

PIECE = 8 << 20
PTRACE_ATTACH, PTRACE_DETACH, WALL = 16, 17, 0x40000000
PIDFD_OPEN, PIDFD_GETFD = 434, 438


def started(pid):
    """When a process began, in clock ticks since the machine did, and its name; None where that is not to be seen."""
    try:
        name, _, rest = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")
    except OSError:
        return None
    return rest.split()[19], name.partition("(")[2]


def wanted(pid, when):
    seen = started(pid)
    if seen is None:
        raise Refused("not seen")
    if seen[0] != when:
        raise Refused("another process")
    return int(pid)


def send_signal(pid, when, number):
    os.kill(wanted(pid, when), int(number))
    return "sent"


def signal_all(number):
    """A signal to every process that it may signal; SIGURG is one that nobody minds."""
    signal.signal(int(number), signal.SIG_IGN)
    os.kill(-1, int(number))
    return "sent"


def trace(pid, when):
    number = wanted(pid, when)
    checked(LIBC.ptrace(PTRACE_ATTACH, number, None, None))
    os.waitpid(number, WALL)
    LIBC.ptrace(PTRACE_DETACH, number, None, None)
    return "attached"


def memory(pid, needle_hex):
    """The needle in what another process may write to."""
    needle = bytes.fromhex(needle_hex)
    folder = Path("/proc", pid)
    with (folder / "mem").open("rb", buffering=0) as content, (folder / "maps").open() as maps:
        for line in maps:
            area, rights = line.split()[:2]
            start, end = (int(one, 16) for one in area.split("-"))
            if rights[1] == "w" and any(needle in piece(content, at, end) for at in range(start, end, PIECE)):
                return "read"
    raise Refused("not in it")


def piece(content, at, end):
    try:
        return os.pread(content.fileno(), min(PIECE, end - at), at)
    except OSError:  # a page that nobody may read
        return b""


def steal(pid, when):
    """A descriptor out of another process."""
    holder = checked(LIBC.syscall(PIDFD_OPEN, wanted(pid, when), 0))
    checked(LIBC.syscall(PIDFD_GETFD, holder, 1, 0))
    return "its output"


def processes():
    """Each that is seen, by when it began and its name."""
    seen = [started(one.name) for one in Path("/proc").iterdir() if one.name.isdecimal()]
    return "\n".join(" ".join(one) for one in seen if one)


def enter(path):
    """Go to another namespace."""
    checked(LIBC.setns(os.open(path, os.O_RDONLY), 0))


def crash():
    """A core dump, as large as it may be."""
    child = os.fork()
    if child == 0:
        _, most = resource.getrlimit(resource.RLIMIT_CORE)
        resource.setrlimit(resource.RLIMIT_CORE, (most, most))
        ctypes.CDLL(None).abort()
    _, status = os.waitpid(child, 0)
    if not os.WCOREDUMP(status):
        raise Refused("no core")
    return "a core"

"""Tools that take as much as they get. Each has a bound and gives everything back, but for the orphan."""

import contextlib
import errno
import os
import resource
import signal
import sys
import time
from pathlib import Path

from function.tools.answers import Refused

BLOCK = bytes(1 << 20)
LINE = b"x" * 1023 + b"\n"
SLEEP = "/usr/bin/sleep"


def fill(folder, mebibytes):
    """A file of so many MiB, which has no name any more."""
    place = Path(folder, f"attack-fill-{os.getpid()}")
    with place.open("xb", buffering=0) as file:
        place.unlink()
        for _ in range(int(mebibytes)):
            if file.write(BLOCK) < len(BLOCK):
                raise Refused("full")
    return f"{mebibytes} MiB"


def many_files(folder, count, seconds):
    """So many empty files."""
    place, end_s, made = Path(folder, f"attack-files-{os.getpid()}"), time.monotonic() + float(seconds), 0
    place.mkdir()
    try:
        while made < int(count) and time.monotonic() < end_s:
            os.close(os.open(place / str(made), os.O_WRONLY | os.O_CREAT))
            made += 1
    finally:
        for number in range(made):
            (place / str(number)).unlink()
        place.rmdir()
    return f"{made} files"


def bomb(count, seconds):
    """So many processes at once, ended again."""
    born, end_s = [], time.monotonic() + float(seconds)
    try:
        while len(born) < int(count) and time.monotonic() < end_s:
            born.append(os.posix_spawn(SLEEP, ("sleep", "60"), os.environ, file_actions=[(os.POSIX_SPAWN_CLOSE, 1)]))
    except OSError as error:
        raise Refused(f"{errno.errorcode.get(error.errno)} after {len(born)}") from None
    finally:
        for pid in born:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
    return f"{len(born)} processes"


def orphan(seconds):
    """A process that belongs to nobody and does not hear SIGTERM."""
    child = os.fork()
    if child == 0:
        os.setsid()
        if os.fork():
            os._exit(0)
        os.closerange(0, 1024)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        time.sleep(float(seconds))
        os._exit(0)
    os.waitpid(child, 0)
    return "left behind"


def talk(mebibytes):
    """More than the log is to hold."""
    for _ in range(int(mebibytes) << 10):
        sys.stderr.buffer.write(LINE)
    sys.stderr.flush()
    return "said"


def hold(count):
    """As many open files as it may have, held for a second."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    held = 0
    try:
        while held < int(count):
            os.open("/dev/null", os.O_RDONLY)
            held += 1
    finally:
        time.sleep(1)
    return str(held)

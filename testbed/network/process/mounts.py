"""Mounts by system calls, in the calling thread's mount namespace: a spawned `mount` costs milliseconds."""

from __future__ import annotations

import ctypes
import errno
import os
import struct
import time
from pathlib import Path

RDONLY, NOSUID, NODEV, NOEXEC = 1, 2, 4, 8
PRIVATE, REC = 1 << 18, 16384
_REMOUNT, _BIND = 32, 4096
_WRITERS_S = 5.0
_MOUNT_SETATTR, _AT_FDCWD, _AT_RECURSIVE = 442, -100, 0x8000

_libc = ctypes.CDLL(None, use_errno=True)


def mount(source: Path | str, target: Path | str, kind: str = "", flags: int = 0, options: str = "") -> None:
    """mount(2). OSError that names the target."""
    arguments = (os.fsencode(source), os.fsencode(target), kind.encode() or None, flags, os.fsencode(options) or None)
    if _libc.mount(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{source} could not be mounted on {target}: {os.strerror(number)}")


def bind(source: Path | str, target: Path | str) -> None:
    """Show `source`, with what is mounted below it, at `target` too."""
    mount(source, target, flags=_BIND | REC)


def show(source: Path | str, target: Path | str, flags: int) -> None:
    """Show `source` alone at `target` with these flags (RDONLY, NOSUID, …), which hold there and not at the source."""
    mount(source, target, flags=_BIND)
    mount("", target, flags=_BIND | _REMOUNT | flags)


def make_read_only(folder: Path) -> None:
    """Make what is mounted at and below `folder` read-only and without set-user-id programs. OSError.

    It waits for a moment for who has a file there open for writing: what another thread starts has what this one
    writes, until it becomes its program.
    """
    deadline = time.monotonic() + _WRITERS_S
    while True:
        try:
            _set_read_only(folder)
            return
        except OSError as error:
            if error.errno != errno.EBUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.005)


def _set_read_only(folder: Path) -> None:
    attributes = struct.pack("QQQQ", RDONLY | NOSUID, 0, 0, 0)  # struct mount_attr
    if _libc.syscall(_MOUNT_SETATTR, _AT_FDCWD, os.fsencode(folder), _AT_RECURSIVE, attributes, len(attributes)) == 0:
        return
    if (number := ctypes.get_errno()) != errno.ENOSYS:
        raise OSError(number, f"{folder} could not be made read-only: {os.strerror(number)}")
    for point, options in _mounted_below(folder):  # Linux before 5.12
        kept = sum({"nodev": NODEV, "noexec": NOEXEC}.get(option, 0) for option in options)
        mount("", point, flags=_BIND | _REMOUNT | RDONLY | NOSUID | kept)


def _mounted_below(folder: Path) -> list[tuple[str, list[str]]]:
    """Mount points at and below `folder`, with their options."""
    found = []
    for line in Path("/proc/thread-self/mountinfo").read_text().splitlines():
        point, options = line.split()[4:6]
        point = point.encode().decode("unicode_escape").encode("latin1").decode()  # \040 is a blank
        if point == str(folder) or point.startswith(f"{folder}/"):
            found.append((point, options.split(",")))
    return found

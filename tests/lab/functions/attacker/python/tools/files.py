"""Tools on files: what can be read, written, made."""

import ctypes
import errno
import glob
import os
import stat
import tempfile
from pathlib import Path

from function.tools.answers import Refused

LARGEST, PIECE = 8 << 20, 1 << 16
PR_GET_NO_NEW_PRIVS = 39
PLACES = ("/usr/bin", "/usr/sbin", "/usr/lib", "/usr/local", "/opt")


def find(pattern, needle_hex):
    """The files that can be read and hold the needle; without one: that hold anything, and folders."""
    needle, found = bytes.fromhex(needle_hex), []
    problem = FileNotFoundError(2, "nothing of that name")
    for name in glob.glob(pattern):  # noqa: PTH207  from any folder
        try:
            if holds(name, needle):
                found.append(name)
            else:
                problem = OSError(errno.ENODATA, "not in it")
        except OSError as error:
            problem = error
    if not found:
        raise problem
    return f"{found[0]} and {len(found) - 1} more"


def holds(name, needle):
    if Path(name).is_dir():
        os.close(os.open(name, os.O_RDONLY))
        return not needle
    fd = os.open(name, os.O_RDONLY | os.O_NONBLOCK)
    try:
        content = b""
        while len(content) < LARGEST and (more := os.read(fd, PIECE if needle else 1)):
            content += more
            if not needle:
                break
        return needle in content if needle else bool(content)
    finally:
        os.close(fd)


def open_files(mode, pattern):
    """The first that opens for r, w or rw; nothing is made and nothing cut."""
    flags = {"r": os.O_RDONLY, "w": os.O_WRONLY, "rw": os.O_RDWR}[mode] | os.O_NONBLOCK
    problem = FileNotFoundError(2, "nothing of that name")
    for name in glob.glob(pattern):  # noqa: PTH207  from any folder
        try:
            os.close(os.open(name, flags))
            return name
        except OSError as error:
            problem = error
    raise problem


def create(name):
    """A new file, which stays."""
    fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    os.write(fd, b"attacked\n")
    os.close(fd)
    return name


def relink(name, target):
    """A link in a file's place."""
    Path(name).unlink()
    Path(name).symlink_to(target)
    return name


def device(kind, major, minor):
    """A device of the machine's, made, opened for reading and removed."""
    name = tempfile.mktemp(prefix="attack-device-", dir="/tmp")
    mode = (stat.S_IFBLK if kind == "b" else stat.S_IFCHR) | 0o600
    os.mknod(name, mode, os.makedev(int(major), int(minor)))
    try:
        os.close(os.open(name, os.O_RDONLY | os.O_NONBLOCK))
    finally:
        Path(name).unlink()
    return "opened"


def setuid_files():
    """A program that would give it another user's rights."""
    if ctypes.CDLL(None).prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1:
        raise Refused("no_new_privs")
    for place in PLACES:
        for folder, _, names in os.walk(place):
            for name in names:
                if gives_rights(path := Path(folder, name)):
                    return path
    raise Refused("none")


def gives_rights(path):
    try:
        about = path.lstat()
        if not stat.S_ISREG(about.st_mode) or not about.st_mode & 0o111:
            return False
        special = about.st_mode & (stat.S_ISUID | stat.S_ISGID) or "security.capability" in os.listxattr(path)
        return bool(special) and not os.statvfs(path).f_flag & os.ST_NOSUID
    except OSError:
        return False

"""Mounts inside a lab, by system calls: nothing of them is seen outside, and they end with the lab's processes.

A function reads its secrets from files under SECRETS_FOLDER, on a tmpfs in its instance's own mount namespace. Where
the machine's root file system has no such folder, `provide_folder` makes it in the lab's mount namespace alone.
"""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Mapping
from pathlib import Path

from testbed.model.errors import LabError

SECRETS_FOLDER = Path("/var/openfaas/secrets")
HOSTS_FILE = Path("/etc/hosts")
CLONE_NEWNS = 0x20000
_RDONLY, _NOSUID, _NODEV, _NOEXEC, _REMOUNT, _BIND, _MOVE, _REC = 1, 2, 4, 8, 32, 4096, 8192, 16384
_MOUNT_SETATTR, _AT_FDCWD, _AT_RECURSIVE = 442, -100, 0x8000
_WRITABLE = {Path("/tmp"): "mode=1777", Path("/dev/shm"): "mode=1777,size=64m"}
"""What a function with a read-only root file system may write to: folders of its own, empty at first."""
_SECRETS_OPTIONS = "mode=0755,size=8m"

_libc = ctypes.CDLL(None, use_errno=True)


def mount(source: Path | str, target: Path, kind: str = "", flags: int = 0, options: str = "") -> None:
    """mount(2) in the calling thread's mount namespace. OSError that names the target."""
    arguments = (os.fsencode(source), os.fsencode(target), kind.encode() or None, flags, options.encode() or None)
    if _libc.mount(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{source} could not be mounted on {target}: {os.strerror(number)}")


def bind(source: Path, target: Path) -> None:
    """Show `source`, with what is mounted below it, at `target` too."""
    mount(source, target, flags=_BIND | _REC)


def provide_folder(folder: Path, scratch: Path) -> None:
    """Make `folder` exist in this mount namespace, which must be the lab's own; the file system is left as it is.

    Its nearest ancestor is covered by a tmpfs on which everything that was in the ancestor is bound where it was.
    `scratch` is an empty folder of the lab's. OSError when there is no ancestor to cover but the root folder itself.
    """
    if folder.is_dir():
        return
    ancestor = next(parent for parent in folder.parents if parent.is_dir())
    if ancestor == Path("/"):
        raise OSError(f"{folder} cannot be made without changing this machine's root folder")
    mount("tmpfs", scratch, "tmpfs", _NOSUID | _NODEV, "mode=0755,size=1m")
    for entry in ancestor.iterdir():
        place = scratch / entry.name
        if entry.is_symlink():
            place.symlink_to(entry.readlink())
            continue
        if entry.is_dir():
            place.mkdir()
        else:
            place.touch()
        bind(entry, place)
    (scratch / folder.relative_to(ancestor)).mkdir(parents=True)
    mount(scratch, ancestor, flags=_MOVE)


def mount_hosts(file: Path) -> None:
    """Show `file` as /etc/hosts in the calling thread's mount namespace. LabError where there is none to cover."""
    try:
        bind(file, HOSTS_FILE)
    except OSError as error:
        raise LabError(f"names of stores have no place: {error.strerror}") from error


def mount_secrets(secrets: Mapping[str, bytes]) -> None:
    """Put secrets as files on a tmpfs at SECRETS_FOLDER, in the calling thread's mount namespace. LabError if not."""
    if not SECRETS_FOLDER.is_dir():
        raise LabError(
            f"secrets have no place: this machine has no {SECRETS_FOLDER}; run `make setup` and restart the lab"
        )
    hidden = _NOSUID | _NODEV | _NOEXEC
    try:
        mount("tmpfs", SECRETS_FOLDER, "tmpfs", hidden, _SECRETS_OPTIONS)
        for name, value in secrets.items():
            file = SECRETS_FOLDER / name
            file.write_bytes(value)
            file.chmod(0o444)
        mount("tmpfs", SECRETS_FOLDER, flags=hidden | _REMOUNT | _RDONLY)
    except OSError as error:
        raise LabError(f"secrets could not be put into {SECRETS_FOLDER}: {error.strerror}") from error


def make_root_read_only() -> None:
    """Make everything read-only in the calling thread's mount namespace, except an empty /tmp and /dev/shm of its own.

    That is what OpenFaaS gives to such a function. It guards against mistakes: who has root's capabilities, as
    instances have, could undo it. LabError where the kernel (before 5.12) cannot do it.
    """
    attributes = struct.pack("QQQQ", _RDONLY, 0, 0, 0)  # struct mount_attr
    if _libc.syscall(_MOUNT_SETATTR, _AT_FDCWD, b"/", _AT_RECURSIVE, attributes, len(attributes)) != 0:
        reason = os.strerror(ctypes.get_errno())
        raise LabError(f"the root file system could not be made read-only: {reason}; it takes Linux 5.12 or newer")
    for folder, options in _WRITABLE.items():
        if folder.is_dir():
            mount("tmpfs", folder, "tmpfs", _NOSUID | _NODEV, options)

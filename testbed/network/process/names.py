"""How names are resolved in a lab: what it knows stands in its /etc/hosts, everything else is refused at once.

A lab has no way to any name server. Whatever the machine's resolv.conf says, a resolver that sent its questions there
would wait 5 s for each, or talk to a daemon of the machine's that sees another network.
"""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path

from testbed.network.process import mounts

HOSTS, RESOLV_CONF, NSSWITCH_CONF = Path("/etc/hosts"), Path("/etc/resolv.conf"), Path("/etc/nsswitch.conf")
NSCD_FOLDER = Path("/run/nscd")
"""Where the C library looks for a daemon that caches names; the machine's would answer for the machine."""

RESOLVER = "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n"
"""Nobody listens there, which the kernel says at once."""

_HOSTS_LINE = re.compile(r"^[ \t]*hosts:.*$", re.MULTILINE)


def name_services(present: str) -> str:
    """The machine's nsswitch.conf, with host names from files and the resolver only."""
    line = "hosts: files dns"
    return _HOSTS_LINE.sub(line, present) if _HOSTS_LINE.search(present) else f"{present}\n{line}\n"


def provide(folder: Path, known: str) -> None:
    """Have the calling thread's mount namespace, which must be the lab's own, resolve names so.

    `folder` is where the files are kept, `known` the text of /etc/hosts. A file that the machine has not is left out:
    without it the C library does the same. OSError when there is no /etc/hosts.
    """
    folder.mkdir(exist_ok=True)
    _show(known, folder / "hosts", HOSTS)
    with suppress(FileNotFoundError):  # also where it is a link to nothing
        _show(RESOLVER, folder / "resolv.conf", RESOLV_CONF)
    with suppress(FileNotFoundError):
        _show(name_services(NSSWITCH_CONF.read_text()), folder / "nsswitch.conf", NSSWITCH_CONF)
    if NSCD_FOLDER.is_dir():
        nobody = folder / "nscd"
        nobody.mkdir()
        mounts.bind(nobody, NSCD_FOLDER)


def _show(text: str, file: Path, target: Path) -> None:
    file.write_text(text)
    file.chmod(0o644)
    mounts.bind(file, target)

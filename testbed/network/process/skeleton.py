"""The root that every place of a lab shares: read-only, on a tmpfs, with the machine's programs and little else.

Seen in it are /usr, the Python environment and this package at paths that are the same for every checkout, six
devices, and what of /etc programs ask for. Not seen are other folders of the machine, and of /etc whatever tells of its
users, services and names. What is a place's own lies below /run there; the skeleton has links to it (`place`).
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterable
from pathlib import Path

from testbed.model.checkout import CHECKOUT
from testbed.network.process.mounts import NOSUID, PRIVATE, bind, make_read_only, mount

HOME = Path("/home/app")
"""Where a place's program is seen, and starts."""
DATA = Path("/var/lib/store")
"""Where a data store writes."""
CGROUPS = Path("/sys/fs/cgroup")
SECRETS = Path("/var/openfaas/secrets")
ENVIRONMENT = Path("/opt/testbed/venv")
PACKAGES = Path("/opt/testbed/packages")
PYTHON = ENVIRONMENT / "bin" / "python"
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
PROGRAM_PATH = f"{ENVIRONMENT}/bin:{SYSTEM_PATH}"
"""PATH of what runs in a place."""

OWN_ETC = ("passwd", "group", "hosts", "hostname", "resolv.conf")
"""The files of /etc that each place has for itself, below /run/etc."""
_ETC = (
    "alternatives", "ca-certificates", "ca-certificates.conf", "gai.conf", "java-*-openjdk", "ld.so.cache",
    "ld.so.conf", "ld.so.conf.d", "localtime", "mime.types", "protocols", "python3*", "services", "ssl/openssl.cnf",
    "terminfo", "timezone",
)  # fmt: skip
_CERTIFICATES = Path("/etc/ssl/certs")  # hundreds of files, all of them public
# Names come from the file of hosts alone; who asks a name server all the same finds none on its loopback, at once.
_NSSWITCH = "passwd: files\ngroup: files\nhosts: files\nservices: files\nprotocols: files\n"
_DEVICES = ("full", "null", "random", "tty", "urandom", "zero")
_FOLDERS = ("proc", "tmp", "run", "root", "var/tmp", "var/lib", "var/openfaas", "dev/shm")
_OTHERS_READ = 0o004
_HOOK = "__editable__*.pth"


def make(root: Path, groups: Iterable[str]) -> None:
    """Make the skeleton at `root`, in the calling process's mount namespace; once a lab. OSError.

    `groups`: the names of the folders in which a place may be shown its cgroups.
    """
    root.mkdir(parents=True)
    mount("skeleton", root, "tmpfs", NOSUID, "mode=0755,size=32m")
    mount("", root, flags=PRIVATE)
    for name in ("bin", "sbin", "lib", "lib32", "lib64", "libx32"):
        _show_system_folder(Path("/", name), root / name)
    _show(Path("/usr"), root / "usr")
    _show_environment(root)
    shown = (_inner(CGROUPS), *(f"{_inner(CGROUPS)}/{name}" for name in groups))
    for folder in (*_FOLDERS, _inner(HOME), _inner(DATA), *shown):
        _provide(root / folder)
    (root / "root").chmod(0o700)
    (root / "var/tmp").rmdir()
    (root / "var/tmp").symlink_to("/tmp")
    (root / "var/run").symlink_to("/run")
    (root / _inner(SECRETS)).symlink_to("/run/secrets")
    _fill_etc(root / "etc")
    for name in _DEVICES:
        _show(Path("/dev", name), root / "dev" / name)
    for name, target in {"fd": "", "stdin": "/0", "stdout": "/1", "stderr": "/2"}.items():
        (root / "dev" / name).symlink_to(f"/proc/self/fd{target}")
    make_read_only(root)


def _inner(path: Path) -> str:
    return str(path.relative_to("/"))


def _provide(folder: Path) -> None:
    """The folder and those above it, readable for all whatever the umask is: it is the whole process's."""
    for one in (*reversed(folder.parents), folder):
        if not one.exists():
            one.mkdir()
            one.chmod(0o755)


def _show(source: Path, place: Path) -> None:
    """Bind `source` at `place`, making the mount point."""
    _provide(place if source.is_dir() else place.parent)
    if not source.is_dir():
        place.touch()
    bind(source, place)


def _show_system_folder(folder: Path, place: Path) -> None:
    if folder.is_symlink():  # to its namesake in /usr
        place.symlink_to(folder.readlink())
    elif folder.is_dir():
        _show(folder, place)


def _show_environment(root: Path) -> None:
    """The Python environment, and a copy of this package that all may read, whatever the checkout's modes are."""
    environment = Path(sys.prefix)
    _show(environment, root / _inner(ENVIRONMENT))
    nothing = root / "opt/testbed/nothing"
    nothing.touch()
    for hook in environment.glob(f"lib/python*/site-packages/{_HOOK}"):
        # It would make every Python program look for this checkout, which is not there.
        bind(nothing, root / _inner(ENVIRONMENT) / hook.relative_to(environment))
    packages = root / _inner(PACKAGES)
    _provide(packages)
    _copy(CHECKOUT / "testbed", packages / "testbed")


def _copy(source: Path, target: Path) -> None:
    """Copy a file or folder, with what others may read of it made readable; times stay, so that compiled files hold."""
    if source.is_dir():
        shutil.copytree(source, target, symlinks=True)
        for path in (target, *target.rglob("*")):
            if not path.is_symlink():
                path.chmod(0o755 if path.is_dir() else 0o644)
    else:
        shutil.copy2(source, target)
        target.chmod(0o644)


def _fill_etc(etc: Path) -> None:
    _provide(etc)
    if _CERTIFICATES.is_dir():
        _show(_CERTIFICATES, etc / _CERTIFICATES.relative_to("/etc"))
    for source in (one for pattern in _ETC for one in Path("/etc").glob(pattern)):
        place = etc / source.relative_to("/etc")
        if source.is_dir():
            _provide(place.parent)
            shutil.copytree(source, place, symlinks=True, ignore=_private)
        elif source.is_file():
            _provide(place.parent)
            shutil.copy(source, place)
    (etc / "nsswitch.conf").write_text(_NSSWITCH)
    (etc / "nsswitch.conf").chmod(0o644)
    for name in OWN_ETC:
        (etc / name).symlink_to(f"/run/etc/{name}")


def _private(folder: str, names: list[str]) -> list[str]:
    """Those that others may not read."""
    return [name for name in names if not Path(folder, name).lstat().st_mode & _OTHERS_READ]

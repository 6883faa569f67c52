"""Keeps a program in its place: it sees its own processes, files and network, as a user without any right.

A place is a small root of its own (`skeleton`, and a tmpfs over it for what is the place's), its own PID, IPC, UTS,
mount and cgroup namespaces and a network namespace that is there already. Its first process is a program in C, place.c:
the caller's own child, which enters the root, gives up every right and starts the program. What runs in which place,
and when, is decided elsewhere.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from testbed.model.checkout import CHECKOUT
from testbed.model.errors import LabError
from testbed.network.process import skeleton
from testbed.network.process.cgroups import Cgroups
from testbed.network.process.mounts import NODEV, NOEXEC, NOSUID, PRIVATE, RDONLY, REC, bind, mount, show
from testbed.network.process.names import RESOLVER
from testbed.network.process.namespaces import in_thread, setns, unshare

FIRST_PROCESS = CHECKOUT / "build" / "place"
PLACE_FAILED = 125
LONGEST_HOST_NAME = 64
LARGEST_FILES_BYTES = 512 << 20
"""What a place without a memory limit may keep in files; they are memory."""

TRIAL_S = 30
OPEN_FILES = 4096
"""Enough for a function or a store; the machine has some for all."""

_NEWNS, _NEWUTS, _NEWIPC, _NEWPID = 0x20000, 0x4000000, 0x8000000, 0x20000000
_PAGE_BYTES = 4096
_KEPT = NOSUID | NODEV


@dataclass(frozen=True)
class Grounds:
    """Where a lab's places are made: the skeleton that they share, and the empty folder that each is mounted on."""

    skeleton: Path
    mount_point: Path

    @classmethod
    def of_lab(cls, state_folder: Path) -> Grounds:
        return cls(state_folder / "skeleton", state_folder / "place")

    def prepare(self, groups: Sequence[str]) -> None:
        """Make them, once, in the lab's own mount namespace. LabError when that is not possible."""
        if not FIRST_PROCESS.exists():
            raise LabError(f"the program {FIRST_PROCESS} is missing; run `make setup`")
        try:
            self.mount_point.mkdir()
            skeleton.make(self.skeleton, groups)
        except OSError as error:
            raise LabError(f"the root of functions could not be made in {self.skeleton}: {error}") from error

    def try_out(self, program: Path, user_id: int) -> None:
        """Keep a program that does nothing in a place of its own. LabError where that is not possible."""
        output, pid, status = (self.mount_point.with_name(f"trial.{what}") for what in ("out", "pid", "status"))
        try:
            place = Place("trial", user_id, "127.0.0.1", program)
            trial = start(place, Start(("true",), {}, output, pid, status), None, self, Cgroups("none", ()))
            try:
                code = trial.wait(TRIAL_S)
            except subprocess.TimeoutExpired:
                trial.kill()
                raise LabError(f"a program that does nothing does not end within {TRIAL_S} s") from None
            if code:
                raise LabError(f"it ended with {code}: {output.read_text(errors='replace').strip()}")
        except LabError as error:
            raise LabError(
                f"functions cannot be kept in their place on this machine: {error}; use --lab-kernel for a batch verb"
            ) from error
        finally:
            for file in (output, pid, status):
                file.unlink(missing_ok=True)


class Access(Enum):
    """What a program may do with its folder: change a copy of its own, nothing, or change the folder itself."""

    COPY = "copy"
    READ = "read"
    WRITE = "write"


@dataclass(frozen=True)
class Place:
    """What is a place's own.

    `name` is its host name and resolves to `address`; `user_id` is its user's, who is called app. `program` is a folder
    that is shown at /home/app as `access` says (None: nothing is).
    `names`: further lines of its file of hosts. `secrets` and `files`: name -> content, below /run/secrets and /run.
    `shown`: files and folders of the machine -> where below /run they can be read. `data` is shown at /var/lib/store
    and written to. `group` is its cgroup, made already ("": none).
    `files_bytes`: how much it may write, all its files together. `open_files`: how many each process may have open.
    """

    name: str
    user_id: int
    address: str
    program: Path | None = None
    access: Access = Access.COPY
    names: Sequence[str] = ()
    secrets: Mapping[str, bytes] = field(default_factory=dict)
    files: Mapping[str, bytes] = field(default_factory=dict)
    shown: Mapping[Path, str] = field(default_factory=dict)
    data: Path | None = None
    group: str = ""
    files_bytes: int = LARGEST_FILES_BYTES
    open_files: int = OPEN_FILES

    @property
    def host_name(self) -> str:
        return self.name[:LONGEST_HOST_NAME]


@dataclass(frozen=True)
class Start:
    """What is started in a place: command, environment, and what of the lab it is connected with.

    `output` is written to by it; `pid_file` gets the number of its first process before anything else happens,
    `status_file` how it ended. `fds` stay open in it.
    """

    argv: Sequence[str]
    environment: Mapping[str, str]
    output: Path
    pid_file: Path
    status_file: Path
    fds: Sequence[int] = ()


def start(place: Place, what: Start, netns: int | None, grounds: Grounds, cgroups: Cgroups) -> subprocess.Popen[bytes]:
    """The place's first process, in the network namespace `netns` (None: the caller's). LabError when it is refused.

    It hands signals on to the program. What fails later, it says in `output` (see place.c for its exit code).
    """
    late: list[Path] = []

    def enter() -> None:  # a child is born into the namespaces and groups of the thread that starts it
        if netns is not None:
            setns(netns)
        late.extend(cgroups.enter(place.group) if place.group else ())
        unshare(_NEWNS | _NEWPID | _NEWIPC | _NEWUTS)
        os.umask(0o022)  # this thread's own since unshare
        with contextlib.suppress(OSError):  # in a chroot, whose root is no mount; the lab's mounts are private already
            mount("", "/", flags=PRIVATE | REC)
        _furnish(place, grounds, cgroups)

    with contextlib.ExitStack() as stack:

        def opened(file: Path, flags: int) -> int:
            fd = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | flags, 0o600)
            stack.callback(os.close, fd)
            return fd

        try:
            output, status = opened(what.output, os.O_APPEND), opened(what.status_file, os.O_TRUNC)
            for fd in (output, *what.fds):  # to open /dev/stdout or another again takes the right to
                os.fchown(fd, place.user_id, place.user_id)
            return in_thread(enter, lambda: _spawn(place, what, grounds, late, output, status))
        except (OSError, ValueError) as error:  # a value that cannot be in an environment, an argument with a zero byte
            raise LabError(f"{place.name} could not be put in its place: {error}") from error


def _spawn(
    place: Place, what: Start, grounds: Grounds, late: Sequence[Path], output: int, status: int
) -> subprocess.Popen[bytes]:
    own = (grounds.mount_point, skeleton.HOME, place.user_id, place.host_name, status, place.open_files)
    return subprocess.Popen(
        ("place", *map(str, (*own, what.pid_file, *late)), "--", *what.argv),
        executable=FIRST_PROCESS,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        env={"PATH": skeleton.PROGRAM_PATH, "HOME": str(skeleton.HOME), "LANG": "C.UTF-8", **what.environment},
        start_new_session=True,
        pass_fds=(*what.fds, status),
    )


@dataclass(frozen=True)
class Status:
    """What a status file says: when the program was started, in monotonic ns, and how it ended in words.

    None where it does not say: the program was not started, or its first process was killed itself.
    """

    started_ns: int | None = None
    end: str | None = None

    @classmethod
    def read(cls, file: Path) -> Status:
        started_ns, end = None, None
        for line in file.read_text().splitlines() if file.exists() else ():
            match line.split():
                case ["start", time_ns]:
                    started_ns = int(time_ns)
                case ["exit", code]:
                    end = f"ended with exit code {code}"
                case ["signal", number]:
                    end = f"was ended by {_signal_name(int(number))}"
        return cls(started_ns, end)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal
        return f"signal {number}"


def _furnish(place: Place, grounds: Grounds, cgroups: Cgroups) -> None:
    """In the calling thread's own mount namespace: the place's tmpfs at the mount point, with its root in `root`."""
    base = grounds.mount_point
    inodes = max(1024, place.files_bytes // _PAGE_BYTES)
    mount("place", base, "tmpfs", _KEPT, f"mode=0755,size={place.files_bytes},nr_inodes={inodes}")
    for name, mode, owner in (
        ("root", 0o755, 0), ("image", 0o755, 0), ("nothing", 0o755, 0), ("work", 0o755, 0), ("tmp", 0o1777, 0),
        ("home", 0o755, place.user_id), ("shm", 0o1777, 0), ("run", 0o755, 0), ("run/etc", 0o755, 0),
        ("run/secrets", 0o755, 0),
    ):  # fmt: skip
        folder = base / name
        folder.mkdir()
        folder.chmod(mode)
        if owner:
            os.chown(folder, owner, owner)
    for name, content in _files(place).items():
        file = base / "run" / name
        file.write_bytes(content)
        file.chmod(0o444)
    for source, seen in place.shown.items():
        target = base / "run" / seen
        target.parent.mkdir(parents=True, exist_ok=True)
        target.mkdir() if source.is_dir() else target.touch()
        show(source, target, _KEPT | RDONLY)
    root = base / "root"
    bind(grounds.skeleton, root)
    for name, seen in (("tmp", "tmp"), ("shm", "dev/shm"), ("run", "run")):
        bind(base / name, root / seen)
    if place.program is not None:
        _show_program(place.program, place.access, base, root / _inner(skeleton.HOME))
    if place.data is not None:
        show(place.data, root / _inner(skeleton.DATA), _KEPT)
    for source, seen in cgroups.shown(place.group).items() if place.group else ():
        show(source, root / _inner(skeleton.CGROUPS) / seen, _KEPT | NOEXEC | RDONLY)


def _files(place: Place) -> dict[str, bytes]:
    """The place's own files below /run."""
    user = place.user_id
    etc = {
        "passwd": f"root:x:0:0:root:/root:/usr/sbin/nologin\napp:x:{user}:{user}:app:{skeleton.HOME}:/bin/sh\n"
        "nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n",
        "group": f"root:x:0:\napp:x:{user}:\nnogroup:x:65534:\n",
        "hosts": "".join(
            f"{line}\n" for line in ("127.0.0.1\tlocalhost", f"{place.address}\t{place.host_name}", *place.names)
        ),
        "hostname": f"{place.host_name}\n",
        "resolv.conf": RESOLVER,
    }
    return {
        **{f"etc/{name}": text.encode() for name, text in etc.items()},
        **{f"secrets/{name}": value for name, value in place.secrets.items()},
        **place.files,
    }


def _show_program(program: Path, access: Access, base: Path, home: Path) -> None:
    if access is Access.WRITE:
        show(program, home, _KEPT)
        return
    # By names that say nothing: where a mount comes from is read by whoever lives there.
    bind(program, base / "image")
    os.chdir(base)  # this thread's own since unshare
    layers = "lowerdir=image:nothing" if access is Access.READ else "lowerdir=image,upperdir=home,workdir=work"
    mount("overlay", home, "overlay", _KEPT | (RDONLY if access is Access.READ else 0), layers)


def give(folder: Path, user_id: int) -> None:
    """Make a folder, and all that is in it, a user's. It follows no link, whoever had the folder before."""
    for _, folders, files, fd in os.fwalk(folder):
        os.fchown(fd, user_id, user_id)
        for name in (*folders, *files):
            os.chown(name, user_id, user_id, dir_fd=fd, follow_symlinks=False)


def _inner(path: Path) -> Path:
    return path.relative_to("/")

"""One function process: started in its sandbox and cgroup with its secrets, watched, adopted after a restart, ended.

The process writes its own pid into a file before it becomes the function, so that there is no moment
at which the node agent can die and leave a process that its successor does not find. Whether it is
ready, and when it should run, are decided elsewhere (`probe`, `keeper`).
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from testbed.model.errors import LabError
from testbed.network.process.cgroups import Cgroups
from testbed.network.process.mounts import CLONE_NEWNS, make_root_read_only, mount_hosts, mount_secrets
from testbed.network.process.namespaces import in_thread, setns, unshare
from testbed.platform.images.tools import PROGRAM_PATH

INSTANCE_VARIABLE = "INSTANCE_ID"
READY_VARIABLE = "READY_FD"
"""Names the descriptor that a function server may write a line to once it listens: it is then probed at once."""
_BECOME = 'while [ "$1" != -- ]; do echo $$ > "$1" || exit 125; shift; done; shift; exec "$@"'
_BECOMING_S = 0.2
"""While a process becomes another program, its environment reads as empty for a moment."""


@dataclass(frozen=True)
class Launch:
    """What to run, and where. `environment` is the function's own; PATH, HOME and LANG are added.

    `group` is its cgroup, made already ("": none); `secrets` None: it names none; `hosts` is shown to it as
    /etc/hosts (None: it sees the machine's); `read_only`: it can write to nothing but /tmp and shared memory.
    """

    instance_id: str
    argv: tuple[str, ...]
    folder: Path
    environment: Mapping[str, str]
    log: Path
    pid_file: Path
    group: str = ""
    secrets: Mapping[str, bytes] | None = None
    hosts: Path | None = None
    read_only: bool = False


class FunctionProcess:
    """A running function process and the group it leads; `fileno` becomes readable when it ends."""

    def __init__(
        self, pid: int, pidfd: int, child: subprocess.Popen[bytes] | None = None, ready_fd: int | None = None
    ) -> None:
        self.pid = pid
        self.ready_fd = ready_fd
        """Readable once the process says that it listens, or can never say so; None when that has been heard."""
        self._pidfd = pidfd
        self._child = child
        self.started_s = time.monotonic()

    @classmethod
    def start(cls, launch: Launch, netns: int, cgroups: Cgroups) -> FunctionProcess:
        """Start the process in the network namespace `netns`; LabError when that is impossible."""
        launch.log.parent.mkdir(parents=True, exist_ok=True)
        ready_fd, notify_fd = os.pipe2(os.O_CLOEXEC)
        late: list[Path] = []

        def enter() -> None:  # a child is born into the namespaces and groups of the thread that starts it
            setns(netns)
            late.extend(cgroups.enter(launch.group) if launch.group else ())
            if launch.secrets is not None or launch.hosts is not None or launch.read_only:
                unshare(CLONE_NEWNS)
            if launch.secrets is not None:
                mount_secrets(launch.secrets)
            if launch.hosts is not None:
                mount_hosts(launch.hosts)
            if launch.read_only:
                make_root_read_only()

        try:
            child = in_thread(enter, lambda: _spawn(launch, late, notify_fd))
        except OSError as error:
            os.close(ready_fd)
            raise LabError(f"instance {launch.instance_id} could not be started in {launch.folder}: {error}") from error
        except LabError:
            os.close(ready_fd)
            raise
        finally:
            os.close(notify_fd)
        return cls(child.pid, os.pidfd_open(child.pid), child, ready_fd)

    @classmethod
    def adopt(cls, pid_file: Path, instance_id: str) -> FunctionProcess | None:
        """The process of an earlier node agent, if it still runs and is this instance's."""
        try:
            pid = int(pid_file.read_text())
            pidfd = os.pidfd_open(pid)
        except (OSError, ValueError):
            return None
        process = cls(pid, pidfd)
        if process.ended() or not _belongs_to(pid, instance_id):  # the number has been given to somebody else
            process.close()
            return None
        return process

    def fileno(self) -> int:
        return self._pidfd

    def ended(self, timeout_s: float = 0.0) -> bool:
        """Whether the process has ended, or does so within the time."""
        poll = select.poll()
        poll.register(self._pidfd, select.POLLIN)
        return bool(poll.poll(timeout_s * 1000))

    def outcome(self) -> str:
        """How it ended, in words."""
        code = self._child.poll() if self._child else None
        if code is None:
            return "ended"
        return f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"

    def stop(self, grace_s: float) -> None:
        """SIGTERM, then SIGKILL after `grace_s`, to the whole group; returns when the process has ended."""
        self._signal(signal.SIGTERM)
        self.ended(grace_s)
        self._signal(signal.SIGKILL)  # also for what the function may have left in its group
        self.ended(5.0)

    def heard(self) -> None:
        """What was to be read from `ready_fd` has been."""
        if self.ready_fd is not None:
            os.close(self.ready_fd)
            self.ready_fd = None

    def close(self) -> None:
        """Forget an ended process."""
        self.heard()
        os.close(self._pidfd)
        if self._child:
            self._child.wait()

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):  # nobody of the group is left
            os.killpg(self.pid, number)


def _spawn(launch: Launch, late: list[Path], notify_fd: int) -> subprocess.Popen[bytes]:
    """The process: it writes its pid where that is wanted, then becomes the function."""
    environment = {
        "PATH": PROGRAM_PATH,
        "HOME": str(launch.folder),
        "LANG": "C.UTF-8",
        **launch.environment,
        INSTANCE_VARIABLE: launch.instance_id,
        READY_VARIABLE: str(notify_fd),
    }
    # Where the instance's own mounts are read-only, the agent's are written to.
    root = Path(f"/proc/{os.getpid()}/root" if launch.read_only else "/")
    log_file, *pid_files = (root / file.absolute().relative_to("/") for file in (launch.log, launch.pid_file, *late))
    with log_file.open("ab") as log:
        return subprocess.Popen(
            ("/bin/sh", "-c", _BECOME, "sh", *map(str, pid_files), "--", *launch.argv),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=launch.folder,
            env=environment,
            start_new_session=True,
            pass_fds=(notify_fd,),
        )


def _belongs_to(pid: int, instance_id: str) -> bool:
    deadline = time.monotonic() + _BECOMING_S
    while True:
        try:
            variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        except OSError:
            return False
        if any(variables) or time.monotonic() > deadline:
            return f"{INSTANCE_VARIABLE}={instance_id}".encode() in variables
        time.sleep(0.001)

"""One function process: started in its place, watched, adopted after a restart of the agent, ended.

Its first process (see `testbed.network.process.place`) writes its own number into a file before anything else, so that
there is no moment at which the node agent can die and leave a process that its successor does not find. Whether it is
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

from testbed.network.process import place
from testbed.network.process.cgroups import Cgroups
from testbed.network.process.place import Grounds, Place, Start, Status

INSTANCE_VARIABLE = "INSTANCE_ID"
READY_VARIABLE = "READY_FD"
"""Names the descriptor that a function server may write a line to once it listens: it is then probed at once."""


@dataclass(frozen=True)
class Launch:
    """What to run, and where. `environment` is the function's own; PATH, HOME, LANG and the above are added."""

    place: Place
    argv: tuple[str, ...]
    environment: Mapping[str, str]
    log: Path
    pid_file: Path

    @property
    def instance_id(self) -> str:
        return self.place.name


class FunctionProcess:
    """A place's first process; `fileno` becomes readable when it has ended, and everything in the place with it."""

    def __init__(
        self,
        pid: int,
        pidfd: int,
        status_file: Path,
        child: subprocess.Popen[bytes] | None = None,
        ready_fd: int | None = None,
    ) -> None:
        self.pid = pid
        self.ready_fd = ready_fd
        """Readable once the process says that it listens, or can never say so; None when that has been heard."""
        self._pidfd = pidfd
        self._status_file = status_file
        self._child = child
        self.started_s = time.monotonic()

    @classmethod
    def start(cls, launch: Launch, netns: int, grounds: Grounds, cgroups: Cgroups) -> FunctionProcess:
        """Start the process in the network namespace `netns`; LabError when that is impossible."""
        launch.log.parent.mkdir(parents=True, exist_ok=True)
        ready_fd, notify_fd = os.pipe2(os.O_CLOEXEC)
        status_file = status_file_of(launch.pid_file)
        own = {INSTANCE_VARIABLE: launch.instance_id, READY_VARIABLE: str(notify_fd)}
        what = Start(
            launch.argv, {**launch.environment, **own}, launch.log, launch.pid_file, status_file, fds=(notify_fd,)
        )
        try:
            child = place.start(launch.place, what, netns, grounds, cgroups)
        except BaseException:
            os.close(ready_fd)
            raise
        finally:
            os.close(notify_fd)
        return cls(child.pid, os.pidfd_open(child.pid), status_file, child, ready_fd)

    @classmethod
    def adopt(cls, pid_file: Path, instance_id: str) -> FunctionProcess | None:
        """The process of an earlier node agent, if it still runs and is this instance's."""
        try:
            pid = int(pid_file.read_text())
            pidfd = os.pidfd_open(pid)
        except (FileNotFoundError, ProcessLookupError, ValueError):
            return None
        process = cls(pid, pidfd, status_file_of(pid_file))
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

    def program_started_ns(self) -> int | None:
        """When the function's own program was started, in monotonic ns; None: not yet."""
        return Status.read(self._status_file).started_ns

    def outcome(self) -> str:
        """How it ended, in words."""
        if end := Status.read(self._status_file).end:
            return end
        code = self._child.poll() if self._child else None
        if code == place.PLACE_FAILED:
            return "could not be put in its place"
        return "was ended by SIGKILL"  # its first process hears of every other signal, and says how it ended

    def stop(self, grace_s: float) -> None:
        """SIGTERM to the program, then SIGKILL after `grace_s` to all in its place; returns when they have ended."""
        self._signal(signal.SIGTERM)
        self.ended(grace_s)
        self._signal(signal.SIGKILL)
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
        with contextlib.suppress(ProcessLookupError):  # it has ended
            signal.pidfd_send_signal(self._pidfd, number)


def status_file_of(pid_file: Path) -> Path:
    """Where the first process that writes this pid file says how its program ended."""
    return pid_file.with_name(f"{pid_file.name.removesuffix('.pid')}.status")


def remove_files(pid_file: Path) -> None:
    """Forget a process that is gone for good."""
    status_file_of(pid_file).unlink(missing_ok=True)
    pid_file.unlink(missing_ok=True)


def _belongs_to(pid: int, instance_id: str) -> bool:
    """Whether the process was started as this instance's: that stands in its environment, which nobody inside sees."""
    try:
        variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return False
    return f"{INSTANCE_VARIABLE}={instance_id}".encode() in variables

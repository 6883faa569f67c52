"""The runner's side of a lab: start it in namespaces of its own, find it again, run things in it, stop it.

A lab lives exactly as long as its runner. Its network, mount and PID namespaces hang on one process;
when the runner dies, by whatever signal, the kernel ends that process and all that it started.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from testbed.model.checkout import CHECKOUT
from testbed.model.credentials import BASIC_AUTH_FILES
from testbed.model.errors import EnvironmentProblem, LabError, UsageError
from testbed.network.config import LabConfig
from testbed.network.daemon_client import LabClient
from testbed.network.foreign import foreign_gateway
from testbed.network.loopback import listening_socket
from testbed.network.process import cgroups, clearing
from testbed.network.process.namespaces import setns, within
from testbed.network.switching import datapath as datapaths

STATE_ROOT = Path("/run/testbed")
DEFAULT_NAME = "lab"
START_TIMEOUT_S = 180.0
END_TIMEOUT_S = 30.0
NAME_PATTERN = re.compile(r"[a-z][a-z0-9-]{0,30}")
REQUIRED_PROGRAMS = {
    "ovs-vsctl": "openvswitch-switch",
    "ovs-vswitchd": "openvswitch-switch",
    "mnexec": "mininet",
    "ip": "iproute2",
    "tc": "iproute2",
    "unshare": "util-linux",
    "nsenter": "util-linux",
    "setpriv": "util-linux",
}


class Lab:
    """A running lab, started here or attached to."""

    def __init__(self, name: str, init_pid: int, gateway_port: int, datapath: str) -> None:
        self.name = name
        self.init_pid = init_pid
        self.gateway_port = gateway_port
        self.datapath = datapath
        self.state_folder = STATE_ROOT / name
        self.client = LabClient(self.state_folder / "lab.sock")
        self._holder: _Holder | None = None

    # finding and starting

    @classmethod
    def start(
        cls,
        name: str = DEFAULT_NAME,
        datapath: str | None = None,
        gateway_port: int = 0,
        nodes: int = 3,
        delay_ms: float = 0.0,
        gateway_environment: Mapping[str, str] | None = None,
        scaler: str = "on",
        scaler_preset: str = "lab",
    ) -> Lab:
        """Start a lab and wait until its cluster stands.

        `gateway_port` is the port of this machine's loopback that the gateway serves (0: any free one).
        `scaler` is on, dry-run or off; `scaler_preset` one of testbed.model.scaling.settings.PRESETS.
        Raises UsageError, EnvironmentProblem or LabError; nothing is left behind then.
        """
        chosen = check_startable(name, datapath)
        gateway_command = foreign_gateway()
        holder = _Holder.claim(name)
        try:
            with listening_socket(gateway_port) as listener:
                port = listener.getsockname()[1]
                config = LabConfig(
                    name,
                    holder.folder,
                    chosen,
                    nodes=tuple(range(1, nodes + 1)),
                    listen_fd=listener.fileno(),
                    gateway_environment=dict(gateway_environment or {}),
                    delay_ms=delay_ms,
                    scaler=scaler,
                    scaler_preset=scaler_preset,
                    gateway_command=tuple(gateway_command),
                    working_folder=str(Path.cwd()),
                )
                holder.launch(config, listener.fileno())
            lab = cls(name, holder.init_pid, port, chosen)
            lab._holder = holder
            (holder.folder / "lab.json").write_text(
                json.dumps(
                    {"init_pid": holder.init_pid, "gateway_port": port, "datapath": chosen, "runner": os.getpid()}
                )
            )
            lab._await_cluster()
        except BaseException:
            holder.release()
            raise
        return lab

    @classmethod
    def attach(cls, name: str = DEFAULT_NAME) -> Lab:
        """The running lab of this name. LabError when there is none."""
        check_name(name)
        sweep()
        try:
            facts = json.loads((STATE_ROOT / name / "lab.json").read_text())
        except FileNotFoundError:
            running = ", ".join(running_labs()) or "none"
            raise LabError(f"no lab named {name!r} is running (running: {running}); `testbed up` starts one") from None
        except PermissionError:
            raise EnvironmentProblem(f"lab {name!r} belongs to root; use sudo") from None
        return cls(name, facts["init_pid"], facts["gateway_port"], facts["datapath"])

    def _await_cluster(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline:
            if self._holder and self._holder.ended():
                raise LabError(f"lab {self.name!r} ended while starting:\n{self.log_tail()}")
            status = self._starting_status()
            if status["phase"] == "ready":
                return
            if status["phase"] == "failed":
                raise LabError(f"lab {self.name!r} could not start: {status['reason']}")
            time.sleep(0.02)
        raise LabError(f"lab {self.name!r} was not ready after {START_TIMEOUT_S:.0f} s; its log:\n{self.log_tail()}")

    def _starting_status(self) -> dict[str, Any]:
        """The daemon's status; "starting" as well while it is not there yet, or no more."""
        if not self.client.socket_path.exists():
            return {"phase": "starting"}
        try:
            return self.client.status()
        except LabError:
            return {"phase": "starting"}

    def log_tail(self, lines: int = 15) -> str:
        """The end of the daemon's log."""
        log = self.state_folder / "logs" / "lab.log"
        return "\n".join(log.read_text(errors="replace").splitlines()[-lines:]) if log.exists() else "(no log)"

    # using

    @property
    def gateway_url(self) -> str:
        """The gateway, as this machine's own programs reach it."""
        return f"http://127.0.0.1:{self.gateway_port}"

    @property
    def credentials(self) -> tuple[str, str]:
        """User and password of the gateway's /system routes."""
        user, password = ((self.state_folder / "secrets" / name).read_text() for name in BASIC_AUTH_FILES)
        return user, password

    def enter(self) -> None:
        """Move the calling thread into the lab's network: the control plane's addresses then just work."""
        fd = self.client.netns("root")
        try:
            setns(fd)
        finally:
            os.close(fd)

    @contextmanager
    def inside(self) -> Iterator[None]:
        """Like `enter` for the block, and back: what follows belongs to this machine's own network."""
        fd = self.client.netns("root")
        try:
            with within(fd):
                yield
        finally:
            os.close(fd)

    def command(self, host: str, argv: Sequence[str]) -> list[str]:
        """`argv`, prefixed so that it runs inside the lab, in the network namespace of `host`.

        "root" is the lab's own namespace. The process belongs to the lab and dies with it.
        """
        namespaces = ("--mount", "--pid", "--net", "--root")
        enter_lab = ["nsenter", f"--target={self.init_pid}", *namespaces, f"--wd={Path.cwd()}"]
        if host == "root":
            return [*enter_lab, *argv]
        return [*enter_lab, "nsenter", f"--net=/proc/{self.client.pid(host)}/ns/net", *argv]

    def popen(self, host: str, argv: Sequence[str], **options: Any) -> subprocess.Popen[Any]:
        """Start a program in a host; `options` go to subprocess.Popen."""
        return subprocess.Popen(self.command(host, argv), **options)

    def stop(self) -> None:
        """End the lab and everything in it. Safe to call twice for who started it. LabError when it does not end."""
        if self._holder:
            self._holder.release()
            self._holder = None
            return
        runner = json.loads((self.state_folder / "lab.json").read_text())["runner"]
        try:
            os.kill(runner, signal.SIGTERM)
        except PermissionError:
            raise EnvironmentProblem(f"lab {self.name!r} belongs to root; use sudo") from None
        except ProcessLookupError:
            pass  # it has just ended, and its janitor is at work
        if not _wait_until(lambda: not self.state_folder.exists(), END_TIMEOUT_S):
            raise LabError(f"lab {self.name!r} has not ended after {END_TIMEOUT_S:.0f} s; end process {runner} by hand")

    def wait(self) -> None:
        """Block until the lab ends."""
        if self._holder:
            self._holder.wait()

    def __enter__(self) -> Lab:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


class _Holder:
    """Owns a lab's state folder and the process that its namespaces hang on."""

    def __init__(self, folder: Path, lock_fd: int) -> None:
        self.folder = folder
        self._lock_fd = lock_fd
        self._process: subprocess.Popen[bytes] | None = None
        self._janitor: subprocess.Popen[bytes] | None = None
        self.init_pid = 0

    @classmethod
    def claim(cls, name: str) -> _Holder:
        """Take the name; LabError when a live lab has it."""
        STATE_ROOT.mkdir(mode=0o755, exist_ok=True)
        folder = STATE_ROOT / name
        with _registry_lock():
            _remove_dead()
            try:
                folder.mkdir(mode=0o700)  # sockets, secrets, databases: nobody else's business
            except FileExistsError:
                raise _taken(name) from None
            lock_fd = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
            fcntl.flock(lock_fd, fcntl.LOCK_EX)
        for part in ("logs", "functions", "images"):
            (folder / part).mkdir()
        return cls(folder, lock_fd)

    def launch(self, config: LabConfig, listen_fd: int) -> None:
        """Start the daemon in new namespaces; it dies with this process, whatever ends it."""
        self._janitor = self._start_janitor()
        config_path = self.folder / "config.json"
        config.save(config_path)
        with (self.folder / "logs" / "lab.log").open("wb") as log:
            self._process = subprocess.Popen(
                [
                    "setpriv", "--pdeathsig", "KILL",
                    "unshare", "--net", "--mount", "--pid", "--fork", "--kill-child=SIGKILL", "--mount-proc",
                    sys.executable, "-m", "testbed.network.daemon", str(config_path),
                ],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, pass_fds=[listen_fd], start_new_session=True,
                env={
                    **os.environ,
                    "PYTHONPATH": str(CHECKOUT),
                    "PYTHONUNBUFFERED": "1",
                    "TESTBED_STATE": str(self.folder),
                },
            )  # fmt: skip
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
        if not _wait_until(lambda: self.ended() or bool(children.read_text().split()), 10) or self.ended():
            raise LabError("the lab's namespaces could not be made; this machine refuses unshare (try --lab-kernel)")
        self.init_pid = int(children.read_text().split()[0])
        assert self._janitor.stdin is not None
        self._janitor.stdin.write(str(self.init_pid).encode())

    def _start_janitor(self) -> subprocess.Popen[bytes]:
        """Before there is anything to clear away but the folder. Its input ends when this process does."""
        return subprocess.Popen(
            [sys.executable, "-I", "-S", str(Path(__file__).with_name("janitor.py")), str(self.folder)],
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            start_new_session=True, cwd="/", bufsize=0,
        )  # fmt: skip

    def ended(self) -> bool:
        return self._process is None or self._process.poll() is not None

    def wait(self) -> None:
        if self._process:
            self._process.wait()

    def release(self) -> None:
        """End the lab's processes, then clear its folder."""
        if self._process and self._process.poll() is None:
            self._process.kill()
        self.wait()
        _wait_until(lambda: not Path(f"/proc/{self.init_pid}").exists(), 15)
        cgroups.Cgroups.of_lab(self.folder.name).remove_all()
        clearing.remove(self.folder)
        if self._janitor:
            self._janitor.communicate()
        if self._lock_fd >= 0:
            os.close(self._lock_fd)
            self._lock_fd = -1


def running_labs() -> list[str]:
    """Names of the labs that run on this machine."""
    if not STATE_ROOT.exists():
        return []
    return sorted(folder.name for folder in STATE_ROOT.iterdir() if folder.is_dir() and _is_live(folder))


def sweep() -> None:
    """Clear away what dead runners left: their state folders (their processes are gone already)."""
    if STATE_ROOT.exists() and os.access(STATE_ROOT, os.W_OK):
        with _registry_lock():
            _remove_dead()


def check_machine() -> None:
    """EnvironmentProblem unless this process may start a lab here."""
    if os.geteuid() != 0:
        raise EnvironmentProblem("a lab needs root: use sudo, or --lab-kernel, which runs a batch verb without root")
    missing = {package for program, package in REQUIRED_PROGRAMS.items() if shutil.which(program) is None}
    if missing:
        raise EnvironmentProblem(f"packages are missing: {', '.join(sorted(missing))}; run `make setup`")


def check_startable(name: str, datapath: str | None) -> str:
    """The datapath that a lab of this name would use; UsageError, EnvironmentProblem or LabError if it cannot start."""
    check_machine()
    check_name(name)
    if name in running_labs():
        raise _taken(name)
    return datapaths.choose(datapath)


def _taken(name: str) -> LabError:
    return LabError(f"a lab named {name!r} is running already; use it, end it by `testbed down`, or choose a --name")


def check_name(name: str) -> None:
    if not NAME_PATTERN.fullmatch(name):
        raise UsageError(f"lab name {name!r} is not lower-case letters, digits and dashes (at most 31)")


@contextmanager
def _registry_lock() -> Iterator[None]:
    """Keeps a sweep from taking a folder that its owner has made and not locked yet."""
    fd = os.open(STATE_ROOT, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def _remove_dead() -> None:
    for folder in STATE_ROOT.iterdir():
        if folder.is_dir() and not _is_live(folder):
            clearing.remove(folder)
    cgroups.remove_dead(set(running_labs()))


def _is_live(folder: Path) -> bool:
    try:
        fd = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    except PermissionError:
        return True  # root's; whoever may not look into it clears nothing away either
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def _wait_until(condition: Callable[[], bool], timeout_s: float) -> bool:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.005)
    return False

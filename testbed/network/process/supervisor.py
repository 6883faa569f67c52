"""Keeps the lab's processes running: starts them, restarts what ends, remembers how often.

It knows nothing of what they do. Everything it starts dies with the lab's PID namespace.
"""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from testbed.model.errors import LabError, UsageError
from testbed.network.process import place
from testbed.network.process.cgroups import Cgroups
from testbed.network.process.namespaces import open_netns
from testbed.network.process.place import Grounds, Place, Start

FIRST_PAUSE_S = 0.05
LONGEST_PAUSE_S = 5.0
HEALTHY_AFTER_S = 10.0
"""A process that ran this long starts again at once when it ends."""


@dataclass(frozen=True)
class ProcessSpec:
    """A process to keep running. `fds` stay open in it; `group` is its cgroup among the lab's ("": components/NAME).

    With a `place` it is kept there, in the network namespace of process `host_pid`, and has no other environment than
    its own; without, it runs with the lab's rights.
    """

    name: str
    argv: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    fds: tuple[int, ...] = ()
    group: str = ""
    place: Place | None = None
    host_pid: int = 0

    @property
    def own_group(self) -> str:
        return self.group or f"components/{self.name}"


class Supervised:
    """One process that is kept running by a thread of its own."""

    def __init__(self, spec: ProcessSpec, logs: Path, folder: Path, cgroups: Cgroups) -> None:
        self.spec = spec
        self._cgroups = cgroups
        self.restarts = 0
        self.process: subprocess.Popen[bytes] | None = None
        self._log = logs / f"{spec.name}.out"
        self._folder = folder
        self._wake = threading.Event()
        self._away_until_s = 0.0
        self._started = threading.Event()
        threading.Thread(target=self._keep, name=f"keep-{spec.name}", daemon=True).start()
        self._started.wait()

    def restart(self, environment: Mapping[str, str]) -> None:
        """End the process and start it again with these additions to its environment."""
        merged = {**self.spec.environment, **environment}
        self.spec = replace(self.spec, environment=merged)
        before = self.process
        self._away_until_s = 0.0
        self._wake.set()
        _end(before)
        while self.process is before:
            time.sleep(0.005)

    def keep_away(self, seconds: float) -> None:
        """End the process and start it again so many seconds from now, or when it is restarted before."""
        self._away_until_s = time.monotonic() + seconds
        _end(self.process)

    def describe(self) -> dict[str, Any]:
        process = self.process
        running = process is not None and process.poll() is None
        return {"pid": self._program_pid(process) if process and running else None, "restarts": self.restarts}

    def _program_pid(self, process: subprocess.Popen[bytes]) -> int | None:
        """The number of the program itself, which in a place is the child of the place's first process."""
        if self.spec.place is None:
            return process.pid
        try:
            children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        except OSError:  # it has just ended
            return None
        return int(children[0]) if children else None

    def _keep(self) -> None:
        pause_s = FIRST_PAUSE_S
        while True:
            started = time.monotonic()
            try:
                self.process = self._start_in_place(self.spec.place) if self.spec.place else self._start()
            except (OSError, LabError) as error:  # no memory, no room for its log: later there may be
                print(f"{self.spec.name} could not be started: {error}", flush=True)
            self._started.set()
            if self.process is not None:
                self.process.wait()
            self.restarts += 1
            lived_s = time.monotonic() - started
            pause_s = FIRST_PAUSE_S if lived_s > HEALTHY_AFTER_S else min(pause_s * 2, LONGEST_PAUSE_S)
            self._wake.wait(max(pause_s, self._away_until_s - time.monotonic()))
            self._wake.clear()

    def _start(self) -> subprocess.Popen[bytes]:
        return self._cgroups.spawn(self.spec.own_group, self._spawn)

    def _start_in_place(self, where: Place) -> subprocess.Popen[bytes]:
        self._cgroups.make(self.spec.own_group)
        files = self._folder / "agents" / "components"
        files.mkdir(parents=True, exist_ok=True)
        what = Start(
            self.spec.argv,
            self.spec.environment,
            self._log,
            pid_file=files / f"{self.spec.name}.pid",
            status_file=files / f"{self.spec.name}.status",
            fds=self.spec.fds,
        )
        netns = open_netns(self.spec.host_pid)
        try:
            return place.start(
                replace(where, group=self.spec.own_group), what, netns, Grounds.of_lab(self._folder), self._cgroups
            )
        finally:
            os.close(netns)

    def _spawn(self) -> subprocess.Popen[bytes]:
        with self._log.open("ab") as log:
            return subprocess.Popen(
                self.spec.argv,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **self.spec.environment},
                pass_fds=self.spec.fds,
                cwd=self._folder,
                start_new_session=True,
            )


def _end(process: subprocess.Popen[bytes] | None) -> None:
    if process is not None and process.poll() is None:
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()


class Supervisor:
    """The lab's processes by name."""

    def __init__(self, logs: Path, folder: Path, cgroups: Cgroups) -> None:
        self._logs = logs
        self._cgroups = cgroups
        self._folder = folder
        self._processes: dict[str, Supervised] = {}

    def start(self, spec: ProcessSpec) -> Supervised:
        process = Supervised(spec, self._logs, self._folder, self._cgroups)
        self._processes[spec.name] = process
        return process

    def restart(self, name: str, environment: Mapping[str, str]) -> None:
        self.named(name).restart(environment)

    def keep_away(self, name: str, seconds: float) -> None:
        self.named(name).keep_away(seconds)

    def named(self, name: str) -> Supervised:
        if name not in self._processes:
            raise UsageError(f"the lab has no component {name!r}; it has {', '.join(sorted(self._processes))}")
        return self._processes[name]

    def describe(self) -> dict[str, dict[str, Any]]:
        return {name: process.describe() for name, process in self._processes.items()}

"""A node agent that a test commands: lab, control plane and probes are the test's, its processes are real."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from testbed.model.cluster import ClusterState, Deployment, Function, Instance, Phase, Route
from testbed.model.errors import LabError
from testbed.network.process.cgroups import Cgroups
from testbed.network.process.place import Grounds, Place, Start
from testbed.platform.agent.control_plane import Away
from testbed.platform.agent.process import Agent

FIRST_PROCESS = Path(__file__).with_name("first_process.py")


def start_outside(
    place: Place, what: Start, netns: int | None, grounds: Grounds, cgroups: Cgroups
) -> subprocess.Popen[bytes]:
    """In the stead of `testbed.network.process.place.start`, which takes root: the program, kept in no place."""
    line = (sys.executable, "-S", FIRST_PROCESS, what.status_file, ",".join(map(str, what.fds)), *what.argv)
    with what.output.open("ab") as output:
        child = subprocess.Popen(
            line,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=place.program,
            env={"PATH": os.environ["PATH"], **what.environment},
            start_new_session=True,
            pass_fds=what.fds,
        )
    what.pid_file.write_text(str(child.pid))
    return child


class World:
    """Lab and control plane in one, with a diary of what the agent asked of them."""

    def __init__(self) -> None:
        self.diary: list[str] = []
        self.sandboxes: dict[str, dict[str, Any]] = {}
        self.ready = True
        self.probes = 0
        self.failing_probes = 0
        self.away = False
        self.connections = 0
        self.broken = 0
        self.timings: list[dict[str, int]] = []
        self.reasons: list[str] = []
        self.oom = 0
        self.groups: list[str] = []
        self.places: list[Place] = []

    # the lab's client

    def add_host(self, name: str, node: int, eip: str) -> None:
        if self.broken:
            self.broken -= 1
            raise LabError("the lab is still starting")
        self.diary.append(f"add {name} node{node} {eip}")
        self.sandboxes[name] = {"node": node, "eip": eip, "pid": 1}

    def delete_host(self, name: str) -> None:
        self.diary.append(f"delete host {name}")
        del self.sandboxes[name]

    def has_host(self, name: str) -> bool:
        return name in self.sandboxes

    def netns(self, name: str) -> int:
        return os.open("/proc/self/ns/net", os.O_RDONLY)

    # the control plane

    def report(self, instance_id: str, phase: Phase, timings: Mapping[str, int], reason: str) -> None:
        if self.away:
            raise Away("the apiserver does not answer")
        self.diary.append(f"{instance_id} {phase.value}")
        self.timings.append(dict(timings))
        self.reasons.append(reason)

    def secrets(self, instance_id: str) -> dict[str, bytes]:
        return {"key": b"value"}

    def delete(self, instance_id: str) -> None:
        if self.away:
            raise Away("the apiserver does not answer")
        self.diary.append(f"delete {instance_id}")

    def await_applied(self, version: int, timeout_s: float) -> bool:
        self.diary.append(f"applied {version}")
        return True

    # the lab's cgroups

    def make(self, path: str, memory_bytes: int | None = None, cpu_cores: float | None = None) -> None:
        self.groups.append(f"{path} {memory_bytes} {cpu_cores}")

    def enter(self, path: str) -> tuple[Path, ...]:
        return ()

    def oom_kills(self, path: str) -> int:
        return self.oom

    def remove(self, path: str) -> None:
        self.groups.append(f"remove {path}")

    # probes

    def is_ready(self, netns: int, timeout_s: float) -> bool:
        ready = self.ready and not self.failing_probes
        self.failing_probes = max(0, self.failing_probes - 1)
        self.probes += 1
        return ready

    def unfinished_connections(self, netns: int) -> int:
        self.diary.append(f"connections {self.connections}")
        self.connections = max(0, self.connections - 1)
        return self.connections


def until(condition: Callable[[], Any], what: str) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.005)


class Bench:
    """An agent of node 2 that is told events by the test."""

    def __init__(self, folder: Path, world: World) -> None:
        self.folder, self.world = folder, world
        self.state = ClusterState(
            10,
            (1, 2, 3),
            {"t": Deployment("t", Route.DIRECT)},
            {"one.t": Function("t", "one", 256, "10.96.1.0", "i", 1, environment={"A": "b"})},
        )
        self.agents: list[Agent] = []
        self.new_agent()

    def new_agent(self) -> Agent:
        """An agent that finds on disk what the last one left."""
        parts: Any = self.world
        agent = Agent(2, "lab", parts, parts, self.folder / "images", self.folder / "logs", self.folder / "pids", parts)
        self.agents.append(agent)
        return agent

    def instance(self, serial: int = 1, phase: Phase = Phase.PENDING, node: int = 2) -> Instance:
        return Instance(f"one.t.{serial}", "t", "one", node, f"10.20{node}.0.{serial}", phase)

    def tell(self, *instances: Instance) -> None:
        """The newest agent gets a snapshot with these instances."""
        self.state = replace(self.state, version=self.state.version + 1, instances={one.id: one for one in instances})
        self.agents[-1].handle({"type": "SNAPSHOT", "version": self.state.version, "object": self.state.to_json()})

    def pid(self, instance_id: str = "one.t.1") -> int:
        file = self.folder / "pids" / f"{instance_id}.pid"
        found: list[str] = []

        def written() -> bool:  # a process that is started again empties the file before it writes
            found[:] = file.read_text().split() if file.is_file() else []
            return bool(found)

        until(written, "the process has a pid file")
        return int(found[0])

    def log(self) -> str:
        """What the first instance has written."""
        file = self.folder / "logs" / "one.t.1.log"
        return file.read_text() if file.exists() else ""

    def await_diary(self, *entries: str) -> None:
        until(lambda: set(entries) <= set(self.world.diary), f"{entries} in {self.world.diary}")

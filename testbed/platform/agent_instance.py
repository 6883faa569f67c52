"""The life of one instance on its node, in a thread of its own: sandbox, process, readiness, drain, removal.

It decides nothing about which instances there should be: the node agent starts a keeper for each
instance of its node and passes on what the apiserver says about it.
"""

from __future__ import annotations

import logging
import os
import select
import shlex
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from testbed.addressing import FUNCTION_PORT
from testbed.errors import LabError, TestbedError
from testbed.model import ClusterState, Instance, Phase
from testbed.platform import images, rewrite
from testbed.platform.agent_control import Away, ControlPlane
from testbed.platform.agent_probe import established_connections, is_ready
from testbed.platform.agent_process import FunctionProcess, Launch

log = logging.getLogger("agent")

PROBE_INTERVAL_S = 2.0
PROBE_TIMEOUT_S = 1.0
"""As OpenFaaS sets them. Each probe costs an instance about a millisecond, which a measurement would notice if it
came more often; a process that ends is seen at once, without a probe."""
FIRST_POLL_S, LAST_POLL_S = 0.01, 0.2
FIRST_BACK_OFF_S, LONGEST_BACK_OFF_S = 0.5, 30.0
HEALTHY_AFTER_S = 60.0
RETRY_S = 0.5
APPLIED_TIMEOUT_S = 2.0
CONNECTIONS_TIMEOUT_S = 10.0
TERMINATE_GRACE_S = 2.0


class Sandboxes(Protocol):
    """The part of the lab's client that an agent needs."""

    def add_host(self, name: str, node: int, eip: str) -> None: ...
    def delete_host(self, name: str) -> None: ...
    def hosts(self) -> dict[str, dict[str, Any]]: ...
    def netns(self, name: str) -> int: ...


@dataclass(frozen=True)
class NodeServices:
    """What all keepers of a node share. `state` gives the cluster as the agent knows it now."""

    lab: Sandboxes
    control: ControlPlane
    state: Callable[[], ClusterState]
    images: Path
    logs: Path
    pids: Path

    def pid_file(self, instance_id: str) -> Path:
        return self.pids / f"{instance_id}.pid"


class InstanceKeeper(threading.Thread):
    """Brings one instance up, keeps it up, and takes it away when it drains or is no longer known."""

    def __init__(self, instance: Instance, version: int, services: NodeServices, done: Callable[[str], None]) -> None:
        super().__init__(name=instance.id, daemon=True)
        self._services = services
        self._done = done
        self._instance = instance
        self._known = True
        self._draining_since = version if instance.phase is Phase.DRAINING else None
        self._unreported: Phase | None = None
        self._report_after_s = 0.0
        self._reported = instance.phase
        self._back_off_s = 0.0
        self._netns: int | None = None
        self._process: FunctionProcess | None = None
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self.waits_for_callee = False

    # Said by the agent's thread

    def update(self, instance: Instance, version: int) -> None:
        """The apiserver says this of the instance, as of `version`."""
        if instance.phase is Phase.DRAINING:
            if self._draining_since is None:
                self._draining_since = version
                self.wake()
        elif instance.phase is not self._reported:  # it may have missed a report
            self._unreported = self._reported
            self.wake()

    def forget(self) -> None:
        """The apiserver does not know the instance any more."""
        self._known = False
        self.wake()

    def wake(self) -> None:
        os.eventfd_write(self._wake, 1)

    # The thread

    def run(self) -> None:
        while not self._leaving():
            try:
                self._ensure_sandbox()
                self._run_process()
            except rewrite.CalleeMissing as error:
                log.info("%s waits: %s", self.name, error)
                self.waits_for_callee = True
                self._pause(LONGEST_BACK_OFF_S)
                self.waits_for_callee = False
            except (TestbedError, OSError) as error:
                log.warning("%s: %s", self.name, error)
                self._report(Phase.NOT_READY)
                self._pause(self._next_back_off())
        self._leave()
        self._done(self.name)  # from here on nobody wakes it
        os.close(self._wake)

    def _leaving(self) -> bool:
        return self._draining_since is not None or not self._known

    def _ensure_sandbox(self) -> None:
        """The sandbox, made or, after a restart of the agent, found."""
        if self._netns is not None:
            return
        # The file is there before the sandbox is, so that a later agent finds what this one left.
        self._services.pid_file(self.name).touch()
        if self.name not in self._services.lab.hosts():
            self._services.lab.add_host(self.name, self._instance.node, self._instance.eip)
        self._netns = self._services.lab.netns(self.name)

    def _run_process(self) -> None:
        """Adopt or start the process and see to it until it ends or the instance leaves."""
        pid_file = self._services.pid_file(self.name)
        process = FunctionProcess.adopt(pid_file, self.name)
        if process is None:
            assert self._netns is not None
            process = FunctionProcess.start(self._launch(pid_file), self._netns)
            log.info("%s runs as process %d", self.name, process.pid)
        else:
            log.info("%s is adopted as process %d", self.name, process.pid)
        self._process = process
        self._supervise(process)
        if process.ended():
            log.warning("%s %s", self.name, process.outcome())
            if not self._leaving():
                self._report(Phase.NOT_READY)
            process.stop(0.0)
            process.close()
            self._process = None
            if time.monotonic() - process.started_s > HEALTHY_AFTER_S:
                self._back_off_s = 0.0
            if not self._leaving():
                self._pause(self._next_back_off())

    def _supervise(self, process: FunctionProcess) -> None:
        """Probe, at first often, until the process ends or the instance leaves."""
        assert self._netns is not None
        was_ready = False
        while not self._leaving() and not process.ended():
            ready = is_ready(self._netns, PROBE_TIMEOUT_S)
            if process.ended() or self._leaving():
                return
            if ready:
                self._report(Phase.READY)
            elif was_ready or self._reported is Phase.READY:
                log.warning("%s does not answer its readiness probe", self.name)
                self._report(Phase.NOT_READY)
            was_ready = ready
            age_s = time.monotonic() - process.started_s
            interval_s = PROBE_INTERVAL_S if ready else min(max(FIRST_POLL_S, (age_s - 0.5) / 20), LAST_POLL_S)
            self._sleep(interval_s, process)

    def _launch(self, pid_file: Path) -> Launch:
        """How the instance is started; raises CalleeMissing while a callee is not deployed."""
        instance, state = self._instance, self._services.state()
        function = state.functions.get(instance.function_name)
        if function is None:
            raise LabError(f"function {instance.function_name} is not known; instance {instance.id} cannot start")
        folder = (self._services.images / images.folder_name(function.image)).resolve()
        fprocess = function.environment.get("fprocess") or images.read_template(folder).fprocess
        vips = {one.name: one.vip for one in state.functions.values() if one.namespace == instance.namespace}
        values = rewrite.environment(function.environment, instance.namespace, state.route(instance.namespace), vips)
        environment = {
            "mode": "http",
            **values,
            "fprocess": fprocess,
            "port": str(FUNCTION_PORT),
            "FUNCTION_NAME": instance.function,
            "FUNCTION_NAMESPACE": instance.namespace,
        }
        log_file = self._services.logs / f"{instance.id}.log"
        return Launch(instance.id, tuple(shlex.split(fprocess)), folder, environment, log_file, pid_file)

    # Leaving

    def _leave(self) -> None:
        """Drain, end the process, take the sandbox away, and say so until it has been heard."""
        if self._process is None:  # an earlier agent's process, when this one never came to adopt it
            self._process = FunctionProcess.adopt(self._services.pid_file(self.name), self.name)
        if self._process is not None:
            if self._draining_since is not None and self._known:
                self._insist(self._ensure_sandbox)
                self._drain(self._draining_since)
            self._process.stop(TERMINATE_GRACE_S)
            self._process.close()
        self._insist(self._remove_sandbox)
        self._services.pid_file(self.name).unlink(missing_ok=True)
        if self._known:
            self._insist(lambda: self._services.control.delete(self.name))
        log.info("%s is gone", self.name)

    def _drain(self, version: int) -> None:
        """Out of every group first; then wait for the connections there are."""
        if not self._services.control.await_applied(version, APPLIED_TIMEOUT_S):
            log.warning("%s: the controller did not confirm version %d in time", self.name, version)
        deadline = time.monotonic() + CONNECTIONS_TIMEOUT_S
        while self._netns is not None and established_connections(self._netns):
            if time.monotonic() > deadline:
                log.info("%s still has connections after %.0f s; it is stopped", self.name, CONNECTIONS_TIMEOUT_S)
                return
            time.sleep(0.02)

    def _remove_sandbox(self) -> None:
        if self._netns is not None:
            os.close(self._netns)
            self._netns = None
        if self.name in self._services.lab.hosts():
            self._services.lab.delete_host(self.name)

    def _insist(self, action: Callable[[], None]) -> None:
        while True:
            try:
                action()
                return
            except TestbedError as error:
                log.warning("%s: %s", self.name, error)
                time.sleep(RETRY_S)

    # Reports and pauses

    def _report(self, phase: Phase) -> None:
        """Tell the apiserver a new phase; when it is away, once it is back."""
        if phase is not self._reported:
            self._reported = phase
            self._unreported = phase
            self._report_after_s = 0.0
        self._report_again()

    def _report_again(self) -> None:
        phase = self._unreported
        if phase is None or time.monotonic() < self._report_after_s:
            return
        self._unreported = None
        try:
            self._services.control.report(self.name, phase)
        except Away as error:
            log.info("%s: %s", self.name, error)
            self._unreported = phase
            self._report_after_s = time.monotonic() + RETRY_S

    def _next_back_off(self) -> float:
        self._back_off_s = min(max(FIRST_BACK_OFF_S, self._back_off_s * 2), LONGEST_BACK_OFF_S)
        return self._back_off_s

    def _pause(self, seconds: float) -> None:
        """Wait that long, or until the instance leaves or its callees may be there; reports that are due go out."""
        deadline = time.monotonic() + seconds
        while not self._leaving():
            remaining_s = deadline - time.monotonic()
            if remaining_s <= 0:
                return
            woken = self._sleep(min(remaining_s, RETRY_S) if self._unreported else remaining_s)
            if woken and self.waits_for_callee:
                return

    def _sleep(self, seconds: float, process: FunctionProcess | None = None) -> bool:
        """Sleep until the time is over, the agent has something to say, or the process ends; True when woken."""
        poll = select.poll()
        poll.register(self._wake, select.POLLIN)
        if process is not None:
            poll.register(process, select.POLLIN)
        woken = any(fd == self._wake for fd, _ in poll.poll(seconds * 1000))
        if woken:
            os.eventfd_read(self._wake)
        self._report_again()
        return woken

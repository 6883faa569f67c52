"""The life of one instance on its node, in a thread of its own: sandbox, process, readiness, drain, removal.

It decides nothing about which instances there should be: the node agent starts a keeper for each
instance of its node and passes on what the apiserver says about it.
"""

from __future__ import annotations

import logging
import os
import select
import threading
import time
from collections.abc import Callable

from testbed.model import datastores, rewrite
from testbed.model.cluster import Instance, Phase
from testbed.model.errors import TestbedError
from testbed.platform.agent import stores
from testbed.platform.agent.control_plane import Away
from testbed.platform.agent.function_process import FunctionProcess, remove_files
from testbed.platform.agent.launch import NodeServices, group_of, launch_of, note
from testbed.platform.agent.probe import greets, is_ready, unfinished_connections

log = logging.getLogger("agent")

PROBE_INTERVAL_S = 2.0
PROBE_TIMEOUT_S = 1.0
FAILURE_THRESHOLD = 3
"""As OpenFaaS sets them: so many failed probes in a row make an instance not ready. Each probe costs an instance about
a millisecond, which a measurement would notice if it came more often; a process that ends is seen without a probe."""
FIRST_POLL_S, LAST_POLL_S = 0.01, 0.2
FIRST_BACK_OFF_S, LONGEST_BACK_OFF_S = 0.5, 30.0
HEALTHY_AFTER_S = 60.0
RETRY_S = 0.5
APPLIED_TIMEOUT_S = 2.0
CONNECTIONS_TIMEOUT_S = 10.0
STALE_FLOWS_S = 1.0
"""Up to about so long after its switch has confirmed the rows, OVS may still send new connections by a datapath
flow that it has not revalidated; and a packet may be on its way over a trunk."""
DRAIN_POLL_S = 0.02
TERMINATE_GRACE_S = 2.0


class InstanceKeeper(threading.Thread):
    """Brings one instance up, keeps it up, and takes it away when it drains or is no longer known."""

    def __init__(self, instance: Instance, version: int, services: NodeServices, done: Callable[[str], None]) -> None:
        super().__init__(name=instance.id, daemon=True)
        self._services = services
        self._done = done
        self._instance = instance
        self._known = True
        self._begins_anew = False
        self._draining_since = version if instance.phase is Phase.DRAINING else None
        self._unreported: Phase | None = None
        self._report_after_s = 0.0
        self._reported = instance.phase
        self._reason = ""
        self._back_off_s = 0.0
        self._timings = {"noticed_ns": time.monotonic_ns()}
        """When each step of the first start ended, in monotonic ns."""
        self._timings_told = False
        self._netns: int | None = None
        self._process: FunctionProcess | None = None
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self.waits_for_callee = False

    # Said by the agent's thread

    def update(self, instance: Instance, version: int) -> None:
        """The apiserver says this of the instance, as of `version`."""
        if instance.revision != self._instance.revision:  # a store's; another instance takes a function's place
            self._instance = instance
            self._begins_anew = True
            self.wake()
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
                self._pause(LONGEST_BACK_OFF_S)
            except (TestbedError, OSError) as error:
                log.warning("%s: %s", self.name, error)
                self._report(Phase.NOT_READY, str(error))
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
        pid_file = self._services.pid_file(self.name)
        tried_before = pid_file.exists()
        pid_file.touch()
        if not (tried_before and self._services.lab.has_host(self.name)):
            self._services.lab.add_host(self.name, self._instance.node, self._instance.eip)
        self._netns = self._services.lab.netns(self.name)
        self._timings.setdefault("sandbox_ns", time.monotonic_ns())

    def _run_process(self) -> None:
        """Adopt or start the process and see to it until it ends or the instance leaves."""
        pid_file = self._services.pid_file(self.name)
        process = FunctionProcess.adopt(pid_file, self.name)
        if process is None:
            process = self._start_process()
        else:
            log.info("%s is adopted as process %d", self.name, process.pid)
            self._timings_told = True  # by an earlier agent
        self._process = process
        oom_kills = self._oom_kills()
        self._supervise(process)
        if process.ended():
            self._bury(process, oom_kills)
        elif not self._leaving():
            process.stop(TERMINATE_GRACE_S)
            process.close()
            self._process = None

    def _start_process(self) -> FunctionProcess:
        assert self._netns is not None
        self._begins_anew = False
        self.waits_for_callee = True  # before the look at what there is: whatever comes after it wakes this thread
        launch = launch_of(self._instance, self._services)
        self.waits_for_callee = False
        self._timings.setdefault("launch_ns", time.monotonic_ns())
        process = FunctionProcess.start(launch, self._netns, self._services.grounds, self._services.cgroups)
        log.info("%s runs as process %d", self.name, process.pid)
        return process

    def _bury(self, process: FunctionProcess, oom_kills: int) -> None:
        """A process has ended that should not have: say so, and wait longer each time before the next."""
        outcome = process.outcome()
        if self._oom_kills() > oom_kills:
            outcome = "was killed by the kernel: it used more memory than its limit allows (OOMKilled)"
        log.warning("%s %s", self.name, outcome)
        note(self._services.log_file(self.name), f"instance {self.name} {outcome}")
        process.stop(0.0)
        process.close()
        self._process = None
        if time.monotonic() - process.started_s > HEALTHY_AFTER_S:
            self._back_off_s = 0.0
        if not self._leaving():
            pause_s = self._next_back_off()
            self._report(Phase.NOT_READY, f"CrashLoopBackOff: {outcome}; started again in {pause_s:g} s")
            self._pause(pause_s)

    def _oom_kills(self) -> int:
        return self._services.cgroups.oom_kills(group_of(self.name))

    def _supervise(self, process: FunctionProcess) -> None:
        """Probe, at first often, until the process ends or the instance leaves."""
        assert self._netns is not None
        failures = 0
        while not self._leaving() and not process.ended() and not self._begins_anew:
            ready = self._is_ready(self._netns)
            if process.ended() or self._leaving():
                return
            if ready:
                failures = 0
                if "ready_ns" not in self._timings:
                    self._timings["process_ns"] = process.program_started_ns() or time.monotonic_ns()
                    self._timings["ready_ns"] = time.monotonic_ns()
                self._report(Phase.READY)
            elif self._reported is Phase.READY:
                failures += 1
                log.warning("%s does not answer its readiness probe (%d in a row)", self.name, failures)
                if failures >= FAILURE_THRESHOLD:
                    self._report(Phase.NOT_READY, "Unhealthy: it does not answer its readiness probe")
            age_s = time.monotonic() - process.started_s
            often_s = min(max(FIRST_POLL_S, (age_s - 0.5) / 20), LAST_POLL_S)
            self._sleep(PROBE_INTERVAL_S if self._reported is Phase.READY else often_s, process)

    def _is_ready(self, netns: int) -> bool:
        kind = datastores.KINDS.get(self._instance.function)
        if kind is not None:
            return greets(netns, kind.port, kind.greets, PROBE_TIMEOUT_S)
        return is_ready(netns, PROBE_TIMEOUT_S)

    # Leaving

    def _leave(self) -> None:
        """Drain, end the process, take the sandbox away, and say so until it has been heard."""
        if self._process is None:  # an earlier agent's process, when this one never came to adopt it
            self._process = FunctionProcess.adopt(self._services.pid_file(self.name), self.name)
        if self._process is not None:
            store = stores.is_store(self.name)  # it goes after all of its owners
            if self._draining_since is not None and self._known and not store:
                self._insist(self._ensure_sandbox)
                self._drain(self._draining_since)
            self._process.stop(0.0 if store else TERMINATE_GRACE_S)
            self._process.close()
        self._insist(self._remove_sandbox)
        self._services.cgroups.remove(group_of(self.name))
        self._insist(lambda: stores.remove_data(self._services.state_folder, self.name))
        remove_files(self._services.pid_file(self.name))
        if self._known:
            self._insist(lambda: self._services.control.delete(self.name))
        log.info("%s is gone", self.name)

    def _drain(self, version: int) -> None:
        """Out of every group first; then wait for the connections there are."""
        if not self._services.control.await_applied(version, APPLIED_TIMEOUT_S):
            log.warning("%s: the controller did not confirm version %d in time", self.name, version)
        confirmed = time.monotonic()
        while self._netns is not None:
            waited_s = time.monotonic() - confirmed
            if waited_s > STALE_FLOWS_S and not unfinished_connections(self._netns):
                return
            if waited_s > CONNECTIONS_TIMEOUT_S:
                log.info("%s still has connections after %.0f s; it is stopped", self.name, CONNECTIONS_TIMEOUT_S)
                return
            time.sleep(max(DRAIN_POLL_S, STALE_FLOWS_S - waited_s))

    def _remove_sandbox(self) -> None:
        if self._netns is not None:
            os.close(self._netns)
            self._netns = None
        if self._services.lab.has_host(self.name):
            self._services.lab.delete_host(self.name)

    def _insist(self, action: Callable[[], None]) -> None:
        while True:
            try:
                action()
                return
            except (TestbedError, OSError) as error:
                log.warning("%s: %s", self.name, error)
                time.sleep(RETRY_S)

    # Reports and pauses

    def _report(self, phase: Phase, reason: str = "") -> None:
        """Tell the apiserver a new phase or the reason for it; when it is away, once it is back."""
        if phase is not self._reported or reason != self._reason:
            self._reported = phase
            self._reason = reason
            self._unreported = phase
            self._report_after_s = 0.0
        self._report_again()

    def _report_again(self) -> None:
        phase = self._unreported
        if phase is None or time.monotonic() < self._report_after_s:
            return
        self._unreported = None
        try:
            timings = self._timings if phase is Phase.READY and not self._timings_told else {}
            self._services.control.report(self.name, phase, timings, self._reason)
            self._timings_told |= phase is Phase.READY  # later starts are no cold starts
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
            if process.ready_fd is not None:
                poll.register(process.ready_fd, select.POLLIN)
        happened = {fd for fd, _ in poll.poll(seconds * 1000)}
        if process is not None and process.ready_fd in happened:
            process.heard()
        woken = self._wake in happened
        if woken:
            os.eventfd_read(self._wake)
        self._report_again()
        return woken

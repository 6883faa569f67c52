"""Gives a running lab a fault, takes it back, and watches it recover.

It acts on processes of the lab's own PID namespace, by number, on trunks and by hosts of the lab; nothing
outside a lab can be hit. Which faults there are and what must hold: `faults`.
"""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import requests

from testbed.chaos.faults import Fault, Target, TargetKind
from testbed.chaos.load import Flood, Requests
from testbed.model import addressing
from testbed.model.cluster import ClusterState, Phase
from testbed.model.errors import LabError, TestbedError, UsageError
from testbed.network.daemon_client import LabClient
from testbed.platform.client.lab_http import get
from testbed.platform.client.platform import Platform

POLL_S = 0.02
RECOVERY_S = 60.0
ANSWER_S = 2.0
SPARE_S = 5.0
"""A component that is to be away stays so this much longer if nobody calls it back."""
_HOLD = "all=$({which}) && kill -STOP $all && echo held && read _; kill -CONT $all"
"""Lets the processes go on when its input ends: also when the command that holds them is killed."""
_ONE, _ITS_PLACE = 'echo "$0"', 'pgrep --ns "$0" --nslist pid'


class RunningLab(Protocol):
    """The part of a lab that is needed here."""

    @property
    def state_folder(self) -> Path: ...
    @property
    def client(self) -> LabClient: ...
    def command(self, host: str, argv: Sequence[str]) -> list[str]: ...


@dataclass(frozen=True)
class Settings:
    """How hard a fault strikes: packets lost in percent, connection requests a second, clients at once."""

    loss_pct: float = 5.0
    rate: float = 500.0
    clients: int = 64


@dataclass(frozen=True)
class Report:
    """What was seen. `recovered_s`: from the end of the fault until all was as before; `noted`: the fault's own sum."""

    recovered_s: float
    noted: dict[str, Any]
    drops: dict[str, int]


class Chaos:
    """The faults of one lab; the calling process is in the lab's network."""

    def __init__(self, lab: RunningLab, platform: Platform) -> None:
        self._lab = lab
        self._platform = platform

    def trunks(self) -> list[tuple[int, int]]:
        return [(link["a"], link["b"]) for link in self._lab.client.links()]

    def run(self, fault: Fault, target: Target, lasts_s: float, settings: Settings) -> Report:
        """Do `fault` to `target` for that long, undo it whatever happens, and wait until the lab has recovered.

        LabError when it does not within a minute.
        """
        before = self._drops()
        recovered = self._condition(fault, target)
        with self._inflicted(fault, target, lasts_s, settings) as noted:
            threading.Event().wait(lasts_s)
        ended_s = time.monotonic()
        while not recovered():
            if time.monotonic() - ended_s > RECOVERY_S:
                raise LabError(f"{target.name} has not recovered after {RECOVERY_S:.0f} s; see `testbed status`")
            time.sleep(POLL_S)
        took_s = time.monotonic() - ended_s
        after = self._drops()
        return Report(
            took_s, noted, {reason: n for reason in after if (n := after[reason] - before.get(reason, 0)) > 0}
        )

    # The faults

    @contextmanager
    def _inflicted(self, fault: Fault, target: Target, lasts_s: float, settings: Settings) -> Iterator[dict[str, Any]]:
        noted: dict[str, Any] = {}
        lab = self._lab.client
        active: AbstractContextManager[Any] = nullcontext()
        match fault.name:
            case "kill":
                self._signal(self._pid(target))
            case "restart":
                lab.restart(target.name)
            case "stop":
                active = self._away(target.name, lasts_s)
            case "hang":
                active = self._held(self._pid(target), _ITS_PLACE if target.kind is TargetKind.INSTANCE else _ONE)
            case "down":
                active = self._trunk(target, 100.0)
            case "lossy":
                active = self._trunk(target, settings.loss_pct)
            case "flood":
                active = self._flood(target.name, settings.rate, noted)
            case "overload":
                active = _noting(Requests(lab, target.name, settings.clients), noted)
        with active:
            yield noted

    def _signal(self, pid: int) -> None:
        subprocess.run(self._lab.command("root", ["kill", "-KILL", str(pid)]), check=True)

    @contextmanager
    def _away(self, component: str, seconds: float) -> Iterator[None]:
        self._lab.client.keep_away(component, seconds + SPARE_S)
        try:
            yield
        finally:
            self._lab.client.restart(component)

    @contextmanager
    def _held(self, pid: int, which: str) -> Iterator[None]:
        """The process, or all in its place: the first process of a place serves nobody."""
        command = self._lab.command("root", ["sh", "-c", _HOLD.format(which=which), str(pid)])
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True) as holder:
            try:
                if holder.stdout is not None and not holder.stdout.readline():
                    raise LabError(f"process {pid} of the lab cannot be stopped; it may have ended just now")
                yield
            finally:
                if holder.stdin is not None:
                    holder.stdin.close()

    @contextmanager
    def _trunk(self, target: Target, loss_pct: float) -> Iterator[None]:
        a, b = target.nodes
        lab = self._lab.client
        before = next(link["loss_pct"] for link in lab.links() if (link["a"], link["b"]) == (a, b))
        try:
            lab.set_link(a, b, loss_pct=loss_pct)
            yield
        finally:
            lab.set_link(a, b, loss_pct=before)

    @contextmanager
    def _flood(self, instance_id: str, rate: float, noted: dict[str, Any]) -> Iterator[None]:
        state = self._platform.state()
        vips = callee_vips(state, instance_id)
        if not vips:
            raise UsageError(f"{instance_id} calls no function, so its requests would only be dropped; name a caller")
        with Flood(self._lab.client, instance_id, state.instances[instance_id].eip, vips, rate) as flood:
            yield
        noted["sent"] = flood.sent

    def _pid(self, target: Target) -> int:
        """The process of a component or an instance, as numbered inside the lab."""
        if target.kind is TargetKind.COMPONENT:
            pid = self._lab.client.status()["components"][target.name]["pid"]
        else:
            pid = self._instance_pid(target.name)
        if not pid:
            raise LabError(f"{target.name} has no process just now; see `testbed status`")
        return int(pid)

    def _instance_pid(self, instance_id: str) -> int:
        files = list((self._lab.state_folder / "agents").glob(f"node*/{instance_id}.pid"))
        try:
            return int(files[0].read_text()) if files else 0
        except (OSError, ValueError):  # it is being started
            return 0

    # What "recovered" means

    def _condition(self, fault: Fault, target: Target) -> Callable[[], bool]:
        """A question to be asked after the fault, made before it."""
        replaced = fault.name in ("kill", "restart", "stop")
        if target.kind is TargetKind.COMPONENT:
            old = self._pid(target) if replaced else 0
            return lambda: self._component_well(target.name, old)
        if target.kind is TargetKind.INSTANCE:
            old_pid = self._pid(target) if replaced else 0
            return lambda: self._instance_well(target.name, old_pid)
        return lambda: _asked(self._platform.state) is not None

    def _component_well(self, component: str, old_pid: int) -> bool:
        pid = self._lab.client.status()["components"][component]["pid"]
        if pid is None or pid == old_pid:
            return False
        if component == "gateway":
            return _answers(f"http://{addressing.GATEWAY_MANAGEMENT_IP}:{addressing.GATEWAY_METRICS_PORT}/healthz")
        if component == "scaler":
            return _answers(f"{addressing.SCALER_URL}/healthz")
        if component == "apiserver":
            return _asked(self._platform.state) is not None
        return component.startswith("agent") or bool(_asked(self._platform.rows_agree))

    def _instance_well(self, instance_id: str, old_pid: int) -> bool:
        if self._instance_pid(instance_id) in (0, old_pid):
            return False
        state = _asked(self._platform.state)
        instance = state.instances.get(instance_id) if state else None
        return instance is not None and instance.phase is Phase.READY

    def _drops(self) -> dict[str, int]:
        """Dropped packets by reason; nothing while the controller is away."""
        sums: dict[str, int] = {}
        for row in (_asked(self._platform.counters) or {"drops": []})["drops"]:
            sums[row["reason"]] = sums.get(row["reason"], 0) + row["packets"]
        return sums


def callee_vips(state: ClusterState, instance_id: str) -> list[str]:
    """The vIPs that an instance's function may call directly; those without an instance alone, if there are any."""
    instance = state.instances[instance_id]
    function = state.functions[instance.function_name]
    callees = [state.functions[f"{name}.{instance.namespace}"] for name in function.calls]
    at_zero = [callee for callee in callees if callee.replicas == 0]
    return [callee.vip for callee in at_zero or callees]


@contextmanager
def _noting(load: Requests, noted: dict[str, Any]) -> Iterator[None]:
    try:
        yield
    finally:
        noted.update(load.close().to_json())


def _asked(question: Callable[[], Any]) -> Any:
    """The answer, or None while whoever is asked is away."""
    try:
        return question()
    except TestbedError:
        return None


def _answers(url: str) -> bool:
    try:
        return get(url, ANSWER_S).status_code == 200
    except requests.RequestException:
        return False

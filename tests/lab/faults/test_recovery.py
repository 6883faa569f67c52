"""Parts of the control and data plane are killed while requests run; service holds or comes back by itself."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import pytest
import requests

from testbed.model.cluster import Phase, Route
from testbed.model.stack import stack_file
from testbed.network.lab import Lab
from testbed.platform.client.platform import Platform
from tests import waiting
from tests.lab.calls import switches_agree
from tests.lab.conftest import CHECKOUT

NAMESPACE = "recovery"
RECOVERY_S = 10.0
CONTROLLER_START_S = 60.0
"""Python imports Ryu for 1 s here and for 15 s in the lab kernel, whose one CPU the load shares."""
until = partial(waiting.until, within_s=RECOVERY_S)


@pytest.fixture(scope="module")
def platform(lab: Lab) -> Iterator[Platform]:
    with lab.inside():
        platform = Platform(lab)
        application, _ = stack_file.select(
            stack_file.load(CHECKOUT / "functions/chain/stack.yaml", {}), "^chain-[1-3]$"
        )
        platform.deploy(application, NAMESPACE, Route.DIRECT, "spread")
        platform.wait_ready()
        yield platform
        platform.remove(NAMESPACE)


class Load:
    """Requests one after the other, in a thread of its own, from the client host; failures are kept."""

    def __init__(self, lab: Lab) -> None:
        self.answered = 0
        self.failures: list[str] = []
        self._lab = lab
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Load:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        from tests.lab.traffic import in_host

        in_host(self._lab, "client", self._requests)

    def _requests(self) -> None:
        while not self._stop.is_set():
            try:
                answer = requests.get(f"http://10.96.0.1:8080/function/chain-1.{NAMESPACE}", timeout=10)
            except requests.RequestException as error:
                self.failures.append(str(error))
                continue
            if answer.status_code == 200:
                self.answered += 1
            else:
                self.failures.append(f"{answer.status_code} {answer.text}")

    def await_more(self, count: int) -> None:
        """Wait until `count` more requests have been answered."""
        wanted = self.answered + count
        until(lambda: self.answered >= wanted, f"{count} more answers; failures: {self.failures[:3]}")


def kill(lab: Lab, component: str) -> None:
    pid = lab.client.status()["components"][component]["pid"]
    subprocess.run(lab.command("root", ["kill", "-KILL", str(pid)]), check=True)


def controller_restarted(lab: Lab, restarts: int) -> bool:
    part = lab.client.status()["components"]["controller"]
    return part["restarts"] > restarts and part["pid"] is not None


def test_no_request_fails_while_the_controller_is_killed_and_restarted(lab: Lab, platform: Platform) -> None:
    with Load(lab) as load:
        for _ in range(2):
            load.await_more(50)
            restarts = lab.client.status()["components"]["controller"]["restarts"]
            kill(lab, "controller")
            until(lambda restarts=restarts: controller_restarted(lab, restarts), "a new controller")  # type: ignore[misc]
            until(lambda: switches_agree(platform), "rows equal to the generator's", within_s=CONTROLLER_START_S)
            load.await_more(50)
    assert load.failures == []


def attempts_to_connect(lab: Lab) -> int:
    """How many connections s2's vswitchd has begun so far, to the controller or to its database."""
    (socket,) = (lab.state_folder / "ovs" / "s2").glob("ovs-vswitchd.*.ctl")
    command = ["ovs-appctl", "-t", str(socket), "coverage/read-counter", "stream_open"]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


@contextmanager
def no_controller(lab: Lab) -> Iterator[None]:
    lab.client.restart("controller", {"PYTHONHOME": "/nowhere"})  # it ends as soon as it starts
    try:
        yield
    finally:
        lab.client.restart("controller", {"PYTHONHOME": ""})


def vsctl(lab: Lab, *arguments: str) -> None:
    socket = lab.state_folder / "ovs" / "s2" / "db.sock"
    subprocess.run(["ovs-vsctl", "-t", "30", f"--db=unix:{socket}", *arguments], check=True, capture_output=True)


def test_switches_look_for_an_absent_controller_every_second(lab: Lab, platform: Platform) -> None:
    with no_controller(lab):
        vsctl(lab, "wait-until", "controller", "s2", "is_connected=false")
    vsctl(lab, "wait-until", "controller", "s2", "is_connected=true")
    time.sleep(1)  # the node hears of it at the same time, and then sets its limit
    with no_controller(lab):
        vsctl(lab, "wait-until", "controller", "s2", "is_connected=false")
        before = attempts_to_connect(lab)
        time.sleep(8)  # within which OVS by itself makes one or two more attempts, waiting up to 8 s
        assert attempts_to_connect(lab) - before >= 5
    until(lambda: switches_agree(platform), "the switches connected again", within_s=30)


def test_a_switch_daemon_gets_its_rows_back_without_help(lab: Lab, platform: Platform) -> None:
    kill(lab, "s2")
    until(lambda: switches_agree(platform), "rows of s2 equal to the generator's")
    with Load(lab) as load:
        load.await_more(20)
    assert load.failures == []


@pytest.mark.parametrize("component", ["apiserver", "agent2"])
def test_running_calls_go_on_without(lab: Lab, platform: Platform, component: str) -> None:
    before = platform.state()
    with Load(lab) as load:
        load.await_more(20)
        kill(lab, component)
        load.await_more(100)
    assert load.failures == []
    until(lambda: lab.client.status()["components"][component]["pid"] is not None, f"a new {component}")
    platform.wait_ready()
    after = platform.state()
    assert after.functions == before.functions
    assert {i.id: i.eip for i in after.instances.values()} == {i.id: i.eip for i in before.instances.values()}


def test_a_crashed_instance_is_replaced_and_others_are_unharmed(lab: Lab, platform: Platform) -> None:
    platform.scale("chain-2", NAMESPACE, 2)
    platform.wait_ready()
    victim = next(
        i for i in platform.state().instances.values() if i.function == "chain-2" and i.namespace == NAMESPACE
    )
    same_namespace = "[ $(readlink $p/ns/net) = $(readlink /proc/self/ns/net) ]"
    is_server = "tr '\\0' ' ' <$p/cmdline | grep -q index.py"
    same_namespace = "[ $(readlink $p/ns/net) = $(readlink /proc/self/ns/net) ]"
    is_server = "tr '\\0' ' ' <$p/cmdline | grep -q [i]ndex.py"  # the brackets keep it from finding itself
    inside = f"for p in /proc/[0-9]*; do {same_namespace} && {is_server} && kill -KILL ${{p#/proc/}}; done; true"
    subprocess.run(lab.command(victim.id, ["sh", "-c", inside]), check=True)
    until(lambda: platform.state().instances[victim.id].phase is not Phase.READY, "the crash is noticed")
    with Load(lab) as load:
        load.await_more(20)
    assert load.failures == []
    until(lambda: platform.state().instances[victim.id].phase is Phase.READY, "the instance runs again")

"""`testbed chaos` on a real lab: what it does is seen, undone, and recovered from, also when it is ended early."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from testbed.model.cluster import Route
from testbed.model.stack import stack_file
from testbed.network.lab import Lab
from testbed.platform.client.platform import Platform
from tests.lab.conftest import CHECKOUT, command_line
from tests.waiting import until

NAMESPACE = "chaos"
PROBE = ("--probe", f"chain-1.{NAMESPACE}")


@pytest.fixture(scope="module")
def platform(lab: Lab) -> Iterator[Platform]:
    with lab.inside():
        platform = Platform(lab)
        application, _ = stack_file.select(stack_file.load(CHECKOUT / "functions/chain/stack.yaml", {}), "^chain-[12]$")
        platform.deploy(application, NAMESPACE, Route.DIRECT, "spread")
        platform.wait_ready()
        yield platform
        platform.remove(NAMESPACE)


def chaos(lab: Lab, *arguments: str) -> dict[str, object]:
    result = command_line("chaos", *arguments, "--json", "--name", lab.name)
    assert result.returncode == 0, result.stderr
    seen: dict[str, object] = json.loads(result.stdout)
    return seen


def probe_of(seen: dict[str, object]) -> dict[str, int]:
    probe = seen["probe"]
    assert isinstance(probe, dict)
    return probe


def state_of(lab: Lab, component: str) -> str:
    """The kernel's letter for what the component's process does: S sleeps, R runs, T is stopped."""
    pid = lab.client.status()["components"][component]["pid"]
    status = subprocess.run(
        lab.command("root", ["cat", f"/proc/{pid}/stat"]), capture_output=True, text=True, check=True
    )
    return status.stdout.rpartition(")")[2].split()[0]


def await_state(lab: Lab, component: str, stopped: bool) -> None:
    what = f"{component} is {'' if stopped else 'not '}stopped"
    until(lambda: (state_of(lab, component) == "T") == stopped, what, within_s=20)


def test_a_component_that_is_killed_is_another_process_and_well(lab: Lab, platform: Platform) -> None:
    before = lab.client.status()["components"]["agent2"]["pid"]
    seen = chaos(lab, "kill", "agent2", *PROBE)
    assert probe_of(seen)["failed"] == 0
    assert lab.client.status()["components"]["agent2"]["pid"] not in (None, before)


def test_calls_that_need_no_control_plane_do_not_miss_it(lab: Lab, platform: Platform) -> None:
    seen = probe_of(chaos(lab, "stop", "apiserver", "--for", "2", *PROBE))
    assert seen["failed"] == 0
    assert seen["answered"] > 0


def test_a_gateway_that_hangs_is_noticed_and_goes_on(lab: Lab, platform: Platform) -> None:
    seen = probe_of(chaos(lab, "hang", "gateway", "--for", "1.5", *PROBE))
    assert seen["longest_gap_ms"] >= 1000
    assert seen["failed"] == 0
    await_state(lab, "gateway", stopped=False)


def test_a_function_that_hangs_hangs_with_all_its_processes(lab: Lab, platform: Platform) -> None:
    seen = probe_of(chaos(lab, "hang", f"chain-1.{NAMESPACE}", "--for", "1.5", *PROBE))
    assert seen["longest_gap_ms"] >= 1000
    assert seen["failed"] == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda number: number.name)
def test_what_is_stopped_goes_on_when_the_command_is_ended(
    lab: Lab, platform: Platform, number: signal.Signals
) -> None:
    command = [sys.executable, "-m", "testbed.run", "chaos", "hang", "agent3", "--for", "600", "--name", lab.name]
    with subprocess.Popen(command, cwd=CHECKOUT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as running:
        await_state(lab, "agent3", stopped=True)
        running.send_signal(number)
    await_state(lab, "agent3", stopped=False)


def test_a_trunk_is_given_its_loss_back_by_ctrl_c(lab: Lab, platform: Platform) -> None:
    def losses() -> list[float]:
        return [link["loss_pct"] for link in lab.client.links()]

    lab.client.set_link(1, 3, loss_pct=1.5)
    command = [sys.executable, "-m", "testbed.run", "chaos", "down", "node1-node3", "--for", "600", "--name", lab.name]
    try:
        with subprocess.Popen(command, cwd=CHECKOUT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as running:
            until(lambda: 100.0 in losses(), "the trunk is down", within_s=20)
            running.send_signal(signal.SIGINT)
            assert running.stderr is not None
            assert b"Traceback" not in running.stderr.read()
        assert losses() == [0.0, 1.5, 0.0]
    finally:
        lab.client.set_link(1, 3, loss_pct=0.0)


def test_an_instance_crash_is_reported_with_what_failed(lab: Lab, platform: Platform) -> None:
    (victim,) = (i.id for i in platform.state().instances.values() if i.function_name == f"chain-2.{NAMESPACE}")
    pid_file = next((lab.state_folder / "agents").glob(f"node*/{victim}.pid"))
    before = Path(pid_file).read_text()
    seen = chaos(lab, "kill", f"chain-2.{NAMESPACE}", *PROBE)
    assert seen["target"] == victim
    assert pid_file.read_text() != before


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("explode", "gateway"), "there is no fault 'explode'"),
        (("down", "node1-node9"), "there are: node1-node2"),
        (("stop", "nobody"), "there are: agent2"),
        (("flood", f"chain-2.{NAMESPACE}"), "calls no function"),
    ],
)
def test_a_wrong_request_is_one_sentence(lab: Lab, platform: Platform, arguments: tuple[str, ...], words: str) -> None:
    result = command_line("chaos", *arguments, "--name", lab.name)
    assert result.returncode == 2
    assert words in result.stderr
    assert result.stderr.count("\n") == 1

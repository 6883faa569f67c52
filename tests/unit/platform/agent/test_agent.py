"""How the node agent brings an instance up, probes it and starts its process again."""

from __future__ import annotations

import os
import re
import threading
import time
from dataclasses import replace
from typing import Any

import pytest

from testbed.model.cluster import Phase
from testbed.platform.agent import keeper
from tests.unit.platform.agent.agent_rig import Bench, until


def test_an_instance_is_brought_up_in_its_sandbox(bench: Bench) -> None:
    bench.tell(bench.instance())
    bench.await_diary("one.t.1 Ready")
    assert bench.world.diary == ["add one.t.1 node2 10.202.0.1", "one.t.1 Ready"]
    until(lambda: "INSTANCE_ID" in bench.log(), "the process has begun")
    variables = dict(line.split("=", 1) for line in bench.log().splitlines())
    assert {
        "A": "b",
        "port": "8080",
        "fprocess": "sh run.sh",
        "FUNCTION_NAME": "one",
        "FUNCTION_NAMESPACE": "t",
        "INSTANCE_ID": "one.t.1",
    }.items() <= variables.items()
    assert variables["PWD"] == str(bench.folder / "images" / "i")
    assert "PYTHONPATH" not in variables


def test_another_nodes_instances_are_left_alone(bench: Bench) -> None:
    bench.tell(bench.instance(2, node=3), bench.instance(1))
    bench.await_diary("one.t.1 Ready")
    assert list(bench.world.sandboxes) == ["one.t.1"]


def test_an_instance_that_never_answers_stays_pending(bench: Bench) -> None:
    bench.world.ready = False
    bench.tell(bench.instance())
    bench.pid()
    assert bench.world.diary == ["add one.t.1 node2 10.202.0.1"]


def test_a_process_that_ends_is_reported_and_started_again_in_the_same_sandbox(bench: Bench) -> None:
    bench.tell(bench.instance())
    bench.await_diary("one.t.1 Ready")
    os.kill(bench.pid(), 9)
    until(lambda: len(bench.world.diary) == 4, "it is ready again")
    assert bench.world.diary[1:] == ["one.t.1 Ready", "one.t.1 NotReady", "one.t.1 Ready"]


def test_the_steps_of_a_start_are_reported_once(bench: Bench) -> None:
    before_ns = time.monotonic_ns()
    bench.tell(bench.instance())
    bench.await_diary("one.t.1 Ready")
    times = bench.world.timings[0]
    assert list(times) == ["noticed_ns", "sandbox_ns", "launch_ns", "process_ns", "ready_ns"]
    assert (
        before_ns
        < times["noticed_ns"]
        < times["sandbox_ns"]
        < times["launch_ns"]
        < times["process_ns"]
        < times["ready_ns"]
        < time.monotonic_ns()
    )
    os.kill(bench.pid(), 9)
    until(lambda: len(bench.world.timings) == 3, "it is ready again")
    assert bench.world.timings[1:] == [{}, {}]


def test_why_an_instance_is_not_ready_is_reported_and_noted_in_its_log(bench: Bench) -> None:
    bench.tell(bench.instance())
    bench.await_diary("one.t.1 Ready")
    os.kill(bench.pid(), 9)
    until(lambda: len(bench.world.reasons) == 3, "it is ready again")
    assert bench.world.reasons == ["", "CrashLoopBackOff: was ended by SIGKILL; started again in 0.01 s", ""]
    assert re.search(r"(?m)^\d{4}-\d\d-\d\dT[\d:.]+Z instance one.t.1 was ended by SIGKILL$", bench.log())


def test_a_process_that_used_up_its_memory_is_said_to_have(bench: Bench) -> None:
    bench.tell(bench.instance())
    bench.await_diary("one.t.1 Ready")
    bench.world.oom = 1
    first = bench.pid()
    os.kill(first, 9)
    until(lambda: len(bench.world.reasons) == 3, "it is ready again")
    assert "it used more memory than its limit allows (OOMKilled)" in bench.world.reasons[1]
    until(lambda: bench.pid() != first, "there is another process")
    bench.world.reasons.clear()
    os.kill(bench.pid(), 9)
    until(lambda: len(bench.world.reasons) == 2, "it is ready again")
    assert "OOMKilled" not in bench.world.reasons[0]


def test_limits_become_the_groups_and_the_group_goes_with_the_instance(bench: Bench) -> None:
    one = replace(bench.state.functions["one.t"], limits={"memory": "64Mi", "cpu": "500m"})
    bench.state = replace(bench.state, functions={"one.t": one})
    bench.tell(bench.instance())
    bench.await_diary("one.t.1 Ready")
    bench.tell(bench.instance(phase=Phase.DRAINING))
    bench.await_diary("delete one.t.1")
    assert bench.world.groups == [f"functions/one.t.1 {64 << 20} 0.5", "remove functions/one.t.1"]


def test_secrets_are_in_the_place_before_the_process_is(bench: Bench) -> None:
    one = replace(bench.state.functions["one.t"], secrets=("key",))
    bench.state = replace(bench.state, functions={"one.t": one})
    bench.tell(bench.instance())
    bench.await_diary("one.t.1 Ready")
    assert bench.world.places[0].secrets == {"key": b"value"}


def test_a_server_that_says_it_listens_is_probed_at_once(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeper, "FIRST_POLL_S", 60.0)
    monkeypatch.setattr(keeper, "LAST_POLL_S", 60.0)
    bench.world.ready = False
    (bench.folder / "images" / "i" / "run.sh").write_text(
        "while [ ! -e go ]; do sleep 0.01; done; echo > /dev/fd/$READY_FD; exec sleep 1000\n"
    )
    told = threading.Event()
    add_host = bench.world.add_host
    monkeypatch.setattr(bench.world, "add_host", lambda *host: told.wait(30) and add_host(*host))
    bench.tell(bench.instance())
    told.set()  # only now, so that nothing the agent is told can wake the keeper later
    until(lambda: bench.world.probes == 1, "the first probe finds it not ready; the next is due in a minute")
    bench.world.ready = True
    (bench.folder / "images" / "i" / "go").touch()
    bench.await_diary("one.t.1 Ready")
    assert bench.world.diary == ["add one.t.1 node2 10.202.0.1", "one.t.1 Ready"]  # the same process all the time


def test_an_instance_that_stops_answering_is_not_ready_until_it_answers(bench: Bench) -> None:
    bench.tell(bench.instance())
    bench.await_diary("one.t.1 Ready")
    pid = bench.pid()
    bench.world.ready = False
    bench.await_diary("one.t.1 NotReady")
    bench.world.ready = True
    until(lambda: bench.world.diary.count("one.t.1 Ready") == 2, "it is ready again")
    assert bench.pid() == pid


def test_two_probes_that_fail_take_no_instance_out(bench: Bench) -> None:
    bench.tell(bench.instance())
    bench.await_diary("one.t.1 Ready")
    bench.world.failing_probes = keeper.FAILURE_THRESHOLD - 1
    until(lambda: not bench.world.failing_probes, "both were made")
    after = bench.world.probes + 1
    until(lambda: bench.world.probes > after, "it answers again")
    assert bench.world.diary == ["add one.t.1 node2 10.202.0.1", "one.t.1 Ready"]


def test_back_off_doubles_up_to_its_limit_and_is_never_zero(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeper, "FIRST_BACK_OFF_S", 0.5)
    services: Any = None
    one = keeper.InstanceKeeper(bench.instance(), 1, services, lambda _: None)
    assert [one._next_back_off() for _ in range(8)] == [0.5, 1, 2, 4, 8, 16, 30, 30]

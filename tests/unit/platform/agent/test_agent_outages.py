"""What the node agent does while others are away, and what a new agent finds of an earlier one."""

from __future__ import annotations

import contextlib
import os
from dataclasses import replace
from pathlib import Path

import pytest

from testbed.model.cluster import Function, Phase
from testbed.platform.agent.function_process import FunctionProcess
from tests.unit.platform.agent.agent_rig import Bench, until

URL = "http://gateway.openfaas:8080/function"


def test_while_the_apiserver_is_away_instances_run_and_reports_wait(bench: Bench) -> None:
    bench.world.away = True
    bench.tell(bench.instance())
    pid = bench.pid()
    assert Path(f"/proc/{pid}").exists()
    assert bench.world.diary == ["add one.t.1 node2 10.202.0.1"]
    bench.world.away = False
    bench.await_diary("one.t.1 Ready")
    assert bench.pid() == pid


def test_a_report_that_was_lost_is_made_again(bench: Bench) -> None:
    bench.tell(bench.instance())
    bench.await_diary("one.t.1 Ready")
    bench.tell(bench.instance(phase=Phase.PENDING))
    until(lambda: bench.world.diary.count("one.t.1 Ready") == 2, "it is said again")


def test_a_sandbox_that_cannot_be_made_yet_is_tried_again(bench: Bench) -> None:
    bench.world.broken = 2
    bench.tell(bench.instance())
    bench.await_diary("one.t.1 Ready")
    assert bench.world.diary == ["one.t.1 NotReady", "add one.t.1 node2 10.202.0.1", "one.t.1 Ready"]


def test_a_caller_waits_for_its_callee_and_then_knows_its_vip(bench: Bench) -> None:
    one = replace(bench.state.functions["one.t"], calls=("two",), environment={"NEXT": f"{URL}/two/x"})
    bench.state = replace(bench.state, functions={"one.t": one})
    bench.tell(bench.instance())
    until(lambda: bench.world.diary, "the sandbox is made")
    two = Function("t", "two", 257, "10.96.1.1", "i", 0)
    bench.agents[-1].handle({"type": "PUT", "version": 12, "kind": "function", "object": two.to_json()})
    bench.await_diary("one.t.1 Ready")
    until(lambda: "NEXT=http://10.96.1.1:8080/x\n" in bench.log(), "the URL is replaced")


def test_a_new_agent_adopts_what_runs_without_disturbing_it(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.tell(bench.instance())
    bench.await_diary("one.t.1 Ready")
    adopted: list[int] = []
    adopt = FunctionProcess.adopt

    def noted(pid_file: Path, instance_id: str) -> FunctionProcess | None:
        process = adopt(pid_file, instance_id)
        adopted.extend([process.pid] if process else [])
        return process

    monkeypatch.setattr(FunctionProcess, "adopt", noted)
    bench.new_agent()
    bench.tell(bench.instance(phase=Phase.READY))
    until(lambda: adopted, "it is adopted")
    assert adopted == [bench.pid()]
    assert bench.world.diary == ["add one.t.1 node2 10.202.0.1", "one.t.1 Ready"]


def test_a_new_agent_drains_what_it_did_not_start(bench: Bench) -> None:
    bench.tell(bench.instance())
    bench.await_diary("one.t.1 Ready")
    pid = bench.pid()
    bench.world.connections = 2
    bench.new_agent()
    bench.tell(bench.instance(phase=Phase.DRAINING))
    bench.await_diary("delete one.t.1")
    assert bench.world.diary[2:5] == [f"applied {bench.state.version}", "connections 2", "connections 1"]
    until(lambda: not Path(f"/proc/{pid}").exists() or _is_zombie(pid), "the process has ended")


def test_a_new_agent_clears_away_what_nobody_wants_any_more(bench: Bench) -> None:
    bench.tell(bench.instance())
    bench.await_diary("one.t.1 Ready")
    pid = bench.pid()
    bench.new_agent()
    bench.tell()
    assert "delete host one.t.1" in bench.world.diary
    until(lambda: not Path(f"/proc/{pid}").exists() or _is_zombie(pid), "the process has ended")


def test_a_pid_that_belongs_to_somebody_else_is_left_alone(bench: Bench) -> None:
    file = bench.folder / "pids" / "one.t.9.pid"
    file.write_text(str(os.getpid()))
    bench.tell()
    assert not file.exists()


def _is_zombie(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    return True

"""The node agent with real processes, and a lab, a control plane and probes that the test commands."""

from __future__ import annotations

import contextlib
import os
import re
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from testbed.model.cluster import Function, Instance, Phase
from testbed.platform.agent import function_process, stores
from testbed.platform.agent import keeper as agent_instance
from testbed.platform.agent.function_process import FunctionProcess
from tests.unit.platform.agent.agent_rig import Bench, World, until

URL = "http://gateway.openfaas:8080/function"


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    image = tmp_path / "images" / "i"
    image.mkdir(parents=True)
    (image / "template.yml").write_text("fprocess: sh run.sh")
    (image / "run.sh").write_text("env\nexec sleep 1000\n")
    world = World()
    monkeypatch.setattr(function_process, "setns", lambda netns: None)
    monkeypatch.setattr(agent_instance, "is_ready", world.is_ready)
    monkeypatch.setattr(agent_instance, "unfinished_connections", world.unfinished_connections)
    for name in ("FIRST_BACK_OFF_S", "RETRY_S", "PROBE_INTERVAL_S", "LAST_POLL_S"):
        monkeypatch.setattr(agent_instance, name, 0.01)
    made = Bench(tmp_path, world)
    yield made
    made.world.away = False
    made.new_agent()
    made.tell()  # nothing is wanted: what still runs is left over
    made.agents = made.agents[:-1]
    for agent in made.agents:
        agent.handle({"type": "SNAPSHOT", "version": 1000, "object": replace(made.state, instances={}).to_json()})
    until(lambda: not any(one.name.startswith(("one.t.", "mail.t.")) for one in threading.enumerate()), "keepers end")


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
    assert list(times) == ["noticed_ns", "sandbox_ns", "process_ns", "ready_ns"]
    assert (
        before_ns
        < times["noticed_ns"]
        < times["sandbox_ns"]
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


def test_secrets_are_there_before_the_process_is(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    mounted: list[Mapping[str, bytes]] = []
    monkeypatch.setattr(function_process, "unshare", lambda kinds: None)
    monkeypatch.setattr(function_process, "mount_secrets", mounted.append)
    one = replace(bench.state.functions["one.t"], secrets=("key",))
    bench.state = replace(bench.state, functions={"one.t": one})
    bench.tell(bench.instance())
    bench.await_diary("one.t.1 Ready")
    assert mounted == [{"key": b"value"}]


def test_a_server_that_says_it_listens_is_probed_at_once(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agent_instance, "FIRST_POLL_S", 60.0)
    monkeypatch.setattr(agent_instance, "LAST_POLL_S", 60.0)
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
    bench.world.failing_probes = agent_instance.FAILURE_THRESHOLD - 1
    until(lambda: not bench.world.failing_probes, "both were made")
    after = bench.world.probes + 1
    until(lambda: bench.world.probes > after, "it answers again")
    assert bench.world.diary == ["add one.t.1 node2 10.202.0.1", "one.t.1 Ready"]


def test_back_off_doubles_up_to_its_limit_and_is_never_zero(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agent_instance, "FIRST_BACK_OFF_S", 0.5)
    services: Any = None
    keeper = agent_instance.InstanceKeeper(bench.instance(), 1, services, lambda _: None)
    assert [keeper._next_back_off() for _ in range(8)] == [0.5, 1, 2, 4, 8, 16, 30, 30]


def test_draining_leaves_the_group_first_then_waits_for_connections(bench: Bench) -> None:
    bench.tell(bench.instance())
    bench.await_diary("one.t.1 Ready")
    pid = bench.pid()
    bench.world.connections = 3
    bench.tell(bench.instance(phase=Phase.DRAINING))
    bench.await_diary("delete one.t.1")
    assert bench.world.diary[2:] == [
        f"applied {bench.state.version}",
        "connections 3",
        "connections 2",
        "connections 1",
        "delete host one.t.1",
        "delete one.t.1",
    ]
    assert not Path(f"/proc/{pid}").exists()
    assert not list((bench.folder / "pids").iterdir())


def test_a_connection_that_a_stale_flow_still_brings_is_waited_for(bench: Bench) -> None:
    bench.tell(bench.instance())
    bench.await_diary("one.t.1 Ready")
    bench.tell(bench.instance(phase=Phase.DRAINING))
    bench.await_diary(f"applied {bench.state.version}")
    bench.world.connections = 2
    bench.await_diary("delete one.t.1")
    assert bench.world.diary[3:5] == ["connections 2", "connections 1"]


def test_connections_that_never_end_do_not_keep_an_instance(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agent_instance, "CONNECTIONS_TIMEOUT_S", 0.05)
    bench.tell(bench.instance())
    bench.await_diary("one.t.1 Ready")
    bench.world.connections = 1_000_000
    bench.tell(bench.instance(phase=Phase.DRAINING))
    bench.await_diary("delete one.t.1")


def test_what_ignores_sigterm_is_killed(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agent_instance, "TERMINATE_GRACE_S", 0.05)
    (bench.folder / "images" / "i" / "run.sh").write_text("trap '' TERM\necho set\nwhile :; do sleep 0.05; done\n")
    bench.tell(bench.instance())
    until(lambda: "set" in bench.log(), "the trap is set")
    pid = bench.pid()
    bench.tell(bench.instance(phase=Phase.DRAINING))
    bench.await_diary("delete one.t.1")
    assert not Path(f"/proc/{pid}").exists()


def test_an_instance_the_apiserver_has_forgotten_goes_without_ceremony(bench: Bench) -> None:
    bench.tell(bench.instance())
    bench.await_diary("one.t.1 Ready")
    bench.tell()
    until(lambda: not bench.world.sandboxes, "the sandbox is gone")
    assert bench.world.diary[2:] == ["delete host one.t.1"]


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


# Stores, and those who own them


STORE = Instance("mail.t.1", "t", "mail", 2, "10.202.0.9")


@pytest.fixture
def owner(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """The function owns a store, whose process is one that sleeps."""
    monkeypatch.setattr(function_process, "unshare", lambda kinds: None)
    monkeypatch.setattr(function_process, "mount_hosts", lambda file: bench.world.diary.append(file.read_text()))
    monkeypatch.setattr(stores, "command_line", lambda store, folder: ("sleep", "1000"))
    monkeypatch.setattr(agent_instance, "greets", lambda netns, port, greeting, timeout_s: port == 587)
    mail = Function("t", "mail", 257, "10.96.1.1", "", 1, port=587, store=True)
    one = replace(bench.state.functions["one.t"], stores=("mail",))
    bench.state = replace(bench.state, functions={"one.t": one, "mail.t": mail})
    (bench.folder / "stores" / "t" / "mail").mkdir(parents=True)
    return bench


def test_a_function_starts_when_its_stores_are_ready_and_finds_them_by_name(owner: Bench) -> None:
    owner.tell(owner.instance(), STORE)
    owner.await_diary("mail.t.1 Ready")
    assert "one.t.1 Ready" not in owner.world.diary
    owner.tell(owner.instance(), replace(STORE, phase=Phase.READY))
    owner.await_diary("one.t.1 Ready")
    (hosts,) = [entry for entry in owner.world.diary if "localhost" in entry]
    assert hosts.splitlines()[-1] == "10.96.1.1\tmail mail.t"
    assert f"10.202.0.1\t{os.uname().nodename}" in hosts.splitlines()
    assert "stores/mail.t.1 None None" in owner.world.groups


def test_a_crash_leaves_a_stores_data_and_its_removal_does_not(owner: Bench) -> None:
    data = owner.folder / "stores" / "t" / "mail"
    owner.tell(STORE)
    owner.await_diary("mail.t.1 Ready")
    os.kill(owner.pid("mail.t.1"), 9)
    until(lambda: owner.world.diary.count("mail.t.1 Ready") == 2, "it is ready again")
    assert data.is_dir()
    owner.world.connections = 1000
    owner.tell(replace(STORE, phase=Phase.DRAINING))
    owner.await_diary("delete mail.t.1")
    assert not data.exists()
    assert not [entry for entry in owner.world.diary if entry.startswith("connections")]  # nobody is waited for


def test_a_store_that_went_while_the_agent_was_away_leaves_no_data(owner: Bench) -> None:
    owner.tell(STORE)
    owner.await_diary("mail.t.1 Ready")
    owner.new_agent()
    owner.tell()
    assert not (owner.folder / "stores" / "t" / "mail").exists()


def test_a_stores_process_starts_again_for_another_revision(owner: Bench) -> None:
    owner.tell(STORE)
    owner.await_diary("mail.t.1 Ready")
    first = owner.pid("mail.t.1")
    owner.tell(replace(STORE, phase=Phase.READY, revision=2))
    until(lambda: owner.pid("mail.t.1") != first, "there is another process")
    assert "mail.t.1 NotReady" not in owner.world.diary
    assert (owner.folder / "stores" / "t" / "mail").is_dir()

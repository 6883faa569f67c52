"""How the node agent takes an instance down: drained first, killed in the end, or at once when it is forgotten."""

from __future__ import annotations

from pathlib import Path

import pytest

from testbed.model.cluster import Phase
from testbed.platform.agent import keeper
from tests.unit.platform.agent.agent_rig import Bench, until


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
    monkeypatch.setattr(keeper, "CONNECTIONS_TIMEOUT_S", 0.05)
    bench.tell(bench.instance())
    bench.await_diary("one.t.1 Ready")
    bench.world.connections = 1_000_000
    bench.tell(bench.instance(phase=Phase.DRAINING))
    bench.await_diary("delete one.t.1")


def test_what_ignores_sigterm_is_killed(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeper, "TERMINATE_GRACE_S", 0.05)
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

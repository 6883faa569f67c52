"""A node agent with real processes, on a lab, a control plane and probes that the test commands."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from testbed.network.process.place import Place
from testbed.platform.agent import function_process, keeper
from tests.unit.platform.agent.agent_rig import Bench, World, start_outside, until


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    image = tmp_path / "images" / "i"
    image.mkdir(parents=True)
    (image / "template.yml").write_text("fprocess: sh run.sh")
    (image / "run.sh").write_text("env\nexec sleep 1000\n")
    world = World()

    def start(place: Place, *arguments: Any) -> subprocess.Popen[bytes]:
        world.places.append(place)
        return start_outside(place, *arguments)

    monkeypatch.setattr(function_process.place, "start", start)
    monkeypatch.setattr(keeper, "is_ready", world.is_ready)
    monkeypatch.setattr(keeper, "unfinished_connections", world.unfinished_connections)
    for name in ("FIRST_BACK_OFF_S", "RETRY_S", "PROBE_INTERVAL_S", "LAST_POLL_S"):
        monkeypatch.setattr(keeper, name, 0.01)
    made = Bench(tmp_path, world)
    yield made
    made.world.away = False
    made.new_agent()
    made.tell()  # nothing is wanted: what still runs is left over
    made.agents = made.agents[:-1]
    for agent in made.agents:
        agent.handle({"type": "SNAPSHOT", "version": 1000, "object": replace(made.state, instances={}).to_json()})
    until(lambda: not any(one.name.startswith(("one.t.", "mail.t.")) for one in threading.enumerate()), "keepers end")

"""The scaler over time, on a clock and metrics that the test makes up; each decision is computed again."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from testbed.model.cluster import ClusterState, Deployment, Function, Instance, Phase
from testbed.model.errors import PlatformError
from testbed.model.scaling.settings import PRESETS
from testbed.platform.scaler.decisions import DecisionLog
from testbed.platform.scaler.engine import Engine
from testbed.platform.scaler.meter import Asked, Meter
from testbed.platform.scaler.metric import Reading
from tests import recompute_scaling

NAME = "f.t"
PREFIX = "autoscaling.keda.sh/"


class FakeMeter(Meter):
    """Tells the load that the test sets; None: it cannot be read."""

    def __init__(self) -> None:
        self.load: dict[str, float | None] = {"invocations": 0.0, "cpu": 0.0}
        self.questions = 0

    async def read(self, asked: Iterable[Asked], state: ClusterState) -> dict[str, dict[str, Reading]]:
        self.questions += 1
        told = {
            name: Reading(None, "it is away", failed=True) if value is None else Reading(value)
            for name, value in self.load.items()
        }
        return {one.function.full_name: told for one in asked}

    def forget(self, full_name: str) -> None:
        pass


class World:
    """A cluster of one function, which is scaled as the engine says, and a clock."""

    def __init__(
        self, annotations: dict[str, str], replicas: int = 1, preset: str = "lab", log: Path | None = None, **more: Any
    ) -> None:
        self.now_s = 5000.0
        self.meter = FakeMeter()
        self.connected = True
        self.refuse = False
        self.requests: list[int] = []
        annotated = {PREFIX + key: value for key, value in annotations.items()}
        function = Function("t", "f", 256, "10.96.1.0", "i", 0, annotations=annotated)
        self.state = ClusterState(1, (1, 2), {"t": Deployment("t")}, {NAME: function})
        self.restart(preset, log, replicas=replicas, **more)

    def restart(self, preset: str = "lab", log: Path | None = None, replicas: int | None = None, **more: Any) -> None:
        """A new engine, which finds the function as it is."""
        self.log = DecisionLog(log)
        self.engine = Engine(
            PRESETS[preset], self.meter, self.scale, self.log, lambda: self.now_s, lambda: self.connected, **more
        )
        if replicas is not None:
            self.state = self.with_replicas(replicas)
        self.engine.changed(self.state)

    def with_replicas(self, replicas: int, phase: Phase = Phase.READY) -> ClusterState:
        function = replace(self.state.functions[NAME], replicas=replicas)
        instances = {
            f"{NAME}.{n}": Instance(f"{NAME}.{n}", "t", "f", 2, f"10.202.0.{n}", phase) for n in range(replicas)
        }
        version = self.state.version + 1
        return replace(self.state, version=version, functions={NAME: function}, instances=instances)

    async def scale(self, function: Function, replicas: int) -> None:
        if self.refuse:
            raise PlatformError("the apiserver is away")
        self.requests.append(replicas)
        self.outside(replicas)

    def outside(self, replicas: int, phase: Phase = Phase.READY) -> None:
        """Somebody scales the function."""
        self.state = self.with_replicas(replicas, phase)
        self.engine.changed(self.state)

    def run(self, seconds: float, **load: float | None) -> None:
        """The load stays like this for a while."""
        self.meter.load |= load
        end_s = self.now_s + seconds
        while self.now_s < end_s:
            self.now_s += 1
            asyncio.run(self.engine.tick())

    @property
    def replicas(self) -> int:
        return self.state.functions[NAME].replicas

    def decisions(self) -> list[dict[str, Any]]:
        return [json.loads(json.dumps(one)) for one in self.log.since(0)]

    def check(self) -> None:
        """Every decision follows from its inputs, and its inputs from the decisions before."""
        entries = self.decisions()
        assert entries
        for entry in entries:
            assert recompute_scaling.recomputed(entry) == entry["desired"], entry
        assert recompute_scaling.check_sequence(entries) == []


def test_a_load_that_rises_and_falls() -> None:
    world = World({"threshold": "10", "maxReplicaCount": "8"})
    world.run(3, invocations=5.0)
    assert world.replicas == 1
    world.run(4, invocations=70.0)
    assert world.replicas == 7
    world.run(6, invocations=30.0)
    assert world.replicas == 3
    world.run(7, invocations=0.0)
    assert world.replicas == 0
    assert world.requests == [5, 7, 3, 1, 0]
    world.check()


def test_at_zero_a_call_brings_it_back() -> None:
    world = World({"threshold": "10"}, replicas=0)
    world.run(3)
    assert len(world.decisions()) == 1  # a function that rests is said once
    world.run(1, invocations=1.0)
    assert world.requests == [1]
    world.check()


def test_after_a_rise_from_zero_by_others_the_cooldown_begins() -> None:
    world = World({"threshold": "10", "cooldownPeriod": "5"}, replicas=0)
    world.run(20)
    world.outside(1)
    world.run(5)
    assert world.requests == []
    world.run(1)
    assert world.requests == [0]
    world.check()


def test_a_slow_start_is_waited_for() -> None:
    world = World({"threshold": "10", "cooldownPeriod": "2"}, replicas=0)
    world.run(1)
    world.outside(1, Phase.PENDING)
    world.run(30)
    assert world.replicas == 1
    world.outside(1, Phase.READY)
    world.run(3)
    assert world.replicas == 0
    world.check()


def test_a_first_instance_that_never_comes_is_given_up() -> None:
    world = World({"threshold": "10"}, replicas=0)
    world.run(1)
    world.outside(1, Phase.PENDING)
    world.run(110)
    assert world.replicas == 0


@pytest.mark.parametrize("away", ["invocations", "apiserver"])
def test_nothing_is_taken_away_while_something_is_away(away: str) -> None:
    world = World({"threshold": "10", "maxReplicaCount": "8"})
    world.run(3, invocations=40.0)
    before = world.replicas
    world.connected = away != "apiserver"
    world.run(60, invocations=None if away == "invocations" else 0.0)
    assert (before, world.replicas) == (4, 4)
    world.check()


def test_a_refused_request_is_made_again() -> None:
    world = World({"threshold": "10"})
    world.refuse = True
    world.run(2, invocations=25.0)
    assert world.decisions()[-1]["error"] == "the apiserver is away"
    world.refuse = False
    world.run(1)
    assert world.requests == [3]
    world.check()


def test_the_fallback_holds_while_the_source_is_away() -> None:
    world = World({"threshold": "10", "fallback.failureThreshold": "3", "fallback.replicas": "4"}, replicas=2)
    world.run(3, invocations=None)
    assert world.replicas == 2
    world.run(2)
    assert world.replicas == 4
    world.check()


def test_a_dry_run_decides_and_changes_nothing() -> None:
    world = World({"threshold": "10"}, dry_run=True)
    world.run(3, invocations=45.0)
    assert world.requests == []
    assert [one["desired"] for one in world.decisions() if one["by"] == "hpa"] == [5, 5, 5]
    assert all(one["dry_run"] and not one["applied"] for one in world.decisions())
    world.check()


def test_after_a_restart_it_goes_on_and_takes_nothing_away(tmp_path: Path) -> None:
    log = tmp_path / "decisions.ndjson"
    world = World({"threshold": "10", "maxReplicaCount": "9"}, log=log)
    world.run(2, invocations=90.0)
    assert world.replicas == 5
    world.restart(log=log)
    world.run(1)
    assert world.replicas == 5  # four were added within the policies' period, before the restart
    world.run(3)
    assert world.replicas == 9
    world.restart(log=log)
    world.run(4, invocations=0.0)
    assert world.replicas == 9
    numbers = [one["number"] for one in world.decisions()]
    assert numbers == list(range(1, len(numbers) + 1))
    for entry in world.decisions():
        assert recompute_scaling.recomputed(entry) == entry["desired"]


def test_a_cut_off_line_of_the_log_is_passed_over(tmp_path: Path) -> None:
    log = tmp_path / "decisions.ndjson"
    world = World({"threshold": "10"}, log=log)
    world.run(2)
    count = len(world.decisions())
    with log.open("a") as file:
        file.write('{"number": 99, "func')
    assert len(DecisionLog(log).since(0)) == count


def test_unmanaged_functions_cost_no_question() -> None:
    world = World({})
    world.run(10, invocations=100.0)
    assert (world.engine.scaled, world.meter.questions, world.requests) == ({}, 0, [])


def test_changed_annotations_count_at_once() -> None:
    world = World({"threshold": "10"})
    world.run(3, invocations=10.0)
    function = replace(world.state.functions[NAME], annotations={PREFIX + "threshold": "5"})
    world.state = replace(world.state, functions={NAME: function})
    world.engine.changed(world.state)
    world.run(1)
    assert world.requests == [2]
    world.state = replace(world.state, functions={NAME: replace(function, annotations={})})
    world.engine.changed(world.state)
    assert world.engine.scaled == {}


def test_the_keda_preset_asks_at_its_own_periods() -> None:
    world = World({"threshold": "10"}, preset="keda")
    world.run(60, invocations=10.0)
    by = [one["by"] for one in world.decisions()]
    assert (by.count("keda"), by.count("hpa")) == (3, 5)  # once at the start, then every 30 and every 15 s
    world.check()


@pytest.mark.parametrize("seed", range(12))
def test_decisions_on_any_load_can_be_computed_again(seed: int) -> None:
    chance = random.Random(seed)
    annotations = {
        "threshold": chance.choice(["10", "7.5", "3"]),
        "metricType": chance.choice(["AverageValue", "Value"]),
        "maxReplicaCount": str(chance.randint(3, 30)),
        "minReplicaCount": str(chance.choice([0, 0, 1, 3])),
        "cooldownPeriod": str(chance.randint(1, 10)),
        "triggers": chance.choice(["invocations", "invocations,cpu"]),
        "scaleUp.policies": chance.choice(["Pods:1:5", "Percent:50:4", "Pods:2:7, Percent:100:3"]),
        "scaleDown.policies": chance.choice(["Percent:100:3", "Pods:1:2", "Percent:30:5, Pods:2:9"]),
        "scaleUp.stabilizationWindowSeconds": str(chance.choice([0, 0, 4])),
        "scaleDown.stabilizationWindowSeconds": str(chance.choice([0, 5, 12])),
        "scaleDown.selectPolicy": chance.choice(["Max", "Min"]),
        **chance.choice([{}, {"fallback.failureThreshold": "2", "fallback.replicas": "3"}]),
    }
    world = World(annotations)
    for _ in range(40):
        load = chance.choice([0.0, 0.0, 1.0, None, chance.uniform(0, 40), chance.uniform(0, 300)])
        world.refuse = chance.random() < 0.05
        world.run(chance.randint(1, 8), invocations=load, cpu=chance.choice([None, 0.0, chance.uniform(0, 4000)]))
        if chance.random() < 0.1:
            world.outside(chance.randint(0, 6))
    assert len({one["desired"] for one in world.decisions()}) > 2
    world.check()

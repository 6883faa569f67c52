"""New connections are dealt evenly over a function's instances, by OVS's own account of its slots."""

from __future__ import annotations

import re
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import pytest

from controllers.desired import balance
from controllers.desired.generator import Generator
from controllers.northbound.counters import Readings, counters
from controllers.northbound.explain import Names
from controllers.rows import Group
from controllers.switch import translator
from controllers.switch.reconcile import PutGroup
from testbed.model.cluster import Deployment, Route
from tests.unit.controllers.clusters import D, function, instance, state
from tests.unit.controllers.switch.dummy_ovs import Connection, add_bridge, vswitchd

MOST = 16
UNEVEN = 0.06


def service_group(instances: int) -> tuple[Group, Generator]:
    """The group of a function with so many instances, as a caller's node gets it."""
    caller, callee = function("d", "a", 256, calls=["b"]), function("d", "b", 257)
    endpoints = [instance(callee, n, 3, 10 + n) for n in range(instances)]
    generator = Generator()
    generator.load(
        state([Deployment("d", Route.DIRECT, id=D)], [caller, callee], [instance(caller, 1, 2, 11), *endpoints])
    )
    return generator.desired[2].groups[callee.id], generator


def dealt(group: Group, hits: list[int]) -> dict[str, int]:
    """eIP -> what its buckets got together."""
    found: dict[str, int] = {}
    for bucket, number in zip(group.buckets, hits, strict=True):
        assert bucket.endpoint is not None
        found[bucket.endpoint] = found.get(bucket.endpoint, 0) + number
    return found


def test_ovs_deals_its_slots_evenly_over_up_to_sixteen_instances(tmp_path_factory: pytest.TempPathFactory) -> None:
    with vswitchd(tmp_path_factory.mktemp("o")) as folder:
        add_bridge(folder, "b", ["p"])
        (control,) = folder.glob("ovs-vswitchd.*.ctl")
        subprocess.run(["ovs-appctl", "-t", control, "vlog/set", "ofproto_dpif:file:dbg"], check=True, timeout=30)
        connection = Connection(folder, "b")
        groups = {n: replace(service_group(n)[0], id=n) for n in range(1, MOST + 1)}
        encoded = translator.encode(connection.datapath, [PutGroup(one, False) for one in groups.values()], (), 1, 1)
        assert connection.deliver(encoded) == []
        connection.close()
        logged = slots_logged(folder, MOST)
    for instances, group in groups.items():
        slots = dealt(group, logged[instances])
        even = balance.slots(instances) / instances
        assert len(slots) == instances
        assert sum(slots.values()) == balance.slots(instances)
        assert all(abs(one - even) <= UNEVEN * even for one in slots.values()), (instances, slots)


def slots_logged(folder: Path, groups: int) -> dict[int, list[int]]:
    """Group id -> how many slots each of its buckets got, as vswitchd logs it, which it does with a delay."""
    deadline = time.monotonic() + 20
    while (log := (folder / "vswitchd.log").read_text()).count("Use dp_hash with") < groups:
        assert time.monotonic() < deadline, log
        time.sleep(0.05)
    parts = re.findall(r"Constructing select group (\d+)\n(.*?)Use dp_hash with", log, re.DOTALL)
    return {int(group): [int(hits) for hits in re.findall(r" hits=(\d+)", text)] for group, text in parts}


@pytest.mark.parametrize("instances", [1, 2, 4, 8, 16])
def test_where_the_fewest_slots_do_there_are_no_second_buckets(instances: int) -> None:
    assert list(balance.weights(instances)) == [(n, balance.FEWEST_SLOTS // instances) for n in range(instances)]


@pytest.mark.parametrize("instances", [17, 100, 200, 256, 300])
def test_with_more_instances_everyone_still_has_a_bucket(instances: int) -> None:
    given = list(balance.weights(instances))
    assert {index for index, _ in given} == set(range(instances))
    assert all(weight >= 1 for _, weight in given)
    assert sum(weight for _, weight in given) in (balance.MOST_SLOTS, instances)


def test_an_instance_of_two_buckets_is_counted_once() -> None:
    group, generator = service_group(3)
    assert len(group.buckets) > 3
    reading = Readings([], [group], {group.id: [100] * len(group.buckets)})
    names = Names(generator.index.workloads, generator.index.ports)
    endpoints = counters({2: reading}, names)["endpoints"]
    assert sorted(one["instance"] for one in endpoints) == ["b.d.0", "b.d.1", "b.d.2"]
    assert sum(one["connections"] for one in endpoints) == 100 * len(group.buckets)

"""What the controller's REST interface says of counters, intents and versions."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

from controllers import pipeline as p
from controllers.northbound.counters import counters
from controllers.northbound.explain import Names
from controllers.northbound.metrics import exposition
from controllers.northbound.read import Northbound
from controllers.switch.decoding import Entry
from controllers.switch.readings import Readings
from tests.unit.controllers.switch.crew_rig import Rig

pytest_plugins = ()


def test_counters_have_the_names_that_people_use(small_rig: Rig) -> None:
    channels, fleet = small_rig.channels, small_rig.fleet
    entries = [Entry(row, 1, 7, 0, 0.0) for row in channels[2].held.rows.values()]
    groups = list(channels[2].held.groups.values())
    packets = {group.id: tuple(range(1, len(group.buckets) + 1)) for group in groups}
    index = fleet.generator.index
    found = counters({2: Readings(entries, groups, packets)}, Names(index.workloads, index.ports))
    assert {"caller": "a.d", "callee": "b.d", "node": 2, "packets": 7} in found["calls"]
    assert {"function": "b.d", "node": 2, "connections": 7} in found["services"]
    assert {"instance": "b.d.2", "node": 2, "connections": 1} in found["endpoints"]
    assert {"instance": "b.d.1", "node": 2, "connections": 2} in found["endpoints"]
    reasons = {drop["reason"] for drop in found["drops"]}
    assert reasons == {reason.label for reason in p.DropReason} - {p.DropReason.DENIED.label}
    page = exposition(found, small_rig.crew.latencies(), {"applied": 1, "seen": 1}, 3, {2: 5}).decode()
    assert 'directfaas_call_connections_total{callee="b.d",caller="a.d",node="2"} 7.0' in page
    assert "directfaas_switches_connected 3.0" in page
    assert 'directfaas_repairs_total{node="2"} 5.0' in page


def test_intents_in_json_are_names(small_rig: Rig) -> None:
    text = json.dumps(small_rig.fleet.generator.index.intents().to_json())
    assert '{"caller": "client", "callee": "gateway"}' in text


def version(rig: Rig, **query: str) -> dict[str, Any]:
    northbound = Northbound(None, None, {"crew": rig.crew, "holding": rig.holding})
    return dict(json.loads(northbound.version(SimpleNamespace(GET=query)).body))


def test_the_version_costs_no_question_to_a_switch(small_rig: Rig) -> None:
    before = {node: channel.reads for node, channel in small_rig.channels.items()}
    answer = version(small_rig)
    assert {node: channel.reads for node, channel in small_rig.channels.items()} == before
    assert (answer["applied"], answer["seen"]) == (1, 1)
    assert answer["switches"]["2"] == {
        **{"connected": True, "applied": 1, "answers": True, "silent_s": 0.0},
        **{"held_back": 0, "repaired": 0, "conntrack_flush": True},
    }


def test_digests_are_read_when_asked_for(small_rig: Rig) -> None:
    small_rig.channels[3].held.rows.popitem()
    switches = version(small_rig, digest="now")["switches"]
    assert switches["2"]["digest"] == switches["2"]["desired_digest"]
    assert switches["3"]["digest"] != switches["3"]["desired_digest"]


def test_a_switch_that_is_away_is_named(small_rig: Rig) -> None:
    small_rig.disconnect(small_rig.channels[3])
    small_rig.clock.now_s += 2.5
    assert version(small_rig)["switches"]["3"] == {"connected": False, "applied": 0, "answers": True, "silent_s": 2.5}

"""The generator: incremental equals from nothing, golden rows, only what a node needs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from controllers import pipeline as p
from controllers.desired.generator import Generator
from controllers.intents import intents
from controllers.northbound.explain import Names, actions_text, group_text, match_text, sentence
from controllers.rows import Tables, UseMeter
from testbed.model.cluster import ClusterState
from tests.unit.controllers.clusters import NODES, D, G, clusters, delete, put, small, snapshot

GOLDEN = Path(__file__).parent / "golden"


def generated(state: ClusterState) -> Generator:
    generator = Generator()
    generator.load(state)
    return generator


def objects(state: ClusterState) -> list[Any]:
    return [*state.deployments.values(), *state.functions.values(), *state.instances.values(), *state.hosts.values()]


@settings(max_examples=20, deadline=None)
@given(clusters(), clusters())
def test_event_by_event_gives_the_same_tables_as_from_nothing(before: ClusterState, after: ClusterState) -> None:
    generator, version = generated(before), before.version
    state = before
    gone = [delete(o, 0) for o in reversed(objects(before))]
    for event in [*gone, *(put(o, 0) for o in reversed(objects(after)))]:
        version += 1
        generator.apply({**event, "version": version})
        state = state.apply({**event, "version": version})
        assert generator.desired == generated(state).desired
        assert generator.index.intents() == intents(state)
    assert generator.desired == generated(after).desired


@settings(max_examples=30, deadline=None)
@given(clusters(), st.data())
def test_the_order_in_which_objects_come_and_go_does_not_matter(state: ClusterState, data: st.DataObject) -> None:
    """A function may come before its namespace, a namespace go before its functions or get another id."""
    everything = objects(state)
    renamed = [replace(one, id=one.id + 100) for one in state.deployments.values()]
    generator, now, version = generated(ClusterState(nodes=NODES)), ClusterState(nodes=NODES), 0
    for make, values in ((put, everything), (put, renamed), (delete, everything)):
        for value in data.draw(st.permutations(values)):
            version += 1
            generator.apply(make(value, version))
            now = now.apply(make(value, version))
            assert generator.index.intents() == intents(now)
            assert generator.desired == generated(now).desired


def test_a_namespaces_meter_and_hold_rows_stay_when_its_lowest_function_goes() -> None:
    state = small()
    generator = generated(state)
    before = {node: Tables(dict(tables.rows), {}, dict(tables.meters)) for node, tables in generator.desired.items()}
    for version, gone in enumerate((state.instances["a.d.1"], state.functions["a.d"]), 2):
        generator.apply(delete(gone, version))
        state = state.apply(delete(gone, version))
    for desired in (generator.desired, generated(state).desired):  # as it is, and for a controller that was restarted
        for node, tables in desired.items():
            held = [row for row in tables.rows.values() if p.category_of(row.cookie) is p.Category.HOLD]
            assert held
            assert [row for row in held if before[node].rows.get(row.key) != row] == []
            assert tables.meters == before[node].meters
            assert {D, G} <= tables.meters.keys()


def test_while_a_namespace_is_not_known_no_call_of_its_functions_is_held() -> None:
    state = small()
    generator = generated(state)
    generator.apply(delete(state.deployments["d"], 2))
    rows = [row for tables in generator.desired.values() for row in tables.rows.values()]
    assert {action.meter for row in rows for action in row.actions if isinstance(action, UseMeter)} == {G}


@settings(max_examples=30, deadline=None)
@given(clusters(), st.data())
def test_taking_away_and_giving_back_changes_nothing(state: ClusterState, data: st.DataObject) -> None:
    generator, fresh = generated(state), generated(state)
    taken = data.draw(st.lists(st.sampled_from(objects(state)), unique_by=id, max_size=5))
    version = state.version
    for make, values in ((delete, taken), (put, data.draw(st.permutations(taken)))):
        for value in values:
            version += 1
            generator.apply(make(value, version))
            state = state.apply(make(value, version))
            assert generator.desired == generated(state).desired
    assert generator.desired == fresh.desired


@settings(max_examples=30, deadline=None)
@given(clusters(), clusters())
def test_what_is_touched_covers_every_difference(before: ClusterState, after: ClusterState) -> None:
    generator = generated(before)
    old = {node: Tables(dict(t.rows), dict(t.groups)) for node, t in generator.desired.items()}
    deltas = generator.apply(snapshot(after))
    for node, tables in generator.desired.items():
        different = {
            k for k in tables.rows.keys() | old[node].rows.keys() if tables.rows.get(k) != old[node].rows.get(k)
        }
        assert different <= deltas[node].rows
        ids = tables.groups.keys() | old[node].groups.keys()
        assert {i for i in ids if tables.groups.get(i) != old[node].groups.get(i)} <= deltas[node].groups


def test_the_small_clusters_rows_are_the_golden_ones() -> None:
    generator = generated(small())
    names = Names(generator.index.workloads, generator.index.ports)
    for node, tables in sorted(generator.desired.items()):
        rows = sorted(tables.rows.values(), key=lambda r: (r.table, -r.priority, r.cookie, str(r.match)))
        lines = [
            f"{p.TABLE_NAMES[r.table]} {r.priority} {match_text(r.match)} -> {actions_text(r.actions)}"
            f" cookie={r.cookie:#x} # {sentence(r, names)}"
            for r in rows
        ]
        lines += [group_text(group) for _, group in sorted(tables.groups.items())]
        assert "\n".join(lines) + "\n" == (GOLDEN / f"small-node{node}.txt").read_text(), f"node{node}"


def test_every_row_has_a_sentence_and_a_category() -> None:
    generator = generated(small())
    names = Names(generator.index.workloads, generator.index.ports)
    for tables in generator.desired.values():
        for row in tables.rows.values():
            assert p.category_of(row.cookie) is not None
            assert sentence(row, names) != "Not a row of this controller", row


def test_a_node_holds_services_only_for_callers_it_has() -> None:
    desired = generated(small()).desired
    services = {node: {row.cookie & 0xFFFF for row in t.rows.values() if row.table == 7} for node, t in desired.items()}
    assert 257 in services[2]  # a.d calls b.d and is on node2
    assert 257 not in services[1] | services[3]


def test_one_row_a_call_whatever_the_number_of_instances() -> None:
    rows = [
        row
        for row in generated(small()).desired[2].rows.values()
        if row.cookie == p.cookie(p.Category.POLICY, p.call_object(256, 257))
    ]
    assert len(rows) == 1

"""The application of hundreds of functions: its graph, its stack.yaml, the pairs that are tried beside its calls."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.outcome import Outcome
from bench.rigs import crowd, trials
from bench.subjects.crowd import Crowd, conclude
from testbed.model.application import callees_first
from testbed.model.stack import stack_file

FUNCTIONS, CALLS = 60, 120


@pytest.fixture
def graph() -> dict[str, list[str]]:
    return crowd.call_graph(FUNCTIONS, CALLS, seed=3)


def test_the_graph_is_the_same_for_the_same_seed_and_has_as_many_calls_as_asked(graph: dict[str, list[str]]) -> None:
    assert graph == crowd.call_graph(FUNCTIONS, CALLS, seed=3) != crowd.call_graph(FUNCTIONS, CALLS, seed=4)
    assert (len(graph), sum(map(len, graph.values()))) == (FUNCTIONS, CALLS)
    assert all(callee > caller for caller, callees in graph.items() for callee in callees)  # no circle


@pytest.mark.parametrize(("light", "fprocess"), [(True, crowd.LIGHT_FPROCESS), (False, None)])
def test_its_stack_is_an_ordinary_one(
    tmp_path: Path, graph: dict[str, list[str]], light: bool, fprocess: str | None
) -> None:
    application = stack_file.load(crowd.write(tmp_path / "stack", graph, light=light), {})
    assert {one.name: list(one.calls) for one in application.functions} == graph
    assert {one.environment.get("fprocess") for one in application.functions} == {fprocess}
    assert len(callees_first(application)) == FUNCTIONS


def test_other_pairs_are_none_of_the_graph_and_as_many_for_everybody(graph: dict[str, list[str]]) -> None:
    pairs = trials.other_pairs(graph, 5 * FUNCTIONS, seed=3)
    assert len(set(pairs)) == len(pairs) == 5 * FUNCTIONS
    assert {caller: [one for one, _ in pairs].count(caller) for caller in graph} == dict.fromkeys(graph, 5)
    assert not any(callee == caller or callee in graph[caller] for caller, callee in pairs)


def test_where_there_are_not_so_many_all_are_taken() -> None:
    assert trials.other_pairs({"a": ["b"], "b": []}, 20, seed=3) == [("b", "a")]


def test_what_differs_from_the_graph_is_counted_over_all_rounds() -> None:
    small, large, python = Crowd(5, 1), Crowd(10, 1), Crowd(5, 1, light=False)
    small.ms_each, large.ms_each = [10.0, 12.0], [15.0, 18.0]
    large.mb_each, python.mb_each = [3.0, 3.5], [12.0]
    large.trials = [trials.Trial(20, 50, [("a", "b")], []), trials.Trial(20, 50, [], [("b", "a"), ("c", "a")])]
    conclude(outcome := Outcome(), small, large, python, seed=1)
    found = {name: (estimate.value if estimate else None, note) for name, (estimate, note) in outcome.figures.items()}
    assert found["crowd-growth"] == (1.5, "10 over 5")
    assert found["crowd-failed"] == (1, "of 40")
    assert found["crowd-passed"] == (2, "of 100")
    assert (found["crowd-memory"][0], found["crowd-python"][0]) == (3.5, 12.0)

"""What the generator's subject measures: clusters of the asked size, changes that are undone, the worse ratio."""

from __future__ import annotations

from copy import deepcopy

import pytest

from bench.outcome import Outcome
from bench.rigs.clusters import Changes, cluster
from bench.subject import SUBJECTS
from bench.subjects.generator import Case, conclude_changes, from_nothing, policy_row, rows_of
from controllers import pipeline as p


@pytest.mark.parametrize(("a_namespace", "namespaces"), [(20, 3), (60, 1)])
def test_a_cluster_has_as_many_functions_a_namespace_as_asked(a_namespace: int, namespaces: int) -> None:
    state = cluster(60, a_namespace)
    assert (len(state.functions), len(state.instances), len(state.deployments)) == (60, 300, namespaces)
    assert sum(len(one.calls) for one in state.functions.values()) == 180
    assert len({one.id for one in (*state.functions.values(), *state.deployments.values())}) == 60 + namespaces


def test_changes_change_something_and_leave_everything_as_it_was() -> None:
    generator, state = from_nothing(Case(40), 1)[2:]
    before, changes = deepcopy(generator.desired), Changes(state, seed=1)
    touched = 0
    for events in (changes.of_an_instance, changes.of_a_function) * 5:
        for event in events():
            touched += sum(map(bool, generator.apply(event).values()))
    assert touched > 0
    assert generator.desired == before


def test_a_limited_case_has_every_call_limited_and_mirrored() -> None:
    plain, limited = (from_nothing(Case(40, 40, limited), 1)[2] for limited in (False, True))
    assert rows_of(limited) > rows_of(plain)
    categories = [p.category_of(row.cookie) for tables in limited.desired.values() for row in tables.rows.values()]
    calls = {kind: categories.count(kind) for kind in (p.Category.POLICY, p.Category.LIMIT, p.Category.PACKETS)}
    assert 0 < calls[p.Category.LIMIT] <= calls[p.Category.POLICY]
    assert calls[p.Category.PACKETS] >= calls[p.Category.LIMIT]


def test_a_policy_for_everything_is_removed_with_all_its_rows() -> None:
    for kind in ("deny", "allow"):
        _, _, _, put, _, _, gone = policy_row(kind, 30)
        assert put == gone > 0


def test_the_figure_of_a_change_is_that_of_the_kind_that_grows_more() -> None:
    outcome, large, small = Outcome(), Case(1_000), Case(100)
    found = {
        large: {"instance": [1.0] * 6, "function": [3.0] * 6},
        small: {"instance": [1.0] * 6, "function": [2.0] * 6},
    }
    conclude_changes(outcome, {"generator-change-growth": (large, small)}, found, seed=1)
    estimate, note = outcome.figures["generator-change-growth"]
    assert estimate is not None
    assert estimate.value == pytest.approx(1.5)
    assert note == "instance 1.00, function 1.50"


def test_the_growth_cases_are_budgets_of_the_subject() -> None:
    growth = {"change-growth", "namespace-growth", "namespace-change", "policies-growth", "policies-change"}
    assert {f"generator-{name}" for name in growth} <= set(SUBJECTS["generator"].budgets)

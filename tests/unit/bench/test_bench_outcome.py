"""Verdicts, summaries and ratios of the bench."""

from __future__ import annotations

import pytest

from bench.budgets import BUDGETS, Verdict, verdict
from bench.outcome import Outcome, ratio_of_medians, summary
from bench.subject import SUBJECTS, chosen
from bench.subjects.generator import exponent
from testbed.model.errors import UsageError


@pytest.mark.parametrize(
    ("limit", "measured", "enough", "says"),
    [
        (2.0, 2.0, True, Verdict.MET),
        (2.0, 2.1, True, Verdict.MISSED),
        (2.0, 0.1, False, Verdict.UNVERIFIED),
        (2.0, None, True, Verdict.UNVERIFIED),
        (0, 1, True, Verdict.MISSED),
        (None, 5.0, True, Verdict.NONE),
    ],
)
def test_verdicts(limit: float | None, measured: float | None, enough: bool, says: Verdict) -> None:
    assert verdict(limit, measured, enough=enough) is says


def test_every_budget_has_a_subject_that_measures_it() -> None:
    assert {budget.subject for budget in BUDGETS} == set(SUBJECTS)
    names = [budget.name for budget in BUDGETS]
    assert len(names) == len(set(names))


def test_a_budget_that_was_not_measured_is_unverified() -> None:
    entries = Outcome().budgets_json(["change-p50"], quick=False)
    assert [(one["measured"], one["verdict"], one["note"]) for one in entries] == [(None, "unverified", "not measured")]


def test_a_figure_for_an_unknown_budget_is_a_mistake() -> None:
    with pytest.raises(KeyError):
        Outcome().figure("no-such-budget", 1.0)


def test_a_series_keeps_its_quartiles_and_its_values() -> None:
    kept = summary([4.0, 1.0, 3.0, 2.0, 5.0], "ms")
    assert (kept["n"], kept["min"], kept["p25"], kept["p50"], kept["p75"], kept["max"]) == (5, 1, 2, 3, 4, 5)
    assert kept["values"] == [4, 1, 3, 2, 5]
    assert "p99" not in kept


def test_a_long_series_keeps_some_values_and_all_of_its_quantiles() -> None:
    kept = summary([float(n) for n in range(5001)], "ms")
    assert (kept["n"], kept["p50"], kept["p99"], kept["max"]) == (5001, 2500, 4950, 5000)
    assert 400 < len(kept["values"]) <= 500


def test_a_ratio_is_that_of_medians_and_its_interval_holds_it() -> None:
    second = [1.0 + n / 100 for n in range(20)]
    first = [2 * value for value in second]
    ratio = ratio_of_medians(first, second, seed=1)
    assert ratio.value == pytest.approx(2.0)
    assert ratio.low is not None and ratio.high is not None
    assert ratio.low <= ratio.value <= ratio.high
    assert ratio == ratio_of_medians(first, second, seed=1)


def test_few_rounds_have_no_interval() -> None:
    assert ratio_of_medians([2.0, 2.0], [1.0, 1.0], seed=1).low is None


def test_growth_is_the_slope_in_logarithms() -> None:
    assert exponent({10: 5.0, 100: 50.0, 1000: 500.0}) == pytest.approx(1.0)
    assert exponent({10: 1.0, 100: 100.0}) == pytest.approx(2.0)


def test_without_names_all_but_the_extra_subjects_are_run() -> None:
    usual = {subject.name for subject in chosen((), everything=False)}
    assert usual == {subject.name for subject in SUBJECTS.values() if not subject.extra}
    assert {subject.name for subject in chosen((), everything=True)} == set(SUBJECTS)


def test_an_unknown_subject_is_named() -> None:
    with pytest.raises(UsageError, match="no subject 'gatway'; it has "):
        chosen(("gatway",), everything=False)

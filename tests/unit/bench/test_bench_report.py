"""docs/performance.md is made from result files alone, and only between its marker lines."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from bench_results import result

from bench import report
from bench.budgets import BUDGETS
from bench.outcome import Estimate, Outcome
from testbed.model.errors import UsageError


def write(folder: Path, subject: str, outcome: Outcome, *, quick: bool = False) -> None:
    (folder / f"{subject}.json").write_text(json.dumps(result(subject, outcome, quick=quick)))


def document(folder: Path) -> Path:
    path = folder / "performance.md"
    path.write_text(f"# By hand\n\nbefore\n\n{report.BEGIN}\nan earlier table\n{report.END}\n\nafter\n")
    return path


def lines(folder: Path) -> list[str]:
    return report.render(report.load(folder)).splitlines()


def test_text_around_the_markers_stays(tmp_path: Path) -> None:
    path = document(tmp_path)
    report.update(path, tmp_path)
    text = path.read_text()
    assert text.startswith(f"# By hand\n\nbefore\n\n{report.BEGIN}\n")
    assert text.endswith(f"{report.END}\n\nafter\n")
    assert "an earlier table" not in text


def test_making_it_twice_changes_nothing(tmp_path: Path) -> None:
    path = document(tmp_path)
    report.update(path, tmp_path)
    once = path.read_text()
    report.update(path, tmp_path)
    assert path.read_text() == once


def test_without_results_every_budget_is_unverified(tmp_path: Path) -> None:
    rows = lines(tmp_path)
    for budget in BUDGETS:
        row = next(row for row in rows if row.startswith(f"| {budget.what} |"))
        assert ("unverified" in row) == (budget.limit is not None)


def test_a_miss_a_budget_kept_and_a_quick_run(tmp_path: Path) -> None:
    outcome = Outcome(datapath="userspace")
    outcome.figure("change-p50", Estimate(1.5, 1.4, 1.6))
    outcome.figure("change-p99", 7.25)
    write(tmp_path, "changes", outcome)
    quick = Outcome()
    quick.figure("sandbox-p50", 1.0)
    write(tmp_path, "sandboxes", quick, quick=True)
    rows = lines(tmp_path)
    assert (
        "| one new instance: event to all barriers, p50 over a bare bundle | ≤ 2 times | 1.5 (1.4 to 1.6) times | met "
        "| userspace | 0.1, 1.5 % |"
    ) in rows
    assert "| the same, p99 over its p99 | ≤ 4 times | 7.25 times | **missed** | userspace | 0.1, 1.5 % |" in rows
    assert "| one more sandbox at run time, p50 of 200 | ≤ 15 ms | 1 ms | unverified | userspace | 0.1, 1.5 % |" in rows


def test_a_subject_brings_its_own_tables(tmp_path: Path) -> None:
    outcome = Outcome()
    outcome.table("Cells", ("load", "ratio"), [("hot", 1.25), ("cold", 2)])
    write(tmp_path, "gateway", outcome)
    rows = lines(tmp_path)
    at = rows.index("**Cells**")
    assert rows[at + 2 : at + 6] == ["| load | ratio |", "|---|---|", "| hot | 1.25 |", "| cold | 2 |"]


def test_the_machine_and_the_commit_stand_above_the_table(tmp_path: Path) -> None:
    write(tmp_path, "changes", Outcome())
    assert lines(tmp_path)[0] == (
        "Measured on: A CPU, 2 CPUs, 4096 MB, Linux 6.1, Debian, commit 0123456789 (changes)."
    )


@pytest.mark.parametrize("text", ["no markers", f"{report.END}\n{report.BEGIN}\n", report.BEGIN * 2 + report.END])
def test_a_document_without_its_markers_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "performance.md"
    path.write_text(text)
    with pytest.raises(UsageError, match="does not have the lines"):
        report.update(path, tmp_path)
    assert path.read_text() == text


def test_a_file_that_is_no_result_is_named(tmp_path: Path) -> None:
    (tmp_path / "notes.json").write_text("{}")
    with pytest.raises(UsageError, match=r"notes\.json is not a result"):
        report.load(tmp_path)

"""How one subject's result comes about: whole when it succeeds, and honest when it does not."""

from __future__ import annotations

import json
import sys
import types
from pathlib import Path

import pytest

from bench import one
from bench.outcome import Outcome
from bench.subject import Context, Subject
from testbed.model.errors import LabError

CONTEXT = Context(quick=False, seed=3, progress=lambda _share, _what: None)


def p99_is_missed(context: Context) -> Outcome:
    outcome = Outcome(datapath="kernel", facts={"seed": context.seed})
    outcome.figure("change-p50", 1.0)
    outcome.figure("change-p99", 9.0)
    return outcome


def fails(_: Context) -> Outcome:
    raise LabError("the lab did not start; see its log")


def subject(monkeypatch: pytest.MonkeyPatch, run: object) -> Subject:
    """A subject with the budgets of "changes"."""
    module = types.ModuleType("bench_subject_of_a_test")
    module.run = run  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return Subject("changes", module.__name__, "a test's", (1, 1))


def test_a_result_says_what_was_found_where_and_by_which_command(monkeypatch: pytest.MonkeyPatch) -> None:
    result = one.measure(subject(monkeypatch, p99_is_missed), CONTEXT, ["python", "-m", "bench"])
    assert [(budget["name"], budget["verdict"]) for budget in result["budgets"]] == [
        ("change-p50", "met"), ("change-p99", "missed"), ("join-p50", "unverified"), ("join-p99", "unverified"),
    ]  # fmt: skip
    assert result["command"] == ["python", "-m", "bench"]
    assert result["machine"]["datapath"] == "kernel"
    assert result["facts"] == {"seed": 3}
    assert result["problems"] == []
    assert {"kernel", "cpu", "cpus", "load_at_start", "steal_share"} <= set(result["machine"])


def test_a_subject_that_fails_is_a_result_without_verdicts(monkeypatch: pytest.MonkeyPatch) -> None:
    result = one.measure(subject(monkeypatch, fails), CONTEXT, [])
    assert result["problems"] == ["the lab did not start; see its log"]
    assert {budget["verdict"] for budget in result["budgets"]} == {"unverified"}


def test_a_programming_mistake_is_not_taken_for_a_result(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ZeroDivisionError):
        one.measure(subject(monkeypatch, lambda _: 1 // 0), CONTEXT, [])


def test_a_result_is_a_file_of_its_subject(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    result = one.measure(subject(monkeypatch, p99_is_missed), CONTEXT, [])
    path = one.write(result, tmp_path / "new")
    assert path == tmp_path / "new" / "changes.json"
    assert json.loads(path.read_text()) == result
    assert list(path.parent.iterdir()) == [path]

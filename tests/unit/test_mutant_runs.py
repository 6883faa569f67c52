"""`make mutants` itself: what it tries, what it takes for caught, and that it says when a mutant proves nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests import mutants
from tests.mutants import Mutant, Outcome, Record, Report

ROOT = Path(__file__).resolve().parents[2]
GUARDED = "def allowed(name):\n    return name == 'a'\n"
TESTS = """from guarded import allowed
def test_a(): assert allowed('a')
def test_b(): assert not allowed('b')
def test_wrong(): assert allowed('b')
"""


def mutant(guard: str = "a guard", file: str = "guarded.py", test: str = "tests/unit/test_it.py -k test_b") -> Mutant:
    return Mutant(guard, file, "name == 'a'", "True", test)


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small project with one guard, in the place of this one."""
    (tmp_path / "build").mkdir()
    for program in mutants.PROGRAMS:
        (tmp_path / "build" / program).touch()
    (tmp_path / "guarded.py").write_text(GUARDED)
    (tmp_path / "tests/unit").mkdir(parents=True)
    (tmp_path / "tests/unit/test_it.py").write_text(TESTS)
    monkeypatch.setattr(mutants, "CHECKOUT", tmp_path)
    return tmp_path


def outcome_of(checkout: Path, *tried: Mutant) -> list[Outcome]:
    told: list[Outcome] = []
    names = ["guarded.py", "tests/unit/test_it.py"]
    mutants.Workshop(checkout / "build/mutant", names, told.append, lambda: None).try_all(tried, jobs=2)
    assert (checkout / "guarded.py").read_text() == GUARDED
    return told


def test_a_test_that_fails_without_the_guard_has_caught_the_mutant(checkout: Path) -> None:
    [outcome] = outcome_of(checkout, mutant())
    assert (outcome.problem, outcome.noticed_by) == ("", "test_it.py::test_b")


@pytest.mark.parametrize(
    ("tried", "problem"),
    [
        (mutant(test="tests/unit/test_it.py -k test_a"), "NOT CAUGHT: the test passes without the guard"),
        (mutant(test="tests/unit/test_it.py -k wrong"), "fails with the guard in place (test_it.py::test_wrong)"),
        (mutant(test="tests/unit/test_it.py -k nothing"), "fails with the guard in place (3 deselected"),
        (Mutant("g", "guarded.py", "gone", "", "tests/unit/test_it.py -k test_b"), "its text stands 0 times"),
    ],
)
def test_a_mutant_that_proves_nothing_is_a_problem(checkout: Path, tried: Mutant, problem: str) -> None:
    [outcome] = outcome_of(checkout, tried)
    assert problem in outcome.problem


def test_each_mutant_is_told_and_the_next_finds_the_guard_in_place(checkout: Path) -> None:
    tried = [mutant("first"), mutant("second"), mutant("third", test="tests/unit/test_it.py -k 'test_b'")]
    told = outcome_of(checkout, *tried)
    assert {o.mutant.guard for o in told} == {"first", "second", "third"}
    assert [o.problem for o in told if o.mutant.guard != "third"] == ["", ""]


def test_after_an_interruption_no_other_mutant_is_tried(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["guarded.py", "tests/unit/test_it.py"]
    workshop = mutants.Workshop(checkout / "build/mutant", names, lambda _: None, lambda: None)
    tried: list[str] = []

    def try_one(_: Path, one: Mutant, __: float) -> Outcome:
        tried.append(one.guard)
        if one.guard == "first":
            raise KeyboardInterrupt
        workshop._ended.wait(10)
        return Outcome(one, "", "", 0.0)

    monkeypatch.setattr(mutants, "try_mutant", try_one)
    other = "tests/unit/test_it.py -k test_a"
    with pytest.raises(KeyboardInterrupt):
        workshop.try_all([mutant("first"), mutant("second", test=other), mutant("third", test=other)], jobs=2)
    assert "third" not in tried


def test_mutants_are_chosen_by_words_and_by_changed_files() -> None:
    one = mutant("the gateway's token", "testbed/a.py", "tests/unit/test_a.py -k token")
    two = mutant("hold", "controllers/b.py", "tests/unit/test_b.py")
    assert mutants.select([one, two], ["token", "unknown"], None) == [one]
    assert mutants.select([one, two], ["controllers/"], None) == [two]
    assert mutants.select([one, two], [], {"tests/unit/test_a.py"}) == [one]
    assert mutants.select([one, two], [], {"controllers/b.py", "README.md"}) == [two]
    assert mutants.select([one, two], ["token"], {"controllers/b.py"}) == []


def test_what_was_caught_is_left_out_while_no_file_changes(tmp_path: Path) -> None:
    path = tmp_path / "mutants.json"
    Record.open(path, "tree 1", resume=False).add("a guard")
    assert Record.open(path, "tree 1", resume=True).caught == {"a guard"}
    assert Record.open(path, "tree 2", resume=True).caught == set()
    assert Record.open(path, "tree 1", resume=False).caught == set()


def test_one_changed_byte_is_another_digest(checkout: Path) -> None:
    before = mutants.digest(checkout, ["guarded.py"])
    assert mutants.digest(checkout, ["guarded.py"]) == before
    (checkout / "guarded.py").write_text(GUARDED + " ")
    assert mutants.digest(checkout, ["guarded.py"]) != before


def test_what_a_test_leaves_behind_is_ended() -> None:
    script = """
import os, subprocess, time
from tests import mutants
mutants.adopt_orphans()
subprocess.run(["sh", "-c", "sleep 1000 & echo $!"])
print(mutants.end_children(grace_s=0.1))
"""
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT)
    pid, killed = run.stdout.split()
    assert killed == "1"
    assert not Path(f"/proc/{pid}").exists()


def test_the_summary_repeats_what_was_not_caught(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = Report(2, Record.open(tmp_path / "mutants.json", "tree", resume=False))
    report.tell(Outcome(mutant("good"), "", "test_it.py::test_b", 1.5))
    report.tell(Outcome(mutant("bad"), "NOT CAUGHT: …", "", 2.5))
    assert "  1/2    1.5 s  good: caught by test_it.py::test_b" in capsys.readouterr().out
    assert "bad (guarded.py; tests/unit/test_it.py -k test_b): NOT CAUGHT" in report.summary()
    assert "1 of 2 caught in" in report.summary()
    assert report.record.caught == {"good"}

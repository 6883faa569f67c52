"""Takes each guard out in turn and sees a test fail: `make mutants`, or `python -m tests.mutants --help`.

tests/mutants.toml lists guard, file, the text that is the guard, the text without it, and the test. Mutants are
tried on copies of the checkout, so that an interruption cannot leave a broken tree behind. A mutant fails the
command when its test does not notice it, when its text is no longer in its file, and when its test fails with
the guard in place as well, which would prove nothing.
"""

from __future__ import annotations

import argparse
import ctypes
import hashlib
import json
import os
import queue
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import tomllib
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]
TEST_FAILED = 1
"""pytest's exit code when tests ran and some failed; any other code says nothing about the guard."""
UNIT_TESTS = "tests/unit/"
"""Only these run beside each other; whatever starts a lab has the machine for itself."""
PATIENCE_S = 300.0
"""How much longer than with its guard a test may take: a guard's absence may show in waits that run out."""
PROGRAMS = ("delay_element", "place")
"""What `make setup` compiles."""
INTERRUPTED_S = 60.0
"""So long a test that is interrupted has to take its lab down."""
GRACE_S = 5.0
"""So long what a test leaves behind has to end by itself."""
PR_SET_CHILD_SUBREAPER = 36


@dataclass(frozen=True)
class Mutant:
    """One guard, taken out. `test` is what pytest is given."""

    guard: str
    file: str
    text: str
    without: str
    test: str


@dataclass(frozen=True)
class Outcome:
    """What became of a mutant: `problem` is empty when a test noticed it, else a sentence."""

    mutant: Mutant
    problem: str
    noticed_by: str
    took_s: float


@dataclass(frozen=True)
class TestRun:
    """pytest's exit code (None: it was ended, being too slow), the first test that failed, and its last words."""

    code: int | None
    failed: str
    last_words: str
    took_s: float


@dataclass
class Record:
    """Which mutants of one state of the files were caught: what `--resume` need not try again."""

    path: Path
    tree: str
    caught: set[str] = field(default_factory=set)

    @classmethod
    def open(cls, path: Path, tree: str, resume: bool) -> Record:
        """The record of an earlier run of the same files if `resume`; else an empty one."""
        if resume and path.exists():
            kept = json.loads(path.read_text())
            if kept["tree"] == tree:
                return cls(path, tree, set(kept["caught"]))
        return cls(path, tree)

    def add(self, guard: str) -> None:
        self.caught.add(guard)
        new = self.path.with_suffix(".new")
        new.write_text(json.dumps({"tree": self.tree, "caught": sorted(self.caught)}, indent=1))
        new.replace(self.path)


def load(path: Path) -> list[Mutant]:
    """The mutants of a file; KeyError or TypeError when an entry is not complete."""
    return [Mutant(**entry) for entry in tomllib.loads(path.read_text())["mutant"]]


def files_of(checkout: Path) -> list[str]:
    """The files that git tracks, or would if they were added."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=checkout, capture_output=True, check=True, text=True).stdout
    return sorted(name for name in set(listed.split("\0")) if name and (checkout / name).is_file())


def changed_since(checkout: Path, base: str) -> set[str]:
    """The files that differ from the commit `base`, new ones too; CalledProcessError when there is no such commit."""
    command = ["git", "diff", "-z", "--name-only", base, "--"]
    differ = subprocess.run(command, cwd=checkout, stdout=subprocess.PIPE, check=True, text=True).stdout
    command = ["git", "ls-files", "-z", "--others", "--exclude-standard"]
    new = subprocess.run(command, cwd=checkout, stdout=subprocess.PIPE, check=True, text=True).stdout
    return set(filter(None, (differ + new).split("\0")))


def select(mutants: Iterable[Mutant], words: Sequence[str], changed: set[str] | None) -> list[Mutant]:
    """Those with one of the words in guard, file or test, and, with `changed`, whose file or test is one of these."""
    return [
        m
        for m in mutants
        if (not words or any(word in text for word in words for text in (m.guard, m.file, m.test)))
        and (changed is None or m.file in changed or not changed.isdisjoint(m.test.split()))
    ]


def digest(checkout: Path, names: Iterable[str]) -> str:
    """One value for the contents of all these files."""
    total = hashlib.sha256()
    for name in names:
        total.update(name.encode() + b"\0" + hashlib.sha256((checkout / name).read_bytes()).digest())
    return total.hexdigest()


def copy_checkout(names: Iterable[str], copy: Path) -> Path:
    """A fresh copy of these files, on the same environment."""
    for name in names:
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(CHECKOUT / name, copy / name)
    (copy / ".venv").symlink_to(CHECKOUT / ".venv")
    (copy / "build").mkdir()
    for program in PROGRAMS:
        shutil.copy2(CHECKOUT / "build" / program, copy / "build")
    return copy


def run_test(copy: Path, test: str, limit_s: float | None = None) -> TestRun:
    """Run pytest there until its first failure, and for `limit_s` at most."""
    environment = {**os.environ, "PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "pytest", "-x", "-q", *test.split()]
    started_s = time.monotonic()
    with subprocess.Popen(
        command, cwd=copy, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as pytest:
        try:
            output, code = pytest.communicate(timeout=limit_s)[0], pytest.returncode
        except subprocess.TimeoutExpired:
            output, code = _end(pytest), None
    failed = re.search(r"^(?:FAILED|ERROR) (?! )(?:[^:\s]*/)?(.+?)(?: - |$)", output, re.MULTILINE)
    last = output.strip().splitlines()[-1:] or [""]
    return TestRun(code, failed.group(1) if failed else "", last[0], time.monotonic() - started_s)


def _end(pytest: subprocess.Popen[str]) -> str:
    """Interrupt pytest, so that fixtures take their labs down; its output."""
    pytest.send_signal(signal.SIGINT)
    try:
        return pytest.communicate(timeout=INTERRUPTED_S)[0]
    except subprocess.TimeoutExpired:
        pytest.kill()
        return pytest.communicate()[0]


def adopt_orphans() -> None:
    """Make this process the parent of what its descendants leave behind."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)


def end_children(grace_s: float = GRACE_S) -> int:
    """End what a test left behind: without its guard it may leave a lab. How many processes had to be killed."""
    deadline = time.monotonic() + grace_s
    killed = 0
    while children := _children():
        late = time.monotonic() > deadline
        for pid in children:
            if late:
                os.kill(pid, signal.SIGKILL)
                killed += 1
            os.waitpid(pid, 0 if late else os.WNOHANG)
        time.sleep(0.05)
    return killed


def _children() -> list[int]:
    tasks = Path("/proc/self/task").glob("*/children")
    return [int(pid) for task in tasks for pid in task.read_text().split()]


def try_mutant(copy: Path, mutant: Mutant, limit_s: float) -> Outcome:
    """Take the guard out of the copy, run the test, put it back."""
    path = copy / mutant.file
    original = path.read_text()
    if (count := original.count(mutant.text)) != 1:
        problem = f"its text stands {count} times in {mutant.file}; it must stand there once"
        return Outcome(mutant, problem, "", 0.0)
    try:
        _write(copy, path, original.replace(mutant.text, mutant.without))
        run = run_test(copy, mutant.test, limit_s)
    except subprocess.CalledProcessError:
        return Outcome(mutant, f"NOT DECIDED: {mutant.file} does not compile without the guard", "", 0.0)
    finally:
        _write(copy, path, original)
    if run.code == TEST_FAILED:
        problem = ""
    elif run.code is None:
        problem = f"NOT DECIDED: without the guard the test does not end within {limit_s:.0f} s"
    elif run.code == 0:
        problem = "NOT CAUGHT: the test passes without the guard"
    else:
        problem = f"NOT DECIDED: pytest ended with {run.code} ({run.last_words}); name a test that runs"
    return Outcome(mutant, problem, run.failed, run.took_s)


def _write(copy: Path, path: Path, text: str) -> None:
    """Write a source file, and make the program that comes of it."""
    path.write_text(text)
    if path.suffix == ".c":
        program = copy / "build" / path.stem
        program.unlink(missing_ok=True)
        subprocess.run(["make", "--silent", f"build/{path.stem}"], cwd=copy, check=True)


def groups_of(mutants: Iterable[Mutant]) -> list[list[Mutant]]:
    """Mutants by their test, in the order of their first."""
    groups: dict[str, list[Mutant]] = {}
    for mutant in mutants:
        groups.setdefault(mutant.test, []).append(mutant)
    return list(groups.values())


class Workshop:
    """Copies of the checkout, and mutants being tried on them."""

    def __init__(
        self, folder: Path, names: Sequence[str], tell: Callable[[Outcome], None], tidy: Callable[[], object]
    ) -> None:
        """`tell` is told each outcome, one at a time; `tidy` is called between tests where no other one runs."""
        self.folder = folder
        self.names = names
        self.tell = tell
        self.tidy = tidy
        self._copies: queue.SimpleQueue[Path] = queue.SimpleQueue()
        self._telling = threading.Lock()
        self._ended = threading.Event()
        self._alone = False

    def try_all(self, mutants: Sequence[Mutant], jobs: int) -> None:
        """Try them, `jobs` groups at a time."""
        groups = groups_of(mutants)
        workers = min(jobs, len(groups))
        self._alone = workers == 1
        while self._copies.qsize() < workers:
            self._copies.put(copy_checkout(self.names, self.folder / str(self._copies.qsize())))
        self._ended.clear()
        with ThreadPoolExecutor(max(1, workers)) as pool:
            try:
                for _ in pool.map(self._try_group, groups):
                    pass
            finally:  # when interrupted, each worker ends after the test that it is at
                self._ended.set()
        self.tidy()

    def _try_group(self, mutants: Sequence[Mutant]) -> None:
        """Try mutants that have their test in common, once that test was seen to pass with every guard in place."""
        copy = self._copies.get()
        try:
            intact = run_test(copy, mutants[0].test)
            for mutant in mutants:
                if intact.code == 0:
                    outcome = try_mutant(copy, mutant, 2 * intact.took_s + PATIENCE_S)
                    if self._alone:
                        self.tidy()
                else:
                    failed = intact.failed or intact.last_words
                    outcome = Outcome(mutant, f"NOT DECIDED: its test fails with the guard in place ({failed})", "", 0)
                if self._ended.is_set():
                    return
                with self._telling:
                    self.tell(outcome)
        finally:
            self._copies.put(copy)


@dataclass
class Report:
    """Prints outcomes as they come and sums them up."""

    total: int
    record: Record
    outcomes: list[Outcome] = field(default_factory=list)
    started_s: float = field(default_factory=time.monotonic)

    def tell(self, outcome: Outcome) -> None:
        self.outcomes.append(outcome)
        if not outcome.problem:
            self.record.add(outcome.mutant.guard)
        words = outcome.problem or f"caught by {outcome.noticed_by}"
        place = f"{len(self.outcomes):>3}/{self.total}"
        print(f"{place} {outcome.took_s:6.1f} s  {outcome.mutant.guard}: {words}", flush=True)

    def summary(self) -> str:
        """How many were caught, how long it took, and again those that were not."""
        missed = [o for o in self.outcomes if o.problem]
        lines = [f"{o.mutant.guard} ({o.mutant.file}; {o.mutant.test}): {o.problem}" for o in missed]
        slowest = max(self.outcomes, key=lambda o: o.took_s, default=None)
        minutes = (time.monotonic() - self.started_s) / 60
        lines.append(f"{len(self.outcomes) - len(missed)} of {self.total} caught in {minutes:.1f} min")
        if slowest:
            lines[-1] += f"; the slowest, {slowest.took_s:.0f} s: {slowest.mutant.guard}"
        return "\n".join(lines)


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=(__doc__ or "").partition("\n")[0])
    add = parser.add_argument
    add("words", nargs="*", help="only mutants with one of these in guard, file or test")
    since = "only mutants whose file or test differs from COMMIT (HEAD where none is given)"
    add("--changed", nargs="?", const="HEAD", metavar="COMMIT", help=since)
    add("--only", choices=("unit", "lab"), help="only mutants of unit tests, or only the others")
    at_a_time = "unit tests at a time (default: one a CPU); what starts a lab always runs alone"
    add("--jobs", type=int, default=os.cpu_count() or 1, metavar="N", help=at_a_time)
    unchanged = "leave out what was caught already, provided that no file has changed since"
    add("--resume", action="store_true", help=unchanged)
    add("--list", action="store_true", help="print what would be tried, and try nothing")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Try the mutants that are chosen; 1 when one of them was not caught."""
    options = parse(sys.argv[1:] if arguments is None else arguments)
    changed = changed_since(CHECKOUT, options.changed) if options.changed else None
    mutants = select(load(CHECKOUT / "tests" / "mutants.toml"), options.words, changed)
    unit = [m for m in mutants if m.test.startswith(UNIT_TESTS) and options.only != "lab"]
    lab = [m for m in mutants if not m.test.startswith(UNIT_TESTS) and options.only != "unit"]
    names = files_of(CHECKOUT)
    record = Record.open(CHECKOUT / "build" / "mutants.json", digest(CHECKOUT, names), options.resume)
    unit, lab = ([m for m in chosen if m.guard not in record.caught] for chosen in (unit, lab))
    if options.list:
        print(*(f"{m.guard}  ({m.file}; {m.test})" for m in unit + lab), sep="\n")
        return 0
    folder = CHECKOUT / "build" / "mutant"
    shutil.rmtree(folder, ignore_errors=True)
    report = Report(len(unit) + len(lab), record)
    adopt_orphans()
    workshop = Workshop(folder, names, report.tell, end_children)
    try:
        workshop.try_all(unit, max(1, options.jobs))
        workshop.try_all(lab, 1)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        print(report.summary())
    return 1 if any(o.problem for o in report.outcomes) else 0


if __name__ == "__main__":
    sys.exit(main())

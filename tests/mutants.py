"""Takes each guard out in turn and sees a test fail: `make mutants`.

tests/mutants.toml lists guard, file, the text that is the guard, the text without it, and the test. Each
mutant is tried on a copy of the checkout, so that an interruption cannot leave a broken tree behind.
A mutant that its test does not notice, or whose text is no longer in its file, fails the command.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]
COPY = CHECKOUT / "build" / "mutant"
TEST_FAILED = 1
"""pytest's exit code when tests ran and some failed; any other code says nothing about the guard."""


@dataclass(frozen=True)
class Mutant:
    """One guard, taken out. `test` is what pytest is given."""

    guard: str
    file: str
    text: str
    without: str
    test: str


def load(path: Path) -> list[Mutant]:
    """The mutants of a file; KeyError or TypeError when an entry is not complete."""
    return [Mutant(**entry) for entry in tomllib.loads(path.read_text())["mutant"]]


def copy_checkout() -> None:
    """A fresh copy of the tracked files, on the same environment."""
    shutil.rmtree(COPY, ignore_errors=True)
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=CHECKOUT, capture_output=True, check=True).stdout
    for name in filter(None, tracked.decode().split("\0")):
        source = CHECKOUT / name
        if source.exists():
            (COPY / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, COPY / name)
    (COPY / ".venv").symlink_to(CHECKOUT / ".venv")
    (COPY / "build").mkdir()
    shutil.copy2(CHECKOUT / "build" / "delay_element", COPY / "build")


def run_test(test: str) -> int:
    environment = {**os.environ, "PYTHONPATH": str(COPY), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "pytest", "-x", "-q", *test.split()]
    return subprocess.run(command, cwd=COPY, env=environment, capture_output=True, check=False).returncode


def verdict(mutant: Mutant) -> str:
    """ "caught", or what is wrong."""
    path = COPY / mutant.file
    original = path.read_text()
    if original.count(mutant.text) != 1:
        return f"its text stands {original.count(mutant.text)} times in {mutant.file}; it must stand there once"
    path.write_text(original.replace(mutant.text, mutant.without))
    try:
        code = run_test(mutant.test)
    finally:
        path.write_text(original)
    if code == TEST_FAILED:
        return "caught"
    return "NOT CAUGHT: the test passes without the guard" if code == 0 else f"pytest ended with {code}; name a test"


def main() -> None:
    """Try all mutants, or those whose guard contains a word of the command line."""
    words = sys.argv[1:]
    mutants = [m for m in load(CHECKOUT / "tests" / "mutants.toml") if not words or any(w in m.guard for w in words)]
    copy_checkout()
    missed = 0
    for number, mutant in enumerate(mutants, 1):
        result = verdict(mutant)
        missed += result != "caught"
        print(f"{number:>3}/{len(mutants)}  {mutant.guard}: {result}", flush=True)
    shutil.rmtree(COPY, ignore_errors=True)
    print(f"{len(mutants) - missed} of {len(mutants)} caught")
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()

"""Runs one subject in this process and writes its result: what `python -m bench` starts for each.

`python -m bench.one SUBJECT --out FOLDER [--quick] [--seed N] [--profile] [--progress-fd FD]`.
Progress goes to the descriptor as lines of JSON. The result is written even when the subject fails: then it
says why, and its budgets are unverified.
"""

from __future__ import annotations

import argparse
import cProfile
import json
import os
import pstats
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench.machine import Observer
from bench.outcome import Outcome
from bench.subject import SUBJECTS, Context, Subject
from testbed.model.errors import TestbedError

SCHEMA = 1
PROFILE_LINES = 45
MISSED = 20
"""Exit code when there is a result in which a budget is missed or a problem told; Python's own for a crash is 1."""


def measure(subject: Subject, context: Context, command: Sequence[str]) -> dict[str, Any]:
    """The whole result of a subject, as it is written."""
    observer = Observer()
    problem = None
    outcome = Outcome()
    try:
        outcome = subject.function()(context)
    except (TestbedError, OSError) as error:
        problem = str(error)
    started, machine = observer.finish(outcome.datapath)
    return {
        "schema": SCHEMA,
        "subject": subject.name,
        "what": subject.what,
        "started": started,
        "took_s": machine.pop("took_s"),
        "command": list(command),
        "quick": context.quick,
        "seed": context.seed,
        "commit": machine.pop("commit"),
        "uncommitted_changes": machine.pop("uncommitted_changes"),
        "machine": machine,
        "budgets": outcome.budgets_json(subject.budgets, quick=context.quick),
        "problems": [*outcome.problems, *([problem] if problem else [])],
        "facts": outcome.facts,
        "tables": outcome.tables,
        "series": outcome.series,
    }


def profile(subject: Subject, context: Context, folder: Path) -> None:
    """Another pass, under the profiler; what is written is for reading, its times are not results."""
    folder.mkdir(parents=True, exist_ok=True)
    own = cProfile.Profile()
    context = replace(context, profile_folder=folder)
    own.runcall(subject.function(), context)
    own.dump_stats(folder / f"{subject.name}.bench.prof")
    for path in sorted(folder.glob(f"{subject.name}.*.prof")):
        write_text(path)


def write_text(path: Path) -> None:
    """A profile in words, beside it: the functions that took most time themselves, then with what they called."""
    with path.with_suffix(".txt").open("w") as text:
        stats = pstats.Stats(str(path), stream=text)
        for order in ("tottime", "cumulative"):
            stats.sort_stats(order).print_stats(PROFILE_LINES)
    path.unlink()


def write(result: dict[str, Any], folder: Path) -> Path:
    """The result as FOLDER/<subject>.json, whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{result['subject']}.json"
    new = path.with_suffix(".new")
    new.write_text(json.dumps(result, indent=1) + "\n")
    new.replace(path)
    return path


def reporter(fd: int | None) -> Callable[[float, str], None]:
    """Says how far the subject is; to nobody when there is no descriptor."""
    if fd is None:
        return lambda _share, _what: None
    pipe = os.fdopen(fd, "w")

    def say(share: float, what: str) -> None:
        pipe.write(json.dumps({"share": share, "what": what}) + "\n")
        pipe.flush()

    return say


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.one")
    parser.add_argument("subject", choices=sorted(SUBJECTS))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--progress-fd", type=int)
    parser.add_argument("--command", type=json.loads, default=[], help="what the user typed, as JSON")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started is ended
    subject = SUBJECTS[options.subject]
    context = Context(options.quick, options.seed, reporter(options.progress_fd))
    began = time.monotonic()
    result = measure(subject, context, options.command)
    path = write(result, options.out)
    for problem in result["problems"]:
        print(f"{subject.name}: {problem}", file=sys.stderr)
    if options.profile:
        profile(subject, context, options.out / "profiles")
    context.progress(1.0, f"{path} after {time.monotonic() - began:.0f} s")
    return MISSED if result["problems"] or any(one["verdict"] == "missed" for one in result["budgets"]) else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:  # whoever started this says so
        sys.exit(130)

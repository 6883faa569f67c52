"""`make bench`: measures the budgets, subject by subject, and writes what it found to bench/results.

`python -m bench [SUBJECT …] [--quick] [--all] [--profile] [--out FOLDER] [--seed N]` runs the subjects named, or
all but the extra ones; `python -m bench report` makes the tables of docs/performance.md from the results again.
What is compared is measured in turns within one run, so that the machine's mood cancels out. The exit code
is 1 when a budget was missed or a subject failed.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from bench import report
from bench.one import MISSED
from bench.subject import Subject, chosen
from experiments.progress import Steps
from testbed.model.checkout import CHECKOUT
from testbed.model.errors import TestbedError

RESULTS = CHECKOUT / "bench" / "results"
DOCUMENT = CHECKOUT / "docs" / "performance.md"


def run(subject: Subject, options: argparse.Namespace, steps: Steps) -> int:
    """One subject in a process of its own; its exit code."""
    weight = subject.expected_s[1 if options.quick else 0]
    read_fd, write_fd = os.pipe()
    argv = [
        sys.executable, "-m", "bench.one", subject.name, "--out", str(options.out.resolve()),
        "--seed", str(options.seed), "--progress-fd", str(write_fd),
        *(["--quick"] if options.quick else []), *(["--profile"] if options.profile else []),
        "--command", json.dumps(["python", "-m", "bench", *options.arguments]),
    ]  # fmt: skip
    process = subprocess.Popen(argv, cwd=CHECKOUT, pass_fds=[write_fd])
    os.close(write_fd)
    done = 0.0
    try:
        with os.fdopen(read_fd) as pipe:
            for line in pipe:
                said = json.loads(line)
                steps.advance(weight * max(0.0, said["share"] - done), f"{subject.name}: {said['what']}")
                done = max(done, said["share"])
        steps.advance(weight * (1 - done), subject.name)
        return process.wait()
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait()


def run_all(options: argparse.Namespace) -> int:
    subjects = chosen(tuple(options.subjects), everything=options.all)
    console = Console()
    failed = []
    with Steps(console, sum(subject.expected_s[1 if options.quick else 0] for subject in subjects)) as steps:
        for subject in subjects:
            steps.say(f"{subject.name}: {subject.what}")
            code = run(subject, options, steps)
            if code != 0:
                failed.append(subject.name)
            if code not in (0, MISSED):
                print(f"bench: {subject.name} ended without a result; see above", file=sys.stderr)
                continue
            console.print(
                report.terminal(options.out / f"{subject.name}.json"), highlight=False, markup=False, soft_wrap=True
            )
    if failed:
        print(f"bench: {', '.join(failed)} missed a budget or failed", file=sys.stderr)
    return 1 if failed else 0


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measures the testbed's budgets.")
    parser.add_argument("subjects", nargs="*", metavar="SUBJECT", help="which to run; `report` makes the document")
    parser.add_argument("--quick", action="store_true", help="tiny counts: whether it runs, not how fast")
    parser.add_argument("--all", action="store_true", help="the slow subjects too")
    parser.add_argument(
        "--profile", action="store_true", help="then a second pass under cProfile, whose times do not count"
    )
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the results")
    parser.add_argument("--seed", type=int, default=1, help="decides every random order")
    parser.add_argument("--document", type=Path, default=DOCUMENT, help="what `report` writes its tables into")
    options = parser.parse_args(arguments)
    options.arguments = list(arguments)
    return options


def main() -> int:
    options = parse(sys.argv[1:])
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that a subject and its lab end too
    try:
        if options.subjects == ["report"]:
            report.update(options.document, options.out)
            return 0
        return run_all(options)
    except TestbedError as error:
        print(f"bench: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("bench: interrupted; the results of the subjects that were finished are kept", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())

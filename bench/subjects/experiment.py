"""How long `experiment` with no argument takes on a machine that is set up already."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time

from bench.outcome import Outcome, median_of
from bench.rigs.proxies import scratch
from bench.subject import Context
from testbed.model.checkout import CHECKOUT
from testbed.model.errors import LabError

EXIT_INVALID = 6
"""It ran to its end and does not believe itself: the time counts, and the result says so."""


def run(context: Context) -> Outcome:
    outcome, minutes = Outcome(), []
    runs = context.count(2, 1)
    quick = ["--lengths", "1,2", "--repetitions", "4", "--delay", "0"] if context.quick else []
    for n in range(runs):
        context.progress(n / runs, f"run {n + 1} of {runs}")
        with tempfile.TemporaryDirectory(prefix="bench-runs-", dir=scratch()) as folder:
            argv = [sys.executable, "-m", "testbed.run", "experiment", *quick, "--out", folder]
            started = time.perf_counter()
            done = subprocess.run(argv, cwd=CHECKOUT, capture_output=True, text=True, check=False)
            minutes.append((time.perf_counter() - started) / 60)
        if done.returncode == EXIT_INVALID:
            outcome.problems.append(f"run {n + 1} judged itself INVALID")
        elif done.returncode != 0:
            raise LabError(f"`experiment` ended with {done.returncode}: {done.stderr.strip()[-500:]}")
    outcome.add_series("experiment", "min", minutes)
    outcome.figure("experiment-default", median_of(minutes, context.seed))
    return outcome

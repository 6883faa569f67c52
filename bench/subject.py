"""What every subject of the bench is: a function that measures one thing, and what it is given to do so.

The subjects are named here as modules; one is imported only in the process that runs it, so that what
one leaves behind in memory cannot weigh on the next.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from bench.budgets import BUDGETS
from bench.outcome import Outcome
from testbed.model.errors import UsageError


@dataclass(frozen=True)
class Subject:
    """`expected_s`: how long it takes in full and with --quick; `extra`: only when named or with --all."""

    name: str
    module: str
    what: str
    expected_s: tuple[float, float]
    extra: bool = False

    @property
    def budgets(self) -> tuple[str, ...]:
        return tuple(budget.name for budget in BUDGETS if budget.subject == self.name)

    def function(self) -> Callable[[Context], Outcome]:
        run: Callable[[Context], Outcome] = importlib.import_module(self.module).run
        return run


@dataclass(frozen=True)
class Context:
    """How much to measure, with which seed, and where to say how far it is (a share of the whole, 0..1).

    `profile_folder` is set in a pass that is only there to be profiled; its figures mean nothing.
    """

    quick: bool
    seed: int
    progress: Callable[[float, str], None]
    profile_folder: Path | None = None

    def count(self, full: int, quick: int) -> int:
        """How many: the small number says only whether it runs."""
        return quick if self.quick else full


SUBJECTS: Mapping[str, Subject] = {
    subject.name: subject
    for subject in (
        Subject("generator", "bench.subjects.generator", "the flow generator as the cluster grows", (110, 17)),
        Subject("start", "bench.subjects.start", "until a lab is ready", (30, 6)),
        Subject("sandboxes", "bench.subjects.sandboxes", "one more sandbox in a running lab", (45, 6)),
        Subject("crowd", "bench.subjects.crowd", "one lab with 500 functions", (150, 20)),
        Subject("changes", "bench.subjects.changes", "from an event to every switch's barrier", (35, 8)),
        Subject("pipeline", "bench.subjects.pipeline", "the pipeline against plain forwarding", (25, 8)),
        Subject("activation", "bench.subjects.activation", "from no instance to the first answer", (120, 12)),
        Subject("isolation", "bench.subjects.isolation", "what a place adds to a cold start", (40, 12)),
        Subject(
            "flood", "bench.subjects.flood", "another tenant under a flood of packets for the controller", (50, 12)
        ),
        Subject("hang", "bench.subjects.hang", "beside a switch that hangs", (150, 20)),
        Subject("streams", "bench.subjects.streams", "a large upload and idle connections", (60, 6)),
        Subject("gateway", "bench.subjects.gateway", "the gateway beside HAProxy", (280, 8)),
        Subject("experiment", "bench.subjects.experiment", "`experiment` with no argument", (360, 60), extra=True),
        Subject("lab-kernel", "bench.subjects.lab_kernel", "the lab kernel", (120, 120), extra=True),
    )
}


def chosen(names: tuple[str, ...], *, everything: bool) -> list[Subject]:
    """The subjects to run, in their own order. UsageError names one that does not exist."""
    unknown = [name for name in names if name not in SUBJECTS]
    if unknown:
        raise UsageError(f"bench has no subject {unknown[0]!r}; it has {', '.join(SUBJECTS)}")
    return [
        subject
        for subject in SUBJECTS.values()
        if subject.name in names or (not names and (everything or not subject.extra))
    ]

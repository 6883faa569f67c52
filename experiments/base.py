"""What an experiment is: prepare, run, process; and how one is found and carried out by name.

`process` works from a run's raw data alone, so `report` is the same code run again. Nothing here knows
what any experiment measures.
"""

from __future__ import annotations

import importlib
import signal
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, ClassVar

from rich.console import Console

from experiments import manifest
from experiments.rundir import RunFolder
from testbed.measure.fidelity import Verdict
from testbed.model.errors import InvalidResult, UsageError
from testbed.network.lab import check_startable


class Profile(str, Enum):
    """How much an experiment does."""

    SMOKE = "smoke"
    CLASS = "class"
    PAPER = "paper"


@dataclass(frozen=True)
class Options:
    """What a user may ask of an experiment; None leaves it to the profile.

    `delays_ms` are one-way delays of a trunk. `plant` names a known effect that is built in so that
    one can see it found.
    """

    profile: Profile = Profile.SMOKE
    seed: int = 1
    datapath: str | None = None
    delays_ms: tuple[float, ...] | None = None
    lengths: tuple[int, ...] | None = None
    placements: tuple[str, ...] | None = None
    upstreams: tuple[str, ...] | None = None
    connection: str | None = None
    repetitions: int | None = None
    plant: str | None = None
    lab_name: str = "experiment"


@dataclass(frozen=True)
class Outcome:
    """What came out: where it lies and how far to believe it."""

    folder: Path
    verdict: Verdict
    sentence: str


class Experiment(ABC):
    """One figure or table of the paper, measured."""

    name: ClassVar[str]
    title: ClassVar[str]
    minutes: ClassVar[Mapping[Profile, float]]
    """About how long each profile takes on a two-core machine."""
    plants: ClassVar[Sequence[str]] = ()

    @abstractmethod
    def configure(self, options: Options) -> dict[str, Any]:
        """The resolved configuration: plain values, complete, the same for the same options.

        Raises:
            UsageError: an option is outside what the experiment can do.
        """

    @abstractmethod
    def prepare(self, config: Mapping[str, Any], run: RunFolder, console: Console) -> AbstractContextManager[Any]:
        """Everything up to the first measurement; the context ends what it started."""

    @abstractmethod
    def run(self, session: Any) -> None:
        """Measure, and write raw data."""

    @abstractmethod
    def process(self, run: RunFolder) -> Outcome:
        """Results, figures and report from raw data alone."""

    @abstractmethod
    def present(self, run: RunFolder, console: Console) -> None:
        """The summary on the terminal, from the processed results."""


MODULES = {"chain-length": "experiments.chain_length"}
"""Name of each experiment -> the module whose EXPERIMENT it is. Imported when asked for: listing stays quick."""


def names() -> list[str]:
    """The experiments that there are."""
    return sorted(MODULES)


def get(name: str) -> Experiment:
    """The experiment of this name. UsageError names those that exist."""
    if name not in MODULES:
        raise UsageError(f"there is no experiment {name!r}; there is: {', '.join(names())}")
    experiment: Experiment = importlib.import_module(MODULES[name]).EXPERIMENT
    return experiment


def run(name: str, options: Options, out: Path, command_line: Sequence[str], console: Console) -> Outcome:
    """Carry out an experiment from start to printed summary.

    Raises:
        InvalidResult: it ran to its end and its checks say not to believe it.
        TestbedError: it could not be carried out; the run directory says so.
    """
    experiment = get(name)
    config = experiment.configure(options)
    check_startable(options.lab_name, options.datapath)
    folder = RunFolder.create(out, name, config, manifest.collect(command_line, options.seed))
    with folder.recording(), _termination_interrupts():
        with experiment.prepare(config, folder, console) as session:
            experiment.run(session)
        outcome = experiment.process(folder)
    experiment.present(folder, console)
    return _judged(outcome)


def report(path: Path, console: Console) -> Outcome:
    """Make the results of an existing run again from its raw data.

    Raises:
        UsageError: the folder holds no complete run.
        InvalidResult: as for `run`.
    """
    folder = RunFolder.open(path)
    experiment = get(str(folder.manifest()["experiment"]))
    outcome = experiment.process(folder)
    experiment.present(folder, console)
    return _judged(outcome)


def _judged(outcome: Outcome) -> Outcome:
    if outcome.verdict is Verdict.INVALID:
        raise InvalidResult(f"verdict INVALID: {outcome.sentence}; see {outcome.folder / 'report.html'}")
    return outcome


@contextmanager
def _termination_interrupts() -> Iterator[None]:
    """SIGTERM ends a run as Ctrl-C does, so that the run directory is marked and the lab is stopped."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(number: int, _frame: Any) -> None:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)

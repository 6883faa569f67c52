"""All attempts by all attackers, as rows of a table."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

from tests.lab.isolation import burdens, data, files, kernel, network, processes
from tests.lab.isolation.attempt import Answer, Attempt
from tests.lab.isolation.scene import ATTACKERS, FREE, Attacker, Scene

GROUPS: Mapping[str, tuple[Attempt, ...]] = {
    "processes": processes.ATTEMPTS,
    "files": files.ATTEMPTS,
    "kernel": kernel.ATTEMPTS,
    "network": network.ATTEMPTS,
    "data": data.ATTEMPTS,
    "burdens": burdens.ATTEMPTS,
}
NOT_THERE = Answer(False, "nothing of the kind here")
LONGEST_SAID = 60
PROBE_PAUSE_S = 0.2
UNANSWERED_S = 5.0
"""A call that waits longer than that, on a machine under a burden, counts as not answered."""


@dataclass(frozen=True)
class Outcome:
    """What came of one attempt by one attacker."""

    succeeded: bool
    said: str

    def __str__(self) -> str:
        said = " ".join(self.said.split())[:LONGEST_SAID]
        return f"{'SUCCEEDS' if self.succeeded else 'refused'}{': ' if said else ''}{said}"


@dataclass(frozen=True)
class Row:
    """One attempt, and what came of it by attacker."""

    group: str
    attempt: Attempt
    outcomes: Mapping[Attacker, Outcome]

    @property
    def successes(self) -> dict[str, str]:
        return {one.title: str(outcome) for one, outcome in self.outcomes.items() if outcome.succeeded}


class Probe(threading.Thread):
    """Calls another tenant's function all the while."""

    def __init__(self, scene: Scene) -> None:
        super().__init__(daemon=True)
        self._scene, self._ended = scene, threading.Event()
        self.failed = 0

    def run(self) -> None:
        self._scene.lab.enter()
        while not self._ended.wait(PROBE_PAUSE_S):
            started_s = time.monotonic()
            if not self._scene.bystander_answers() or time.monotonic() - started_s > UNANSWERED_S:
                self.failed += 1

    def end(self) -> None:
        self._ended.set()
        self.join()


@contextmanager
def probed(scene: Scene, wanted: bool) -> Iterator[Probe]:
    probe = Probe(scene)
    if wanted:
        probe.start()
    try:
        yield probe
    finally:
        if wanted:
            probe.end()


def attempt_by(attempt: Attempt, scene: Scene) -> Outcome:
    """One attempt by the attacker whose turn it is; the first order that succeeds counts, or the last."""
    answer, succeeded = NOT_THERE, False
    with probed(scene, attempt.heavy) as probe:
        for order in attempt.orders(scene):
            answer = scene.order(order)
            if succeeded := attempt.succeeded(scene, answer):
                break
    if succeeded:
        attempt.tidy(scene)
    if answer.ok is None:
        scene.recover()
    said = answer.said
    if probe.failed:
        said = f"{probe.failed} calls of another tenant failed; {said}"
    return Outcome(succeeded or bool(probe.failed), said)


def row(group: str, attempt: Attempt, scene: Scene, attackers: Sequence[Attacker], pool: ThreadPoolExecutor) -> Row:
    """One attempt by all attackers: side by side, or one after another where only one may be at it."""
    turns = {one: scene.turn(one) for one in attackers if one.program in attempt.programs}
    if attempt.heavy:
        turns.pop(FREE, None)  # nothing would bound it
    if attempt.alone:
        outcomes = [attempt_by(attempt, turn) for turn in turns.values()]
    else:
        outcomes = list(pool.map(lambda turn: attempt_by(attempt, turn), turns.values()))
    return Row(group, attempt, dict(zip(turns, outcomes, strict=True)))


def rows(scene: Scene, groups: Iterable[str] = GROUPS, attackers: Sequence[Attacker] = ATTACKERS) -> Iterator[Row]:
    """The table, a row at a time."""
    with ThreadPoolExecutor(len(attackers), initializer=scene.lab.enter) as pool:
        for group in groups:
            for attempt in GROUPS[group]:
                yield row(group, attempt, scene, attackers, pool)


def heading(attackers: Sequence[Attacker] = ATTACKERS) -> str:
    """The first two lines of a table in Markdown."""
    return f"| | attempt | {' | '.join(one.title for one in attackers)} |\n|---|---|{'---|' * len(attackers)}"


def markdown(table: Iterable[Row], attackers: Sequence[Attacker] = ATTACKERS) -> Iterator[str]:
    """The lines of a table in Markdown, without its heading."""
    for one in table:
        cells = [str(one.outcomes.get(attacker, "")).replace("|", "\\|") for attacker in attackers]
        yield f"| {one.group} | {one.attempt.name} | {' | '.join(cells)} |"

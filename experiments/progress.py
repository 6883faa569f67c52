"""How far long work has come and how long it will still take.

On a terminal a bar; elsewhere (logs, CI) a plain line every ten seconds. The time remaining comes from
the weights of the steps, not from their number: a cell with long chains takes longer than one with short.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

PLAIN_EVERY_S = 10.0


class Steps:
    """Progress over steps of known weight.

    Args:
        total: the sum of all weights, in any unit.
    """

    def __init__(self, console: Console, total: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._console = console
        self._total = total
        self._clock = clock
        self._done = 0.0
        self._begun_s = clock()
        self._said_s = self._begun_s
        self._bar: Progress | None = None
        if console.is_terminal:
            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                TextColumn("{task.percentage:>3.0f} %  {task.fields[left]}"),
                console=console,
                transient=True,
            )
            self._task = self._bar.add_task("", total=total, left="")

    def say(self, what: str) -> None:
        """Name what is happening now."""
        if self._bar:
            self._bar.update(self._task, description=what)
        else:
            self._plain(what)

    def advance(self, weight: float, what: str) -> None:
        """A step of this weight is done."""
        self._done += weight
        if self._bar:
            self._bar.update(self._task, completed=self._done, description=what, left=self.remaining())
        else:
            self._plain(what)

    def remaining(self) -> str:
        """The time that is left, in words; empty before anything is known."""
        elapsed_s = self._clock() - self._begun_s
        if self._done <= 0:
            return ""
        left_s = max(0.0, elapsed_s * (self._total - self._done) / self._done)
        return f"about {left_s:.0f} s left" if left_s < 90 else f"about {left_s / 60:.0f} min left"

    def _plain(self, what: str) -> None:
        now_s = self._clock()
        if now_s - self._said_s >= PLAIN_EVERY_S:
            self._said_s = now_s
            share = self._done / self._total if self._total else 0.0
            self._console.print(f"{share:4.0%}  {what}  {self.remaining()}".rstrip(), highlight=False)

    def __enter__(self) -> Steps:
        if self._bar:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar:
            self._bar.stop()

"""How long changes take from the event to the last switch's barrier. Keeps times, takes none. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

KEPT_MEASUREMENTS = 10_000


@dataclass(frozen=True)
class Measurement:
    """How long one change took. The three times add up to that from its first event to the last barrier."""

    version: int
    events: int
    generate_ms: float
    translate_ms: float
    install_ms: float
    messages: int


@dataclass(eq=False)
class Change:
    """One change under way. `open`: the nodes whose switches have not confirmed it. Times in s of one clock."""

    started_s: float
    version: int = 0
    events: int = 0
    generate_s: float = 0.0
    open: set[int] = field(default_factory=set)
    translate_s: float = 0.0
    messages: int = 0
    is_sealed: bool = False  # some switch is being sent it already: what happens now is another change


class Latencies:
    """The last changes that every switch concerned has confirmed."""

    def __init__(self) -> None:
        self.measurements: deque[Measurement] = deque(maxlen=KEPT_MEASUREMENTS)
        self._newest: Change | None = None

    def begun(self, started_s: float, generated_s: float, version: int, events: int, nodes: Iterable[int]) -> Change:
        """Something has changed on these nodes. What nobody was sent yet is the same change."""
        change = self._newest
        if change is None or change.is_sealed:
            change = self._newest = Change(started_s)
        change.version = version
        change.events += events
        change.generate_s += generated_s - started_s
        change.open.update(nodes)
        return change

    def confirmed(self, change: Change, node: int, translate_s: float, messages: int, now_s: float) -> None:
        """A switch has taken its part, of so many messages; the last one ends the change."""
        change.translate_s += translate_s
        change.messages += messages
        self.left(change, node)
        if not change.open and change.messages:
            install_s = now_s - change.started_s - change.generate_s - change.translate_s
            times_s = (change.generate_s, change.translate_s, install_s)
            generate_ms, translate_ms, install_ms = (round(seconds * 1000, 3) for seconds in times_s)
            self.measurements.append(
                Measurement(change.version, change.events, generate_ms, translate_ms, install_ms, change.messages)
            )

    def left(self, change: Change, node: int) -> None:
        """A switch is gone or is to be read anew: it has no part in this change any more."""
        change.open.discard(node)

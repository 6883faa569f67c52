"""Which calls to functions without an instance are held, and when each is released, refused or given up. Pure.

A state machine: it is told what a switch handed over, which functions can be reached, what the scaler
said and what time it is, and returns what to send. It sends nothing and asks nobody (effects.py does).

Every call that is held ends in one of three ways: released to an instance, reset because the function
will not come, or reset because it waited too long. A caller is never left without an answer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from enum import Enum

from controllers import pipeline as p
from testbed.model import segments
from testbed.model.segments import Connection

HELD_PER_FUNCTION = 64
EXPIRY_S = 10.0
RETRY_S = 1.0
"""The scaler did not answer: ask again after this time."""
ASK_AGAIN_S = 1.0
"""It said yes, but nothing came of it: it may not have heard yet that the function has just gone to zero."""
REFUSED_S = 1.0
"""So long a refusal holds for calls that come after it."""

ACCEPTED = 202
REFUSED = 409
"""404 is no refusal: the scaler may hear of a function later than the controller, which knows what is gone."""


class Standing(Enum):
    """What a call would meet at the caller's switch if it were sent on now."""

    CLOSED = "no instance yet"
    OPEN = "rows lead to an instance that can be reached"
    GONE = "there is no such function, or it may not be called any more"


@dataclass(frozen=True, slots=True)
class Punt:
    """A frame that a switch handed over. `counted`: the call's row in DagPolicy has counted it already."""

    node: int
    in_port: int
    caller: int
    callee: int
    frame: bytes
    counted: bool = False


@dataclass(frozen=True, slots=True)
class Release:
    """Send the frame on, from table `table` of the caller's switch."""

    punt: Punt
    table: int


@dataclass(frozen=True, slots=True)
class Reset:
    """Give the caller this answer: a TCP reset."""

    node: int
    port: int
    frame: bytes


@dataclass(frozen=True, slots=True)
class Activate:
    """Ask the scaler for a first instance."""

    callee: int


Effect = Release | Reset | Activate


@dataclass
class Counts:
    """Of one function, since the controller started. Held = now + released + reset + expired."""

    held: int = 0
    released: int = 0
    reset: int = 0
    expired: int = 0
    repeated: int = 0  # a SYN sent again while its call was held
    passed: int = 0  # came when the function could be reached already, so it went straight on
    overflowed: int = 0  # dropped: the function's places were taken


@dataclass
class _Held:
    punt: Punt
    seq: int
    since_s: float
    alone: bool = False  # its bundle failed once: it may be to blame, so it is sent apart next time


@dataclass
class _Asked:
    """What the scaler was asked for one function. `again_s`: when to ask again; None while the question is out."""

    again_s: float | None = None
    refused_until_s: float = 0.0


@dataclass
class Holds:
    """All calls that are held. Times are of one monotonic clock, in seconds."""

    counts: dict[int, Counts] = field(default_factory=dict)
    _held: dict[int, dict[Connection, _Held]] = field(default_factory=dict)  # by callee
    _leaving: dict[int, list[_Held]] = field(default_factory=dict)  # by node: in a bundle not confirmed yet
    _asked: dict[int, _Asked] = field(default_factory=dict)

    @property
    def busy(self) -> bool:
        """Whether time matters: something is held, or may be again when its bundle fails."""
        return bool(self._held or self._leaving)

    def now(self, callee: int) -> int:
        """How many calls of a function are held now."""
        leaving = (held for gone in self._leaving.values() for held in gone if held.punt.callee == callee)
        return len(self._held.get(callee, ())) + sum(1 for _ in leaving)

    # What happens

    def punted(self, punt: Punt, standing: Standing, now_s: float) -> list[Effect]:
        """A switch handed over a frame."""
        segment = segments.read(punt.frame)
        if segment is None:
            return []
        if not segment.opens:  # left over from a connection that nobody knows any more
            return _resets(punt)
        held = self._held.get(punt.callee, {}).get(segment.connection)
        if standing is Standing.GONE:
            return _resets(punt)
        if held is not None and held.seq == segment.seq:
            self._count(punt.callee).repeated += 1
            held.punt = punt if not held.punt.counted else _counted(punt)
            return []
        if standing is Standing.OPEN:
            self._count(punt.callee).passed += 1
            return [_late(punt)]
        return self._hold(punt, segment, now_s)

    def opening(self, node: int, callee: int) -> list[Release]:
        """A bundle under way opens `callee` for the callers on `node`: what goes with it.

        `confirmed` or `failed` follows.
        """
        leaving = [held for held in self._of(node, callee) if not held.alone]
        self._leaving.setdefault(node, []).extend(leaving)
        self._remove(callee, leaving)
        tables = {False: p.DAG_POLICY.number, True: p.SERVICE_LB.number}
        return [Release(held.punt, tables[held.punt.counted]) for held in leaving]

    def confirmed(self, node: int) -> None:
        """The switch took the bundle."""
        for held in self._leaving.pop(node, ()):
            self._count(held.punt.callee).released += 1

    def failed(self, node: int) -> None:
        """It did not, or nobody knows: everything that went with it is held again."""
        for held in self._leaving.pop(node, ()):
            held.alone = True
            self._asked.setdefault(held.punt.callee, _Asked(again_s=held.since_s))
            again = self._held.setdefault(held.punt.callee, {})
            segment = segments.read(held.punt.frame)
            assert segment is not None  # it was read when it came
            if segment.connection in again:  # its SYN came once more meanwhile, and seemed a new call
                count = self._count(held.punt.callee)
                count.held, count.repeated = count.held - 1, count.repeated + 1
            again[segment.connection] = held

    def settle(self, standing: Callable[[Punt], Standing]) -> list[Effect]:
        """Something changed: release what can be, reset what is hopeless."""
        effects: list[Effect] = []
        for callee in list(self._held):
            for held in list(self._held[callee].values()):
                where = standing(held.punt)
                if where is Standing.OPEN:
                    self._remove(callee, [held])
                    self._count(callee).released += 1
                    effects.append(_late(held.punt))
                elif where is Standing.GONE:
                    effects += self._refuse(callee, [held])
        return effects

    def answered(self, callee: int, status: int | None, now_s: float) -> list[Effect]:
        """The scaler answered with an HTTP status; None: it did not answer."""
        if status == REFUSED:
            self._asked[callee] = _Asked(None, now_s + REFUSED_S)
            return self._refuse(callee, self._held.get(callee, {}).values())
        asked = self._asked.get(callee)
        if asked is not None:
            asked.again_s = now_s + (ASK_AGAIN_S if status == ACCEPTED else RETRY_S)
        return []

    def tick(self, now_s: float) -> list[Effect]:
        """Time has passed."""
        effects: list[Effect] = []
        for callee in list(self._held):
            late = [held for held in self._held[callee].values() if now_s - held.since_s >= EXPIRY_S]
            self._remove(callee, late)
            self._count(callee).expired += len(late)
            effects += [reset for held in late for reset in _resets(held.punt)]
            asked = self._asked.get(callee)
            if callee in self._held and asked is not None and asked.again_s is not None and now_s >= asked.again_s:
                asked.again_s = None
                effects.append(Activate(callee))
        return effects

    def forget(self, callees: Iterable[int]) -> None:
        """These functions are gone, and their counts with them."""
        for callee in callees:
            self.counts.pop(callee, None)
            self._asked.pop(callee, None)

    # How

    def _hold(self, punt: Punt, segment: segments.Segment, now_s: float) -> list[Effect]:
        callee, count = punt.callee, self._count(punt.callee)
        asked = self._asked.get(callee)
        if asked is not None and now_s < asked.refused_until_s:
            count.held += 1
            count.reset += 1
            return _resets(punt)
        before = self._held.get(callee, {}).get(segment.connection)
        if before is not None:  # the caller gave up, and uses the same port for another call
            self._remove(callee, [before])
            count.expired += 1
        if self.now(callee) >= HELD_PER_FUNCTION:
            # As a listener with a full backlog: the caller's TCP sends its SYN again after a second, when the
            # function is likely to be there. A reset would make an error of what is only a delay.
            count.overflowed += 1
            return []
        count.held += 1
        self._held.setdefault(callee, {})[segment.connection] = _Held(punt, segment.seq, now_s)
        if asked is not None and not asked.refused_until_s:
            return []
        self._asked[callee] = _Asked()
        return [Activate(callee)]

    def _refuse(self, callee: int, refused: Iterable[_Held]) -> list[Effect]:
        refused = list(refused)
        self._remove(callee, refused)
        self._count(callee).reset += len(refused)
        return [reset for held in refused for reset in _resets(held.punt)]

    def _of(self, node: int, callee: int) -> Iterator[_Held]:
        return (held for held in self._held.get(callee, {}).values() if held.punt.node == node)

    def _remove(self, callee: int, held: Iterable[_Held]) -> None:
        """Take calls out. With the last one the scaler's answer is out of date too, unless it was a refusal."""
        of_callee = self._held.get(callee, {})
        gone = {id(one) for one in held}
        left = {connection: one for connection, one in of_callee.items() if id(one) not in gone}
        if left:
            self._held[callee] = left
            return
        self._held.pop(callee, None)
        asked = self._asked.get(callee)
        if asked is not None and not asked.refused_until_s:
            del self._asked[callee]

    def _count(self, callee: int) -> Counts:
        return self.counts.setdefault(callee, Counts())


def _resets(punt: Punt) -> list[Effect]:
    frame = segments.reset(punt.frame)
    return [] if frame is None else [Reset(punt.node, punt.in_port, frame)]


def _counted(punt: Punt) -> Punt:
    return Punt(punt.node, punt.in_port, punt.caller, punt.callee, punt.frame, counted=True)


def _late(punt: Punt) -> Release:
    """By way of conntrack, which knows whether an earlier copy of this SYN went on already."""
    return Release(punt, p.SERVICE_LB.number if punt.counted else p.CONNTRACK_ZONE.number)

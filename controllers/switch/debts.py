"""The flushes that one switch is still to be sent: which is due when, how often again, and which have become needless.

A flush is sent several times, and a late one only when the other switches have confirmed their part. The cost of each
step is that of the flushes it takes, however many are owed. Pure: times are told.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import count

from controllers.switch.flushing import Flush

FLUSH_AGAIN_S = (0.1, 1.0, 3.0)
"""A connection that goes on sending is admitted again by a stale datapath flow until OVS has revalidated
it, usually within milliseconds, at the latest within about a second: flush again this long after the first time."""
FLUSHES_AT_ONCE = 32
"""A switch walks over its whole connection table for each, and changes must not wait for many of them."""


@dataclass(slots=True)
class _Debt:
    """Due at `due_s`, for the first time or again. `since`: the revision it came with; `serial`: its place in line.

    `is_out`: it is being sent. One that is owed anew meanwhile is another, to which that sending does not count.
    """

    since: int
    due_s: float
    serial: int
    first_s: float | None = None
    sent: int = 0
    is_out: bool = False


class Debts:
    """What one switch owes. Several requests for the same flush are one, which begins anew."""

    def __init__(self) -> None:
        self._debts: dict[Flush, _Debt] = {}
        self._line: list[tuple[float, int, Flush]] = []  # a heap; entries whose debt has another serial are stale
        self._blocked: dict[int, list[tuple[float, int, Flush]]] = {}  # late ones, by the revision they wait for
        self._never_sent: Counter[int] = Counter()  # not the late ones, by revision
        self._serial = count()

    def __len__(self) -> int:
        return len(self._debts)

    def add(self, flush: Flush, since: int, now_s: float) -> None:
        """Connections are to be forgotten from now on, because of what this revision brought."""
        before = self._debts.get(flush)
        if before is not None and not before.sent and not before.is_out and before.since <= since:
            if flush.late and before.since < since:
                before.since = since
            return  # it is in line for the first time
        self._drop(flush)
        self._debts[flush] = debt = _Debt(since, now_s, next(self._serial))
        if not flush.late:
            self._never_sent[since] += 1
        heappush(self._line, (debt.due_s, debt.serial, flush))

    def due(self, now_s: float, everywhere: int, is_due: Callable[[Flush], bool]) -> tuple[Flush, ...]:
        """Some of those that are to be sent now; `sent` or `not_sent` follows. What is needless is forgotten.

        `everywhere`: the revision that every connected switch has confirmed; late ones wait for theirs.
        """
        self._unblock(everywhere)
        chosen: list[Flush] = []
        while self._line and self._line[0][0] <= now_s and len(chosen) < FLUSHES_AT_ONCE:
            entry = heappop(self._line)
            flush = entry[2]
            debt = self._debts.get(flush)
            if debt is None or debt.serial != entry[1]:
                continue
            if flush.late and debt.since > everywhere:
                self._blocked.setdefault(debt.since, []).append(entry)
            elif is_due(flush):
                debt.is_out = True
                chosen.append(flush)
            else:
                self._drop(flush)
        return tuple(chosen)

    def sent(self, flushes: Iterable[Flush], now_s: float) -> None:
        """The switch has taken these; each comes again, a few times."""
        for flush, debt in self._were_out(flushes):
            if not debt.sent and not flush.late:
                self._forget_first(debt)
            debt.first_s = now_s if debt.first_s is None else debt.first_s
            debt.sent += 1
            if debt.sent > len(FLUSH_AGAIN_S):
                del self._debts[flush]
            else:
                self._line_up(flush, debt, debt.first_s + FLUSH_AGAIN_S[debt.sent - 1])

    def not_sent(self, flushes: Iterable[Flush]) -> None:
        """It has not: they are due still."""
        for flush, debt in self._were_out(flushes):
            self._line_up(flush, debt, debt.due_s)

    def next_s(self, everywhere: int) -> float | None:
        """When the next one is due, as far as time decides; None without any."""
        self._unblock(everywhere)
        return self._line[0][0] if self._line else None

    def has_first(self, revision: int) -> bool:
        """Whether some connection was never flushed yet that this revision or an earlier one forbids."""
        return any(since <= revision for since in self._never_sent)

    def _were_out(self, flushes: Iterable[Flush]) -> list[tuple[Flush, _Debt]]:
        found = [(flush, debt) for flush in flushes if (debt := self._debts.get(flush)) and debt.is_out]
        for _, debt in found:
            debt.is_out = False
        return found

    def _line_up(self, flush: Flush, debt: _Debt, due_s: float) -> None:
        debt.due_s, debt.serial = due_s, next(self._serial)
        heappush(self._line, (due_s, debt.serial, flush))

    def _unblock(self, everywhere: int) -> None:
        for since in [since for since in self._blocked if since <= everywhere]:
            for entry in self._blocked.pop(since):
                heappush(self._line, entry)

    def _drop(self, flush: Flush) -> None:
        debt = self._debts.pop(flush, None)
        if debt is not None and not debt.sent and not flush.late:
            self._forget_first(debt)

    def _forget_first(self, debt: _Debt) -> None:
        self._never_sent[debt.since] -= 1
        if not self._never_sent[debt.since]:
            del self._never_sent[debt.since]

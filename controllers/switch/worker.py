"""One switch's worker: reads it, sends it what is to change, waits for its barrier. Nobody else's switch waits for it.

A greenlet for each connection. It takes everything that there is to change at once, so that a switch that was slow
gets one bundle for all it has missed. Changes go first, flushes when there are none, and when nothing else is to do
it reads the tables now and then, to put right what somebody else has changed. Decides nothing about rows.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from time import monotonic, perf_counter
from typing import Any, Protocol

from controllers import sdn
from controllers.rows import PacketOut
from controllers.switch.channel import Channel, NoAnswer
from controllers.switch.fleet import Fleet
from controllers.switch.latency import Change as Timed
from controllers.switch.readings import Contents
from controllers.switch.reconcile import Change
from controllers.switch.state import Switch

LOG = logging.getLogger("controllers.switch")

RETRY_S = 1.0
AUDIT_S = 3.5
"""So often the tables are read when nobody asks. With the reading and the repair it stays within 5 s."""


class Held(Protocol):
    """Calls that wait for a switch's rows, as far as its worker has to do with them (hold.effects)."""

    def leaving_with(self, node: int, changes: Iterable[Change]) -> Sequence[PacketOut]:
        """What is to go in one bundle with these changes; `settled` follows."""

    def settled(self, node: int, taken: bool) -> None:
        """The switch has taken the bundle, or has not."""

    def look(self) -> None:
        """Changes have been made: what is still held may go on, or is hopeless."""


class Worker:
    """The greenlet of one connection to one switch, from connect to disconnect."""

    def __init__(
        self, fleet: Fleet, switch: Switch, channel: Channel, held: Held, moved_on: Callable[[], None]
    ) -> None:
        self.switch = switch
        self.channel = channel
        self.asked_s: float | None = None  # since when it owes an answer
        self._fleet = fleet
        self._held = held
        self._moved_on = moved_on
        self._timed: list[Timed] = []
        self._something: Any = sdn.hub.Event()
        self._over = False
        self._has_changed = False  # the last step
        self._not_before_s = 0.0
        self._audit_s = 0.0

    def run(self) -> None:
        """Do what there is to do, until the connection is lost."""
        while not self._over:
            if not self.step():
                self._something.wait(self._rest_s())
                self._something.clear()

    def wake(self, timed: Timed | None = None) -> None:
        """There is something to do, perhaps as a part of a change whose time is taken."""
        if timed is not None and self._timed[-1:] != [timed]:
            self._timed.append(timed)
        self._something.set()

    def end(self) -> None:
        """The connection is lost, and with it what was on its way."""
        self._over = True
        self._held.settled(self.switch.node, taken=False)
        self._leave(self._take_timed())
        self._something.set()

    def step(self) -> bool:
        """One thing that is to be done; False where there is none now."""
        if self._over or not self._fleet.has_snapshot or monotonic() < self._not_before_s:
            return False
        if self.switch.told is None:
            return self._read()
        if self.switch.is_touched and not self._has_changed:
            self._has_changed = True
            return self._change()
        self._has_changed = False  # a change may follow a change, but not for ever
        return self._flush() or (monotonic() >= self._audit_s and self._audit()) or self.switch.is_touched

    # How

    def _rest_s(self) -> float | None:
        """How long there is nothing to do, if nobody says otherwise; None: for ever."""
        if not self._fleet.has_snapshot:
            return None
        next_s = self.switch.owed.next_s(self._fleet.everywhere.revision)
        due_s = self._audit_s if next_s is None else min(next_s, self._audit_s)
        return max(0.0, max(due_s, self._not_before_s) - monotonic())

    def _read(self) -> bool:
        """Read the switch's tables and send the difference."""
        contents = self._contents()
        if contents is None:
            if not self._over:
                self.channel.close()
                self.end()
            return False
        timed, began_s, node = self._take_timed(), perf_counter(), self.switch.node
        ordered = self.switch.read(contents.tables(), contents.last_round, self._fleet.desired(node))
        LOG.info("node%d: %d rows found, %d changes to make", node, len(contents.entries), len(ordered))
        self._audit_s = monotonic() + AUDIT_S
        return self._deliver(ordered, timed, began_s)

    def _audit(self) -> bool:
        """Read the tables although they should be as told, and put right what is not."""
        self._audit_s = monotonic() + AUDIT_S
        contents = self._contents()
        if contents is None:
            self._distrust()
            return False
        before = self.switch.repaired
        ordered = self.switch.audit(contents.tables(), self._fleet.desired(self.switch.node))
        if self.switch.repaired == before:
            return False
        strange = self.switch.repaired - before
        LOG.warning("node%d: %d rows, groups and meters were not as told; put right", self.switch.node, strange)
        return self._deliver(ordered, self._take_timed(), perf_counter())

    def _contents(self) -> Contents | None:
        """What the switch holds; None where it does not answer, or is gone by then."""
        self.asked_s = self.asked_s or monotonic()
        try:
            contents = self.channel.contents()
        except NoAnswer as error:
            LOG.warning("%s", error)
            return None
        self.asked_s = None
        return None if self._over else contents

    def _change(self) -> bool:
        """Send everything that there is to change."""
        timed, began_s = self._take_timed(), perf_counter()
        return self._deliver(self.switch.take(self._fleet.desired(self.switch.node)), timed, began_s)

    def _deliver(self, ordered: Sequence[Change], timed: Sequence[Timed], began_s: float) -> bool:
        """One bundle, and with it the held calls for which it opens a way."""
        node = self.switch.node
        messages, translate_s = 0, 0.0
        if ordered:
            packets = self._held.leaving_with(node, ordered)
            encoded = self.channel.encode(ordered, (), self.switch.round, packets)
            messages, translate_s = len(encoded.purpose), perf_counter() - began_s
            self._fleet.told(node, ordered)
            taken = self._send(encoded)
            if not self._over:  # else they were told when it was
                self._held.settled(node, taken)
            if not taken:
                self._leave(timed)
                self._distrust()
                return False
        self._fleet.settled(node, ordered)
        for change in timed:
            self._fleet.latencies.confirmed(change, node, translate_s, messages, perf_counter())
        self._held.look()
        self._moved_on()
        return True

    def _flush(self) -> bool:
        """Send some of the flushes that are due; False where there are none."""
        owed = self.switch.owed
        before = len(owed)
        flushes = owed.due(monotonic(), self._fleet.everywhere.revision, self._fleet.is_due)
        if len(owed) < before:
            self._moved_on()  # needless ones are gone
        if not flushes:
            return False
        if not self._send(self.channel.encode((), self._fleet.together(flushes), self.switch.round)):
            owed.not_sent(flushes)
            self._distrust()
            return False
        owed.sent(flushes, monotonic())
        self._moved_on()
        return True

    def _send(self, encoded: Any) -> bool:
        """Whether the switch has taken everything. Meanwhile the other greenlets run."""
        self.switch.sendings += 1
        self.asked_s = self.asked_s or monotonic()
        taken = self.channel.settle(self.channel.send(encoded)) and not self._over
        if taken:
            self.asked_s = None
        return taken

    def _leave(self, timed: Iterable[Timed]) -> None:
        """It has no part in these changes any more."""
        for change in timed:
            self._fleet.latencies.left(change, self.switch.node)

    def _distrust(self) -> None:
        """The switch did not take everything: what it holds now is unknown, so it is asked again."""
        if not self._over:  # else another worker has the switch
            self.switch.distrust()
            self._not_before_s = monotonic() + RETRY_S

    def _take_timed(self) -> list[Timed]:
        taken, self._timed = self._timed, []
        for change in taken:
            change.is_sealed = True
        return taken

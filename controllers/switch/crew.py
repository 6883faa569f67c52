"""The workers, one a connected switch: started and ended with the connections, woken when there is something to do.

Here is what the rest of the controller asks of all switches together: who has confirmed what, what they hold, what they
have counted. Decides nothing about rows, and never waits for one switch before it turns to another.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from time import monotonic
from typing import Any

from controllers import sdn
from controllers.policy.book import Book
from controllers.rows import PacketOut
from controllers.switch.channel import Channel, NoAnswer
from controllers.switch.fleet import Fleet
from controllers.switch.latency import Change as Timed
from controllers.switch.readings import Readings
from controllers.switch.worker import Held, Worker

LOG = logging.getLogger("controllers.switch")

CONFIRMED_WITHIN_S = 10.0
"""Whoever changes the policies waits this long for the switches that are connected."""
BACK_WITHIN_S = 3.0
"""And this long for one that is not: it may only have been restarted."""
SILENT_S = 3.0
"""Who has answered nothing for so long hangs: what the others have confirmed is said without it."""


@dataclass(frozen=True)
class Confirmation:
    """Which nodes' switches do not hold what they should: of those that are connected (`silent`), and `away`.

    Not `known`: no apiserver has said yet which nodes and functions there are.
    """

    known: bool = True
    silent: tuple[int, ...] = ()
    away: tuple[int, ...] = ()

    @property
    def is_complete(self) -> bool:
        return self.known and not self.silent and not self.away


class Crew:
    """Every switch's worker."""

    def __init__(self) -> None:
        self.fleet = Fleet(self._wake)
        self.workers: dict[int, Worker] = {}
        self._held: Held | None = None
        self._lost_s: dict[int, float] = {}
        self._began_s = monotonic()
        self._progress: Any = sdn.hub.Event()

    def carry(self, held: Held) -> None:
        """From now on these are the calls that wait for the switches' rows. Comes before any switch connects."""
        self._held = held

    # Said by the event shim

    def connected(self, channel: Channel) -> None:
        """A switch is there. Its worker of an older connection, if there is one, ends."""
        assert self._held is not None
        if channel.node in self.workers:
            self.workers[channel.node].end()
        switch = self.fleet.switch_connected(channel.node, channel.ports())
        worker = self.workers[channel.node] = Worker(self.fleet, switch, channel, self._held, self._moved_on)
        sdn.spawn(worker.run)

    def disconnected(self, channel: Channel) -> None:
        worker = self.workers.get(channel.node)
        if worker is None or worker.channel is not channel:
            return  # a late goodbye of an old connection
        worker.end()
        del self.workers[channel.node]
        self._lost_s[channel.node] = monotonic() if worker.asked_s is None else worker.asked_s
        self.fleet.switch_gone(channel.node)
        self._moved_on()

    def ports_changed(self, node: int) -> None:
        if node in self.workers:
            self.fleet.ports_changed(node, self.workers[node].channel.ports())

    # Asked

    def set_policies(self, policies: Book) -> Confirmation:
        """Bring these policies to the switches, and wait a while for them; who has not confirmed them by then."""
        was_known, began_s = self.fleet.has_snapshot, monotonic()
        nodes: Iterable[int] = self.fleet.set_policies(policies)
        while True:
            if not was_known:  # then they come with everything else that the first snapshot brings
                nodes = self.fleet.generator.index.state.nodes
            found = self.in_force(nodes)
            patience_s = CONFIRMED_WITHIN_S if found.silent else BACK_WITHIN_S
            left_s = began_s + patience_s - monotonic()
            if found.is_complete or left_s <= 0:
                return found
            self._progress.wait(left_s)

    def in_force(self, nodes: Iterable[int]) -> Confirmation:
        """Which of these nodes' switches do not hold what the policies say as they are now."""
        if not self.fleet.has_snapshot:
            return Confirmation(known=False)
        behind = sorted(node for node in nodes if not self.fleet.holds_policies(node))
        silent = tuple(node for node in behind if node in self.workers)
        return Confirmation(True, silent, tuple(node for node in behind if node not in self.workers))

    def silent_s(self, node: int) -> float:
        """For how long a node's switch has not answered what it was sent, or has not been there; 0: it answers."""
        worker = self.workers.get(node)
        since_s = worker.asked_s if worker else self._lost_s.get(node, self._began_s)
        return 0.0 if since_s is None else monotonic() - since_s

    def answers(self, node: int) -> bool:
        """Whether a node's switch is to be waited for: it is not silent, or not for long."""
        return self.silent_s(node) <= SILENT_S

    @property
    def applied(self) -> int:
        """The newest version that every switch has confirmed that is connected and answers; 0 while one is not read."""
        return min((self.fleet.reached(node).version for node in self.workers if self.answers(node)), default=0)

    def digests(self) -> dict[int, tuple[str | None, str]]:
        """By node: the digest of its switch's tables as they are now (None: no answer), and of what it should hold."""
        found: dict[int, tuple[str | None, str]] = {}
        sdn.hub.joinall([sdn.hub.spawn(self._digest, node, found) for node in self.workers])
        return found

    def _digest(self, node: int, found: dict[int, tuple[str | None, str]]) -> None:
        switch = self.fleet.switches[node]
        for _ in range(3):  # once more when a change went out meanwhile
            before = switch.sendings
            try:
                actual: str | None = self.workers[node].channel.contents().tables().digest()
            except (NoAnswer, KeyError):
                actual = None
            desired = switch.wanted(self.fleet.desired(node)).digest()
            if before == switch.sendings or actual == desired:
                break
        found[node] = actual, desired

    def readings(self) -> dict[int, Readings]:
        """What every switch holds and has counted so far; those that do not answer are left out."""
        found: dict[int, Readings] = {}
        sdn.hub.joinall([sdn.hub.spawn(self._reading, node, found) for node in self.workers])
        return dict(sorted(found.items()))

    def latencies(self) -> list[dict[str, Any]]:
        return [asdict(measurement) for measurement in self.fleet.latencies.measurements]

    def send_packets(self, node: int, packets: list[PacketOut]) -> None:
        """Hand packets to a node's switch, if it is connected. Never waits."""
        if node in self.workers:
            self.workers[node].channel.send_packets(packets)

    # How

    def _reading(self, node: int, found: dict[int, Readings]) -> None:
        worker = self.workers.get(node)
        try:
            if worker is not None:
                found[node] = worker.channel.readings()
        except NoAnswer as error:
            LOG.warning("%s", error)

    def _wake(self, node: int, timed: Timed | None) -> None:
        if node in self.workers:
            self.workers[node].wake(timed)

    def _moved_on(self) -> None:
        """Somebody may have waited for this."""
        progress, self._progress = self._progress, sdn.hub.Event()
        progress.set()

"""Brings events, switches and time together: one change after another, each confirmed by barriers.

A single greenlet takes everything that happened since it last looked, lets `Fleet` decide what each
switch gets, sends it stage by stage and records how long that took. Decides nothing about rows.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from time import perf_counter
from typing import Any

from controllers import sdn
from controllers.hold.effects import Holding
from controllers.northbound.counters import Readings
from controllers.pipeline import Category
from controllers.policy.rules import Book
from controllers.switch.channel import Channel, NoAnswer
from controllers.switch.fleet import Batch, Fleet, Stage
from testbed.model import addressing

LOG = logging.getLogger("controllers.conductor")

KEPT_MEASUREMENTS = 10_000
RETRY_S = 1.0
POLICIES_S = 10.0
"""Whoever changes the policies waits this long for the switches."""
COUNTED = (
    Category.POLICY,
    Category.SERVICE,
    Category.NO_INSTANCE,
    Category.DROP,
    Category.ALLOW,
    Category.DENY,
    Category.PACKETS,
)
FLUSH_AGAIN_S = (0.1, 1.0, 3.0)
"""A connection that goes on sending is admitted again by a stale datapath flow until OVS has revalidated
it, usually within milliseconds, at the latest within about a second: flush again then."""


@dataclass(frozen=True)
class Measurement:
    """How long one change took. `install_ms`: first byte sent to last barrier answered."""

    version: int
    events: int
    generate_ms: float
    translate_ms: float
    install_ms: float
    messages: int


@dataclass(frozen=True)
class Connected:
    channel: Channel


@dataclass(frozen=True)
class Disconnected:
    channel: Channel


@dataclass(frozen=True)
class PortsChanged:
    node: int


@dataclass(frozen=True)
class FlushAgain:
    stages: tuple[Stage, ...]


@dataclass(frozen=True)
class ReadAgain:
    channel: Channel


@dataclass(frozen=True)
class Watched:
    """An event of the apiserver's watch stream."""

    event: Mapping[str, Any]


@dataclass(frozen=True)
class NewPolicies:
    """The provider's policies are these; `done` is set when the connected switches have confirmed them."""

    policies: Book
    done: Any


Item = Connected | Disconnected | PortsChanged | FlushAgain | ReadAgain | Watched | NewPolicies


class Conductor:
    """The controller's state and the greenlet that moves it on."""

    def __init__(self, scaler_url: str = addressing.SCALER_URL) -> None:
        self.fleet = Fleet()
        self.channels: dict[int, Channel] = {}
        self.holding = Holding(self.fleet, self.channels, scaler_url)
        self.measurements: deque[Measurement] = deque(maxlen=KEPT_MEASUREMENTS)
        self.changes_sent = 0
        self._confirmed: dict[int, int] = {}
        self._awaiting: list[Any] = []  # events of those who wait until every connected switch has what it should
        self._inbox: Any = sdn.hub.Queue()

    def tell(self, item: Item) -> None:
        """Something happened; it is dealt with in order."""
        self._inbox.put(item)

    def set_policies(self, policies: Book) -> bool:
        """Bring these policies to the switches; whether those connected have confirmed them within POLICIES_S."""
        item = NewPolicies(policies, sdn.hub.Event())
        self.tell(item)
        return bool(item.done.wait(POLICIES_S))

    def run(self) -> None:
        """Deal with what happens, for ever."""
        while True:
            items = [self._inbox.get()]
            while not self._inbox.empty():
                items.append(self._inbox.get())
            for together in _merged(items):
                self._deal_with(together)

    @property
    def applied(self) -> int:
        """The newest version that every connected switch has confirmed; 0 while one has not been read."""
        return min((self._confirmed.get(node, 0) for node in self.channels), default=0)

    def _deal_with(self, items: list[Item]) -> None:
        started = perf_counter()
        events = [item.event for item in items if isinstance(item, Watched)]
        if events:
            had_snapshot = self.fleet.has_snapshot
            stages = self.fleet.events(events)
            self._execute(stages, started, len(events))
            if not had_snapshot and self.fleet.has_snapshot:
                for channel in list(self.channels.values()):
                    self._read(channel)
            return
        for item in items:
            match item:
                case Connected(channel):
                    self.channels[channel.node] = channel
                    self._read(channel)
                case ReadAgain(channel) if self.channels.get(channel.node) is channel:
                    self._read(channel)
                case Disconnected(channel) if self.channels.get(channel.node) is channel:
                    del self.channels[channel.node]
                    self.fleet.disconnected(channel.node)
                    self.holding.read(channel.node, ())
                case PortsChanged(node) if node in self.channels:
                    self._execute(self.fleet.ports(node, self.channels[node].ports()), started, 0)
                case NewPolicies(policies, done):
                    self._awaiting.append(done)
                    self._execute(self.fleet.set_policies(policies), started, 0)
                case FlushAgain(stages):
                    for stage in stages:
                        known = {n: self.channels[n] for n in stage if n in self.channels}
                        self._distrust(self._send({n: (c, c.encode(stage[n], 0)) for n, c in known.items()}, stage))
                case _:
                    pass  # about a connection that is gone

    def _read(self, channel: Channel) -> None:
        """Read the switch's tables and send the difference. Before the first snapshot nothing is touched."""
        self._confirmed[channel.node] = 0
        self.fleet.connected(channel.node, channel.ports())
        if not self.fleet.has_snapshot:
            return
        started = perf_counter()
        try:
            actual, last_round = channel.tables()
        except NoAnswer as error:
            LOG.warning("%s", error)
            channel.close()
            return
        found = len(actual.rows)
        self.holding.read(channel.node, actual.groups)
        stages = self.fleet.read(channel.node, actual, last_round)
        LOG.info("node%d: %d rows found, %d changes to make", channel.node, found, _count(stages))
        self._execute(stages, started, 0)

    def _execute(self, stages: tuple[Stage, ...], started: float, events: int) -> None:
        version = self.fleet.version
        generated = perf_counter()
        failed: set[int] = set()
        translate_s = install_s = 0.0
        messages = 0
        for stage in stages:
            began = perf_counter()
            known = {n: b for n, b in stage.items() if n in self.channels}
            encoded = {n: (self.channels[n], self._encode(n, batch)) for n, batch in known.items()}
            sending = perf_counter()
            refusing = self._send(encoded, known)
            self._distrust(refusing - failed)
            failed |= refusing
            translate_s += sending - began
            install_s += perf_counter() - sending
            messages += sum(len(data.purpose) for _, data in encoded.values())
        self._flush_again(stages)
        for node in self.channels:
            switch = self.fleet.switches.get(node)
            if node not in failed and switch is not None and switch.believed is not None:
                self._confirmed[node] = version
        if all(self._confirmed[node] == version for node in self.channels):
            while self._awaiting:
                self._awaiting.pop().set()
        if messages:
            times_s = (generated - started, translate_s, install_s)
            generate_ms, translate_ms, install_ms = (round(seconds * 1000, 3) for seconds in times_s)
            self.measurements.append(Measurement(version, events, generate_ms, translate_ms, install_ms, messages))
        self.holding.look()

    def _distrust(self, nodes: Iterable[int]) -> None:
        """These switches did not take everything: what they hold now is unknown, so they are asked again."""
        for node in nodes:
            self.fleet.disconnected(node)
            self._confirmed[node] = 0
            sdn.hub.spawn_after(RETRY_S, self.tell, ReadAgain(self.channels[node]))

    def _flush_again(self, stages: tuple[Stage, ...]) -> None:
        """The same flushes, in the same order of nodes, once OVS has forgotten the old rows."""
        again = tuple({n: Batch(flushes=b.flushes) for n, b in stage.items() if b.flushes} for stage in stages)
        for delay_s in FLUSH_AGAIN_S if any(again) else ():
            sdn.hub.spawn_after(delay_s, self.tell, FlushAgain(again))

    def _encode(self, node: int, batch: Batch) -> Any:
        packets = self.holding.leaving_with(node, batch.changes)
        return self.channels[node].encode(batch, self.fleet.switches[node].round, packets)

    def _send(self, encoded: Mapping[int, tuple[Channel, Any]], batches: Stage) -> set[int]:
        """Send to all, then wait for all; the nodes that did not take everything."""
        self.changes_sent += len(encoded)
        sent = []
        for node, (channel, data) in encoded.items():
            sent.append((channel, channel.send(data)))
            self.holding.sent(node, batches[node].changes)
        failed = set()
        for channel, pending in sent:
            taken = channel.settle(pending)
            self.holding.settled(channel.node, taken)
            if not taken:
                failed.add(channel.node)
        return failed

    # Questions of the northbound interface.

    def latencies(self) -> list[dict[str, Any]]:
        return [asdict(measurement) for measurement in self.measurements]

    def digests(self, node: int) -> tuple[str | None, str]:
        """(digest of the switch's tables as they are now, of what it should hold); None without an answer."""
        for _ in range(3):  # once more when a change went out meanwhile
            before = self.changes_sent
            try:
                actual: str | None = self.channels[node].tables()[0].digest()
            except (NoAnswer, KeyError):
                actual = None
            desired = self.fleet.switches[node].wanted(self.fleet.desired(node)).digest()
            if before == self.changes_sent or actual == desired:
                break
        return actual, desired

    def readings(self) -> dict[int, Readings]:
        """What every switch counted so far."""
        found = {}
        for node, channel in list(self.channels.items()):
            try:
                rows = channel.entries(*COUNTED)
                found[node] = Readings(rows, channel.groups(), channel.bucket_packets(), channel.meter_packets())
            except NoAnswer as error:
                LOG.warning("%s", error)
        return found


def _merged(items: list[Item]) -> list[list[Item]]:
    """Neighbouring watch events become one change; a port change said twice is dealt with once."""
    merged: list[list[Item]] = []
    for item in items:
        if isinstance(item, Watched) and merged and isinstance(merged[-1][0], Watched):
            merged[-1].append(item)
        elif [item] not in merged[-1:]:
            merged.append([item])
    return merged


def _count(stages: Iterable[Stage]) -> int:
    return sum(len(batch.changes) for stage in stages for batch in stage.values())

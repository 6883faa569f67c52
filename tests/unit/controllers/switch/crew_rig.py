"""A crew whose switches are values: they do at once what they are told, unless they are told to fail or to hang.

Workers are stepped by hand instead of running as greenlets, on a clock that the test moves.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from controllers import sdn
from controllers.hold.effects import Holding
from controllers.rows import PacketOut, Row, Tables
from controllers.switch import crew as crews
from controllers.switch import fleet as fleets
from controllers.switch import worker as workers
from controllers.switch.channel import NoAnswer
from controllers.switch.crew import Crew
from controllers.switch.decoding import Entry
from controllers.switch.flushing import Flush
from controllers.switch.readings import Contents, Readings
from controllers.switch.reconcile import Change, apply
from testbed.model.cluster import ClusterState
from tests.unit.controllers.clusters import snapshot


@dataclass
class FakeEncoded:
    """A batch, "encoded"."""

    changes: tuple[Change, ...]
    flushes: tuple[Flush, ...]
    purpose: dict[int, Any]
    packets: tuple[PacketOut, ...]


@dataclass
class FakeChannel:
    """A switch that does what it is told, unless it is told to fail; `log` is everything it was sent, in order."""

    node: int
    numbers: Mapping[str, int]
    held: Tables = field(default_factory=Tables)
    fails: int = 0
    silent: int = 0  # takes what it is sent, and does not say so
    closed: bool = False
    can_flush: bool = True
    reads: int = 0
    log: list[Change | Flush] = field(default_factory=list)
    batches: list[tuple[Change, ...]] = field(default_factory=list)
    packets: list[PacketOut] = field(default_factory=list)

    @property
    def flushes(self) -> list[Flush]:
        return [one for one in self.log if isinstance(one, Flush)]

    @property
    def changes(self) -> list[Change]:
        return [one for one in self.log if not isinstance(one, Flush)]

    def ports(self) -> Mapping[str, int]:
        return self.numbers

    def encode(
        self, changes: Sequence[Change], flushes: Sequence[Flush], _: int, packets: Sequence[PacketOut] = ()
    ) -> Any:
        return FakeEncoded(tuple(changes), tuple(flushes), dict(enumerate(changes)), tuple(packets))

    def send_packets(self, packets: Iterable[PacketOut]) -> None:
        self.packets += packets

    def send(self, encoded: Any) -> Any:
        if self.fails:
            self.fails -= 1
            return False
        apply(self.held, encoded.changes)
        self.log += [*encoded.changes, *encoded.flushes]
        self.batches += [encoded.changes] if encoded.changes else []
        self.packets += encoded.packets
        self.silent -= 1
        return self.silent < 0

    def settle(self, sent: Any) -> bool:
        return bool(sent)

    def contents(self) -> Contents:
        if self.closed:
            raise NoAnswer("gone")
        self.reads += 1
        entries = [Entry(row, 1, 0, 0, 0.0) for row in self.held.rows.values()]
        return Contents(entries, list(self.held.groups.values()), list(self.held.meters.values()))

    def readings(self) -> Readings:
        contents = self.contents()
        return Readings(contents.entries, contents.groups, {})

    def close(self) -> None:
        self.closed = True


class Clock:
    """The seconds that workers see."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


class Rig:
    """A crew with what is held, and the switches that are connected."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.crew = Crew()
        self.holding = Holding(self.crew, "http://127.0.0.1:9", "credential")
        self.crew.carry(self.holding)
        self.channels: dict[int, FakeChannel] = {}

    @property
    def fleet(self) -> fleets.Fleet:
        return self.crew.fleet

    @property
    def applied(self) -> int:
        return self.fleet.everywhere.version

    def deal(self, *events: Mapping[str, Any]) -> None:
        """These happen one right after the other; then everybody does what there is to do."""
        for event in events:
            self.fleet.event(event)
        self.work()

    def work(self, *nodes: int) -> None:
        """Let all workers, or those of these nodes, do what there is to do."""
        chosen = [worker for node, worker in self.crew.workers.items() if not nodes or node in nodes]
        while sum(worker.step() for worker in chosen):
            pass

    def later(self, seconds: float) -> None:
        self.clock.now_s += seconds
        self.work()

    def connect(self, channel: FakeChannel) -> FakeChannel:
        self.channels[channel.node] = channel
        self.crew.connected(channel)  # type: ignore[arg-type]
        self.work()
        return channel

    def disconnect(self, channel: FakeChannel) -> None:
        self.crew.disconnected(channel)  # type: ignore[arg-type]
        self.work()

    def all_ports(self, node: int) -> dict[str, int]:
        names = sorted({name for row in self.fleet.desired(node).rows.values() for name in row.ports()})
        return {name: number for number, name in enumerate(names, start=1)}

    def set_ports(self, node: int, numbers: Mapping[str, int]) -> None:
        self.channels[node].numbers = numbers
        self.crew.ports_changed(node)
        self.work()

    def is_as_desired(self, node: int) -> bool:
        return self.channels[node].held == self.fleet.switches[node].wanted(self.fleet.desired(node))

    def sent(self) -> dict[int, int]:
        """How much every switch was sent so far."""
        return {node: len(channel.log) for node, channel in self.channels.items()}


@contextmanager
def rigged(monkeypatch: pytest.MonkeyPatch) -> Iterator[Rig]:
    clock = Clock()
    for module in (crews, fleets, workers):
        monkeypatch.setattr(module, "monotonic", clock)
    monkeypatch.setattr(sdn, "spawn", lambda run: None)
    yield Rig(clock)


def running(rig: Rig, state: ClusterState) -> Rig:
    """With three switches that were empty, and hold what they were told."""
    rig.deal(snapshot(state))
    for node in state.nodes:
        rig.connect(FakeChannel(node, rig.all_ports(node)))
    for channel in rig.channels.values():
        channel.log.clear()
        channel.batches.clear()
    return rig


def without(tables: Tables, row: Row) -> Tables:
    """The tables, one row less."""
    return replace(tables, rows={key: one for key, one in tables.rows.items() if one is not row})

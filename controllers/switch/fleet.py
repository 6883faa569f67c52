"""What each switch holds, as far as the controller knows, and what to send it next.

A `Switch` turns deltas of the generator, port changes and tables read back into ordered changes; it
resolves port names, holds rows back until their port exists, and remembers what it has handed out.
`Fleet` does so for all nodes and arranges the result in stages. No OpenFlow and no I/O: the shim in
directfaas.py sends, waits for barriers, and reports what came of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from controllers import pipeline as p
from controllers.desired.generator import Delta, Generator, delivery
from controllers.intents import Endpoint
from controllers.policy.rules import Book
from controllers.rows import PortMap, Row, RowKey, Tables
from controllers.switch.reconcile import Change, Flush, PutGroup, PutRow, apply, changes, flushes, reconcile


@dataclass(frozen=True)
class Batch:
    """What one switch gets in one go: an atomic bundle, then flushes, then a barrier."""

    changes: tuple[Change, ...] = ()
    flushes: tuple[Flush, ...] = ()


Stage = Mapping[int, Batch]
"""Batches by node. A stage is sent when every switch has confirmed the stage before."""


@dataclass
class Switch:
    """One node's switch. `believed` has port numbers, as the switch does; None until it was read."""

    node: int
    ports: dict[str, int] = field(default_factory=dict)
    believed: Tables | None = None
    round: int = 1
    owed: list[Flush] = field(default_factory=list)  # flushes that came up while it was away
    _resolved: dict[RowKey, RowKey] = field(default_factory=dict)  # key by name -> key by number, of rows installed
    _by_port: dict[str, set[RowKey]] = field(default_factory=dict)  # port name -> keys by name

    def wanted(self, desired: Tables) -> Tables:
        """The desired tables with this switch's port numbers, without the rows held back."""
        rows = (row.resolve(self.ports) for row in desired.rows.values())
        return Tables.of((row for row in rows if row is not None), desired.groups.values(), desired.meters.values())

    def held_back(self, desired: Tables) -> int:
        """How many rows wait for their port."""
        return sum(not set(row.ports()) <= self.ports.keys() for row in desired.rows.values())

    def read(self, actual: Tables, last_round: int, desired: Tables) -> tuple[Change, ...]:
        """The switch was read: the difference, and nothing else, is to be sent."""
        self.round = last_round % p.LAST_ROUND + 1
        self.believed = actual
        self._resolved, self._by_port = {}, {}
        for key, row in desired.rows.items():
            self._note(key, row)
        ordered = reconcile(self.wanted(desired), actual)
        apply(self.believed, ordered)
        return ordered

    def update(self, delta: Delta, desired: Tables) -> tuple[Change, ...]:
        """The changes for what a delta touched; none before the switch was read."""
        if self.believed is None:
            return ()
        wanted, rows = Tables(), set()
        for key in delta.rows:
            before = self._resolved.pop(key, None)
            if before is not None:
                rows.add(before)
            row = desired.rows.get(key)
            self._note(key, row)
            resolved = row.resolve(self.ports) if row else None
            if resolved is not None:
                wanted.rows[resolved.key] = resolved
                rows.add(resolved.key)
        for group_id in delta.groups:
            if group_id in desired.groups:
                wanted.groups[group_id] = desired.groups[group_id]
        wanted.meters = {meter_id: desired.meters[meter_id] for meter_id in delta.meters & desired.meters.keys()}
        ordered = changes(wanted, self.believed, rows, delta.groups, delta.meters)
        apply(self.believed, ordered)
        return ordered

    def set_ports(self, ports: PortMap, desired: Tables) -> tuple[Change, ...]:
        """The ports by name are now these; rows of ports that came, went or moved follow."""
        names = {name for name in ports.keys() | self.ports.keys() if ports.get(name) != self.ports.get(name)}
        self.ports = dict(ports)
        keys = {key for name in names for key in self._by_port.pop(name, ())}  # `update` notes the living ones
        return self.update(Delta(rows=keys), desired)

    def _note(self, key: RowKey, row: Row | None) -> None:
        if row is None:
            return
        resolved = row.resolve(self.ports)
        if resolved is not None:
            self._resolved[key] = resolved.key
        for name in row.ports():
            self._by_port.setdefault(name, set()).add(key)


class Fleet:
    """All switches and the generator that feeds them."""

    def __init__(self) -> None:
        self.generator = Generator()
        self.switches: dict[int, Switch] = {}
        self.has_snapshot = False

    @property
    def version(self) -> int:
        """The newest resource version taken in."""
        return self.generator.index.state.version

    def desired(self, node: int) -> Tables:
        return self.generator.desired.get(node, Tables())

    def events(self, events: Iterable[Mapping[str, object]]) -> tuple[Stage, ...]:
        """What several events in a row ask for together."""
        deltas: dict[int, Delta] = {}
        first = not self.has_snapshot
        for event in events:
            self.has_snapshot = self.has_snapshot or event["type"] == "SNAPSHOT"
            for node, delta in self.generator.apply(event).items():
                merged = deltas.setdefault(node, Delta())
                merged.rows |= delta.rows
                merged.groups |= delta.groups
                merged.meters |= delta.meters
        if first:
            return ()  # switches are read, not told, as soon as there is a snapshot
        return self._tell(deltas)

    def set_policies(self, policies: Book) -> tuple[Stage, ...]:
        """From now on these are the provider's policies."""
        return self._tell(self.generator.set_policies(policies))

    def _tell(self, deltas: Mapping[int, Delta]) -> tuple[Stage, ...]:
        if not self.has_snapshot:
            return ()
        touched = {n: s for n, s in self.switches.items() if deltas.get(n)}
        return self._stages({n: s.update(deltas[n], self.desired(n)) for n, s in touched.items()})

    def connected(self, node: int, ports: PortMap) -> None:
        """A switch is there; nothing is sent to it before it was read."""
        owed = self.switches[node].owed if node in self.switches else []
        self.switches[node] = Switch(node, dict(ports), owed=owed)

    def disconnected(self, node: int) -> None:
        if node in self.switches:
            self.switches[node].believed = None

    def read(self, node: int, actual: Tables, last_round: int) -> tuple[Stage, ...]:
        """A switch's tables were read. Without a snapshot nothing is known, so nothing is changed."""
        if not self.has_snapshot:
            return ()
        switch = self.switches[node]
        return self._stages({node: switch.read(actual, last_round, self.desired(node))})

    def ports(self, node: int, ports: PortMap) -> tuple[Stage, ...]:
        """A switch's ports came, went or moved."""
        return self._stages({node: self.switches[node].set_ports(ports, self.desired(node))})

    def reaches(self, endpoint: Endpoint) -> bool:
        """Whether the endpoint's own switch holds the row that delivers to it."""
        home = self.switches.get(endpoint.node)
        return home is not None and home.believed is not None and delivery(endpoint.eip) in home.believed.rows

    def _stages(self, by_node: Mapping[int, tuple[Change, ...]]) -> tuple[Stage, ...]:
        """Where a call arrives changes before where it comes from; late flushes come last."""
        early: dict[int, list[Flush]] = {}
        late: dict[int, list[Flush]] = {}
        for node, ordered in by_node.items():
            for flush in flushes(node, ordered, self.generator.index):
                switch = self.switches.get(flush.node)
                if switch is None or switch.believed is None:
                    self.switches.setdefault(flush.node, Switch(flush.node)).owed.append(flush)
                else:
                    (late if flush.late else early).setdefault(flush.node, []).append(flush)
        for node in by_node:
            if self.switches[node].believed is not None:
                late.setdefault(node, []).extend(self.switches[node].owed)
                self.switches[node].owed = []
        arrivals = {node for node, ordered in by_node.items() if any(_opens_a_way(c) for c in ordered)}
        senders = {node for node, ordered in by_node.items() if any(isinstance(c, PutGroup) for c in ordered)}
        first = arrivals if senders - arrivals else set(by_node)
        nodes = by_node.keys() | early.keys()
        batches = {n: Batch(by_node.get(n, ()), tuple(early.get(n, ()))) for n in nodes}
        stages = (
            {n: b for n, b in batches.items() if n in first},
            {n: b for n, b in batches.items() if n not in first},
            {n: Batch(flushes=tuple(f)) for n, f in late.items()},
        )
        kept = ({n: b for n, b in stage.items() if b.changes or b.flushes} for stage in stages)
        return tuple(stage for stage in kept if stage)


def _opens_a_way(change: Change) -> bool:
    return isinstance(change, PutRow) and p.category_of(change.row.cookie) is p.Category.FORWARDING

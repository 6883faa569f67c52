"""A cluster of switches as values: what becomes of a packet, by the rows that the nodes should hold or do hold.

Evaluates neutral rows with ports by name, such as the generator's, so that a question about a packet needs no switch
and no root. It models what the pipeline relies on: the highest priority first, registers, select groups, ct with
NAT and commit, trunks, packets punted and copied. It does not model time: meters pass everything, nothing expires,
and a row's change is there at once. A SYN that was committed but not answered stays "new", as in OVS. Tables that no
switch could mean are a `SimulationError`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address
from typing import Any

from controllers import pipeline as p
from controllers.rows import (
    Action,
    Ct,
    DecTtl,
    Goto,
    Group,
    LoadPort,
    Move,
    OutputInPort,
    OutputPort,
    OutputRegister,
    Punt,
    Row,
    SetField,
    Tables,
    ToGroup,
    UseMeter,
    Value,
)
from testbed.model import addressing
from testbed.model.errors import TestbedError

Addresses = tuple[str, int, str, int]
"""A TCP connection as one of its packets shows it: source IP and port, destination IP and port."""
SYN, SYN_ACK = 0x02, 0x12
MOST_HOPS = 8
_OF_THE_SWITCH = {"in_port", "ct_state", "ct_mark", "ct_nw_src", "ct_nw_dst"}
"""Fields that a packet does not carry from one switch to the next."""


class SimulationError(TestbedError):
    """The tables leave open, or do for ever, what becomes of a packet; or they say what the simulator does not know."""


@dataclass(frozen=True)
class Packet:
    """A packet at a port of a node; `fields` by OpenFlow name. One from the controller starts in a later table."""

    node: int
    in_port: str
    fields: Mapping[str, Any]
    table: int = 0
    registers: Mapping[str, int] = field(default_factory=dict)


def tcp(node: int, source: str, destination: str, *, sport: int = 40_000, dport: int = 8080, **fields: Any) -> Packet:
    """What the host with eIP `source` would send; `fields` override, to lie."""
    port = fields.pop("in_port", addressing.port_name(source))
    honest = {
        "eth_type": 0x0800,
        "ip_proto": 6,
        "eth_src": addressing.mac(source),
        "eth_dst": addressing.VIRTUAL_MAC,
        "ipv4_src": source,
        "ipv4_dst": destination,
        "tcp_src": sport,
        "tcp_dst": dport,
        "tcp_flags": SYN,
    }
    return Packet(node, port, {**honest, **fields})


def arp(node: int, source: str, target: str, **fields: Any) -> Packet:
    """An ARP request of the host with eIP `source`."""
    mac = addressing.mac(source)
    honest = {"eth_type": 0x0806, "eth_src": mac, "eth_dst": "ff:ff:ff:ff:ff:ff", "arp_op": 1, "arp_spa": source}
    return Packet(
        node,
        addressing.port_name(source),
        {**honest, "arp_sha": mac, "arp_tpa": target, "arp_tha": "00:00:00:00:00:00", **fields},
    )


@dataclass
class Connection:
    """A connection that was committed. `origin`: as it was begun; `reply`: as answers come, after NAT."""

    origin: Addresses
    reply: Addresses
    mark: int
    answered: bool = False


@dataclass(frozen=True)
class Outcome:
    """Where a packet ended: at a port of a node, at the row that dropped it, or at the one that punted it.

    All three are None where no row took it.
    """

    node: int
    port: str | None
    fields: Mapping[str, Any]
    dropped_by: Row | None
    held_by: Row | None = None

    @property
    def reason(self) -> str | None:
        """The label of the counted drop, None when the packet was delivered or no row took it."""
        if self.dropped_by is None:
            return None
        if p.category_of(self.dropped_by.cookie) is p.Category.DENY:
            return p.DropReason.DENIED.label
        return p.DROP_REASONS[p.object_of(self.dropped_by.cookie)].label


@dataclass
class Switch:
    """One node's tables, and its connections by zone and the addresses of either direction."""

    tables: Tables
    connections: dict[tuple[int, Addresses], Connection] = field(default_factory=dict)


@dataclass
class Network:
    """Switches by node, their tables not copied: a change of theirs is one of the network.

    `choose` picks a bucket's index; `hits` counts rows by (node, cookie); `copies` went to other ports.
    """

    switches: dict[int, Switch]
    choose: Callable[[Group], int] = lambda _: 0
    hits: Counter[tuple[int, int]] = field(default_factory=Counter)
    copies: list[tuple[int, str | int, dict[str, Any]]] = field(default_factory=list)  # node, port, fields

    @classmethod
    def of(cls, desired: Mapping[int, Tables]) -> Network:
        return cls({node: Switch(tables) for node, tables in desired.items()})

    def send(self, packet: Packet) -> Outcome:
        """Follow a packet until it is delivered, dropped or punted."""
        for _ in range(MOST_HOPS):
            outcome = _Walk(self, packet).run()
            if outcome.port is None or not outcome.port.startswith("t"):
                return outcome
            peer = next(n for n in self.switches if addressing.trunk_name(outcome.node, n) == outcome.port)
            packet = Packet(peer, addressing.trunk_name(peer, outcome.node), outcome.fields)
        raise SimulationError(f"after {MOST_HOPS} nodes {packet} is still on its way: it goes round in circles")

    def release(self, held: Outcome, packet: Packet, table: int) -> Outcome:
        """What the controller does with a packet that a switch has handed to it."""
        if held.held_by is None:
            raise SimulationError(f"{packet} was not handed to the controller, so it cannot be released")
        registers = {p.REG_SOURCE.name: int(p.Source.LOCAL), p.REG_WORKLOAD.name: held.fields[p.REG_WORKLOAD.name]}
        return self.send(replace(packet, table=table, registers=registers))

    def answer(self, outcome: Outcome) -> Packet:
        """What the host that received `outcome` sends back."""
        got, eip = outcome.fields, outcome.fields["ipv4_dst"]
        return tcp(outcome.node, eip, got["ipv4_src"], sport=got["tcp_dst"], dport=got["tcp_src"], tcp_flags=SYN_ACK)


class _Walk:
    """One packet's way through one switch."""

    def __init__(self, network: Network, packet: Packet) -> None:
        self.network, self.node = network, packet.node
        self.switch = network.switches[packet.node]
        registers = {register.name: packet.registers.get(register.name, 0) for register in p.REGISTERS}
        untracked = {"in_port": packet.in_port, "ct_state": 0, "ct_mark": 0}
        self.fields: dict[str, Any] = {**packet.fields, **registers, **untracked}
        self.output: str | None = None
        self.table: int | None = packet.table

    def run(self) -> Outcome:
        table = self.table
        row: Row | None = None
        while table is not None:
            row = self._lookup(table)
            table = None
            if row is not None:
                self.network.hits[self.node, row.cookie] += 1
                table = self._act(row.actions)
        if row is not None and Punt() in row.actions:
            return Outcome(self.node, None, self.fields, None, row)
        dropped_by = row if row is not None and not row.actions else None
        registers = {register.name for register in p.REGISTERS}
        plain = {name: value for name, value in self.fields.items() if name not in _OF_THE_SWITCH | registers}
        return Outcome(self.node, self.output, plain, dropped_by)

    def _lookup(self, table: int) -> Row | None:
        rows = [row for row in self.switch.tables.rows.values() if row.table == table and self._matches(row)]
        rows.sort(key=lambda row: -row.priority)
        if len(rows) > 1 and rows[0].priority == rows[1].priority:
            raise SimulationError(f"two rows of one priority take the packet on node{self.node}: {rows[0]}, {rows[1]}")
        return rows[0] if rows else None

    def _matches(self, row: Row) -> bool:
        return all(name in self.fields and _agrees(self.fields[name], value) for name, value in row.match)

    def _act(self, actions: Iterable[Action]) -> int | None:
        """Carry the actions out; the table that the packet goes on in."""
        following: int | None = None
        for action in actions:
            match action:
                case Goto(table):
                    following = table
                case SetField(name, value):
                    self.fields[name] = value
                case LoadPort(port):
                    self.fields[p.REG_PORT.name] = port
                case Move(source, target, _):
                    self.fields[target] = self.fields[source]
                case OutputPort(port):
                    self.network.copies.append((self.node, port, dict(self.fields)))
                case OutputInPort():
                    self.output = self.fields["in_port"]
                case OutputRegister(register):
                    self.output = self.fields[register]
                case ToGroup(group_id):
                    group = self.switch.tables.groups[group_id]
                    following = self._act(group.buckets[self.network.choose(group)].actions)
                case Ct():
                    following = self._track(action)
                case DecTtl() | UseMeter() | Punt():
                    pass
                case _:
                    raise SimulationError(f"{action} is unknown to the simulator")
        return following

    def _track(self, ct: Ct) -> int:
        key = (ct.zone, self._addresses())
        connection = self.switch.connections.get(key)
        if ct.commit and connection is None:
            source, sport, destination, dport = key[1]
            if ct.nat is not None and ct.nat.address is not None:
                destination, dport = ct.nat.address, ct.nat.port or dport
            connection = Connection(key[1], (destination, dport, source, sport), 0)
            self.switch.connections[key] = connection
            self.switch.connections[ct.zone, connection.reply] = connection
        if ct.commit and connection is not None and ct.mark is not None:
            connection.mark = ct.mark
        new = p.CtState.TRACKED | p.CtState.NEW
        self.fields["ct_state"] = int(new if connection is None else self._known(connection, key[1], ct))
        self.fields["ct_mark"] = connection.mark if connection else 0
        origin = connection.origin if connection else key[1]
        self.fields["ct_nw_src"], _, self.fields["ct_nw_dst"], _ = origin
        return ct.table

    def _known(self, connection: Connection, packet: Addresses, ct: Ct) -> int:
        if packet == connection.reply and packet != connection.origin:
            connection.answered = True
            if ct.nat is not None:
                self.fields["ipv4_src"], self.fields["tcp_src"] = connection.origin[2:]
            return p.CtState.TRACKED | p.CtState.ESTABLISHED | p.CtState.REPLY
        if ct.nat is not None:
            self.fields["ipv4_dst"], self.fields["tcp_dst"] = connection.reply[:2]
        return p.CtState.TRACKED | (p.CtState.ESTABLISHED if connection.answered else p.CtState.NEW)

    def _addresses(self) -> Addresses:
        f = self.fields
        return f["ipv4_src"], f["tcp_src"], f["ipv4_dst"], f["tcp_dst"]


def _agrees(have: Any, want: Value) -> bool:
    if not isinstance(want, tuple):
        return bool(have == want)
    value, mask = (int(IPv4Address(part)) if isinstance(part, str) else part for part in want)
    number = int(IPv4Address(have)) if isinstance(have, str) else have
    return bool(number & mask == value)

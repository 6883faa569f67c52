"""Rows, groups and meters as neutral values: what a switch should hold, apart from how OpenFlow says it.

The generator makes them with ports by name, a switch's port map resolves names to numbers, the
translator encodes them and parses them back, a simulator evaluates them, all on these same values.
Canonical forms, so that equal means equal: IPv4 as dotted text, MAC as lower-case text, the rest as
int, a masked value as (value, mask), a match sorted by field name. No OpenFlow and no I/O here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from hashlib import blake2b
from typing import NamedTuple

Value = int | str | tuple[int, int] | tuple[str, str]
Match = tuple[tuple[str, Value], ...]
PortMap = Mapping[str, int]
"""Name of a switch port -> its OpenFlow number."""


@dataclass(frozen=True, slots=True)
class SetField:
    """Write a constant into a field or register."""

    field: str
    value: int | str


@dataclass(frozen=True, slots=True)
class LoadPort:
    """Write the number of a port, given by name until resolved, into REG_PORT."""

    port: str | int


@dataclass(frozen=True, slots=True)
class Move:
    """Copy `bits` bits of one field into another."""

    source: str
    target: str
    bits: int


@dataclass(frozen=True, slots=True)
class Nat:
    """New destination of a connection; without an address: what conntrack remembers for it."""

    address: str | None = None
    port: int | None = None


@dataclass(frozen=True, slots=True)
class Ct:
    """Conntrack in `zone`; the packet goes on in `table`. `commit` admits the connection with `mark`."""

    zone: int
    table: int
    commit: bool = False
    nat: Nat | None = None
    mark: int | None = None


@dataclass(frozen=True, slots=True)
class ToGroup:
    """Hand the packet to a select group."""

    group: int


@dataclass(frozen=True, slots=True)
class UseMeter:
    """Drop the packet when the meter's rate is exceeded. Always the first action, and at most one a row."""

    meter: int


@dataclass(frozen=True, slots=True)
class Punt:
    """Hand the whole packet to the controller."""


@dataclass(frozen=True, slots=True)
class Resubmit:
    """Go on in a table, from outside the pipeline: for packets that the controller sends."""

    table: int


@dataclass(frozen=True, slots=True)
class DecTtl:
    """Decrement the IP TTL, as a router does."""


@dataclass(frozen=True, slots=True)
class OutputInPort:
    """Send the packet back where it came from."""


@dataclass(frozen=True, slots=True)
class OutputPort:
    """Send the packet, or a copy where more actions follow, to a port, given by name until resolved."""

    port: str | int


@dataclass(frozen=True, slots=True)
class OutputRegister:
    """Send the packet to the port whose number a register holds."""

    register: str


@dataclass(frozen=True, slots=True)
class Goto:
    """Go on in a later table. Always the last action."""

    table: int


@dataclass(frozen=True, slots=True)
class Foreign:
    """Something a switch holds that is not ours; equal to nothing we would install."""

    text: str


RowAction = (
    Foreign
    | UseMeter
    | SetField
    | LoadPort
    | Move
    | Ct
    | ToGroup
    | Punt
    | DecTtl
    | OutputInPort
    | OutputPort
    | OutputRegister
    | Goto
)
Action = RowAction | Resubmit


class RowKey(NamedTuple):
    """What makes a row the same row for a switch."""

    table: int
    priority: int
    match: Match


def match(**fields: Value) -> Match:
    """A canonical match."""
    return tuple(sorted(fields.items()))


@dataclass(frozen=True, slots=True)
class Row:
    """One flow row. No actions: drop. `cookie` has round 0."""

    table: int
    priority: int
    match: Match
    actions: tuple[Action, ...]
    cookie: int

    @property
    def key(self) -> RowKey:
        return RowKey(self.table, self.priority, self.match)

    def ports(self) -> Iterator[str]:
        """Names of the ports the row refers to (none once resolved)."""
        for name, value in self.match:
            if name == "in_port" and isinstance(value, str):
                yield value
        for action in self.actions:
            if isinstance(action, LoadPort | OutputPort) and isinstance(action.port, str):
                yield action.port

    def resolve(self, numbers: PortMap) -> Row | None:
        """The row with numbers for names; None while one of its ports is not on the switch."""
        names = set(self.ports())
        if not names:
            return self
        if not names <= numbers.keys():
            return None
        fields = tuple((name, numbers[str(value)] if name == "in_port" else value) for name, value in self.match)
        actions = tuple(
            replace(a, port=numbers[str(a.port)]) if isinstance(a, LoadPort | OutputPort) else a for a in self.actions
        )
        return replace(self, match=fields, actions=actions)


@dataclass(frozen=True, slots=True)
class Bucket:
    """One choice of a group. `weight`: its part of the sum of all weights."""

    actions: tuple[Action, ...]
    weight: int

    @property
    def endpoint(self) -> str | None:
        """The eIP that this bucket sends to."""
        for action in self.actions:
            if type(action) is Ct and action.nat:
                return action.nat.address
        return None


@dataclass(frozen=True, slots=True)
class Group:
    """A select group: each new connection goes to one bucket. Its id is the workload's."""

    id: int
    buckets: tuple[Bucket, ...]


class MeterUnit(str, Enum):
    """What a meter counts: thousands of bits, or packets."""

    KBIT = "kbps"
    PACKETS = "pktps"


@dataclass(frozen=True, slots=True)
class Meter:
    """A token bucket: `rate` units a second, `burst` units at once; what exceeds it is dropped.

    An id up to 65535 is a namespace's, one from 65536 a provider's policy's.
    """

    id: int
    unit: MeterUnit
    rate: int
    burst: int


@dataclass(frozen=True, slots=True)
class PacketOut:
    """A frame for a switch to handle as if it had just come in at a port (None: from nowhere)."""

    frame: bytes
    in_port: int | None
    actions: tuple[Action, ...]


@dataclass
class Tables:
    """All rows, groups and meters of one switch; the only mutable thing here."""

    rows: dict[RowKey, Row] = field(default_factory=dict)
    groups: dict[int, Group] = field(default_factory=dict)
    meters: dict[int, Meter] = field(default_factory=dict)

    @classmethod
    def of(cls, rows: Iterable[Row], groups: Iterable[Group] = (), meters: Iterable[Meter] = ()) -> Tables:
        return cls(
            {r.key: r for r in rows}, {group.id: group for group in groups}, {meter.id: meter for meter in meters}
        )

    def digest(self) -> str:
        """16 hex digits that do not depend on the order of rows, groups and meters, nor on cookies' rounds."""
        values: list[Row | Group | Meter] = [*self.rows.values(), *self.groups.values(), *self.meters.values()]
        total = sum(map(_hash, values))
        return f"{total % (1 << 64):016x}"


def _hash(value: Row | Group | Meter) -> int:
    return int.from_bytes(blake2b(repr(value).encode(), digest_size=8).digest(), "big")

"""One switch, as far as the controller knows it: what it was told, has confirmed, owes, and must look at again.

Turns deltas of the generator, port changes and tables read back into ordered changes; resolves port names and
holds rows back until their port exists. Everything that is known of a switch is here and nowhere else. Pure: no
OpenFlow and no I/O; its worker (worker.py) sends, waits, and says what came of it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from ipaddress import IPv4Address

from controllers import pipeline as p
from controllers.desired.generator import Delta
from controllers.rows import PortMap, Row, RowKey, Tables
from controllers.switch.debts import Debts
from controllers.switch.reconcile import Change, DeleteRow, PutRow, apply, changes, reconcile
from testbed.model import addressing


@dataclass(frozen=True, slots=True)
class Moment:
    """How far the cluster's history had come.

    Every change of what is desired has a `revision` of its own; `version` is the newest resource version in it.
    """

    revision: int = 0
    version: int = 0


NEVER = Moment()


@dataclass
class Switch:
    """One node's switch. `told` has port numbers, as the switch does; None until it was read.

    `told` is what the switch holds once everything that was handed out has been taken. `delivers`: eIPs whose
    rows it has confirmed, as far as was last known. `repaired`: rows, groups and meters that were not as told. `owed`:
    connections that it is still to forget. `policed`: the newest revision that can have changed what the provider's
    policies say of calls that begin there.
    """

    node: int
    ports: dict[str, int] = field(default_factory=dict)
    told: Tables | None = None
    connected: bool = False
    round: int = 1
    delivers: set[str] = field(default_factory=set)
    repaired: int = 0
    sendings: int = 0
    owed: Debts = field(default_factory=Debts)
    policed: int = 0
    _resolved: dict[RowKey, RowKey] = field(default_factory=dict)  # key by name -> key by number, of rows installed
    _by_port: dict[str, set[RowKey]] = field(default_factory=dict)  # port name -> keys by name
    _dirty: Delta = field(default_factory=Delta)
    _dirty_since: Moment | None = None  # what it had confirmed before the first of these changes
    _sent_since: Moment | None = None

    # What it should hold

    def wanted(self, desired: Tables) -> Tables:
        """The desired tables with this switch's port numbers, without the rows held back."""
        rows = (row.resolve(self.ports) for row in desired.rows.values())
        return Tables.of((row for row in rows if row is not None), desired.groups.values(), desired.meters.values())

    def held_back(self, desired: Tables) -> int:
        """How many rows wait for their port, as far as changes have been taken."""
        return 0 if self.told is None else len(desired.rows) - len(self._resolved)

    # What changes

    def touch(self, delta: Delta, before: Moment) -> None:
        """These may differ from what it was told. `before`: how far history had come until then."""
        if self.told is None:
            return  # it is read, and compared with everything
        self._dirty.rows |= delta.rows
        self._dirty.groups |= delta.groups
        self._dirty.meters |= delta.meters
        self._dirty_since = self._dirty_since or before

    def touch_ports(self, ports: PortMap, before: Moment) -> None:
        """The ports by name are now these; rows of ports that came, went or moved follow."""
        names = {name for name in ports.keys() | self.ports.keys() if ports.get(name) != self.ports.get(name)}
        self.ports = dict(ports)
        keys = {key for name in names for key in self._by_port.pop(name, ())}  # `take` notes the living ones
        if keys:
            self.touch(Delta(rows=keys), before)

    @property
    def is_touched(self) -> bool:
        return self._dirty_since is not None

    def take(self, desired: Tables) -> tuple[Change, ...]:
        """Everything there is to change now, told from here on. `settle` or `distrust` follows."""
        delta, self._dirty = self._dirty, Delta()
        self._sent_since, self._dirty_since = self._dirty_since, None
        return self.update(delta, desired)

    def update(self, delta: Delta, desired: Tables) -> tuple[Change, ...]:
        """The changes for what a delta touched; none before the switch was read."""
        if self.told is None:
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
        ordered = changes(wanted, self.told, rows, delta.groups, delta.meters)
        apply(self.told, ordered)
        return ordered

    def read(self, actual: Tables, last_round: int, desired: Tables) -> tuple[Change, ...]:
        """The switch was read: the difference, and nothing else, is to be sent. `settle` or `distrust` follows."""
        self.round = last_round % p.LAST_ROUND + 1
        self.delivers = {eip for row in actual.rows.values() if (eip := _delivered(row)) is not None}
        return self._put_right(actual, desired)

    def audit(self, actual: Tables, desired: Tables) -> tuple[Change, ...]:
        """It was read while it should hold what it was told: what puts right that somebody else has changed."""
        assert self.told is not None
        strange = len(reconcile(self.told, actual)) if actual != self.told else 0
        if not strange:
            return ()
        self.repaired += strange
        return self._put_right(actual, desired)

    def settle(self, ordered: Iterable[Change]) -> set[str]:
        """The switch has taken these changes; the eIPs that it delivers to now."""
        self._sent_since = None
        for change in ordered:
            if isinstance(change, PutRow) and (eip := _delivered(change.row)) is not None:
                self.delivers.add(eip)
            elif isinstance(change, DeleteRow) and (eip := _delivered(change.row)) is not None:
                self.delivers.discard(eip)
        return self.delivers

    def distrust(self) -> None:
        """It has not taken everything, or is gone: what it holds now is unknown until it is read."""
        self.told = None

    def reached(self, now: Moment) -> Moment:
        """How much of history it has confirmed, when history has come to `now`."""
        if self.told is None or not self.connected:
            return NEVER
        return self._sent_since or self._dirty_since or now

    # How

    def _put_right(self, actual: Tables, desired: Tables) -> tuple[Change, ...]:
        self.told = actual
        self._resolved, self._by_port = {}, {}
        for key, row in desired.rows.items():
            self._note(key, row)
        self._sent_since, self._dirty_since, self._dirty = NEVER, None, Delta()
        ordered = reconcile(self.wanted(desired), actual)
        apply(self.told, ordered)
        return ordered

    def _note(self, key: RowKey, row: Row | None) -> None:
        if row is None:
            return
        resolved = row.resolve(self.ports)
        if resolved is not None:
            self._resolved[key] = resolved.key
        for name in row.ports():
            self._by_port.setdefault(name, set()).add(key)


def _delivered(row: Row) -> str | None:
    """The eIP that a row delivers to, where it is such a row."""
    thing = p.object_of(row.cookie)
    if p.category_of(row.cookie) is not p.Category.FORWARDING or thing <= addressing.MAX_NODE:
        return None
    return str(IPv4Address(thing))

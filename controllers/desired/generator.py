"""The Flow Table Generator: intents -> the rows and groups that each node should hold.

Rows come in fragments: what one port, one call or one callable service needs on one node. An event
rebuilds the fragments it touches and leaves the rest, so that one instance's change costs the same
in a cluster of ten functions and of a thousand. Ports are named, not numbered. Pure: no I/O, no
OpenFlow; what a switch holds already is reconcile.py's business.
"""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from controllers.desired.base import base_rows, port_rows, trunk_rows
from controllers.desired.callgraph import CallGraph
from controllers.desired.calls import call_row, hold_row, policy_rows, punt_meter, service
from controllers.intents import Call, IntentIndex, Port, Touched, Workload
from controllers.policy.book import Book, PolicyIndex, Rules, Verdict
from controllers.policy.rules import OWN_PROBE
from controllers.rows import Group, Meter, Row, RowKey, Tables
from testbed.model import addressing
from testbed.model.cluster import ClusterState, Role


class _Key(NamedTuple):
    """A fragment's name: kind, node, and an eIP, call or workload id."""

    kind: str
    node: int
    thing: Any = None


@dataclass(frozen=True, slots=True)
class _Fragment:
    rows: tuple[Row, ...]
    group: Group | None = None
    meters: tuple[Meter, ...] = ()


_NOTHING = _Fragment(())


@dataclass
class Delta:
    """Keys of one node's rows, groups and meters that may differ from before."""

    rows: set[RowKey] = field(default_factory=set)
    groups: set[int] = field(default_factory=set)
    meters: set[int] = field(default_factory=set)

    def __bool__(self) -> bool:
        return bool(self.rows or self.groups or self.meters)


@contextmanager
def _collector_paused() -> Iterator[None]:
    """What a snapshot or a policy makes is kept; collecting meanwhile walks over all of it again and again."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


class Generator:
    """The desired tables of every node, kept current. `deltas` of an event name what to look at again."""

    def __init__(self) -> None:
        self.index = IntentIndex(ClusterState())
        self.desired: dict[int, Tables] = {}
        self._fragments: dict[_Key, _Fragment] = {}
        self._local: dict[int, Counter[int]] = {}  # workload -> node -> its ports there
        self._graph = CallGraph()
        self._callable: Counter[tuple[int, int]] = Counter()  # (node, callee) -> callers there
        self.policies = PolicyIndex(self.index, self._graph)
        self.withheld: set[str] = set()
        """eIPs that no group may choose, because their own switch does not deliver to them yet."""

    def apply(self, event: Mapping[str, Any]) -> dict[int, Delta]:
        """Take one event of the watch stream; returns what it touched, by node."""
        with _collector_paused() if event["type"] == "SNAPSHOT" else nullcontext():
            return self._apply(event)

    def _apply(self, event: Mapping[str, Any]) -> dict[int, Delta]:
        nodes = self.index.state.nodes
        touched = self.index.apply(event)
        dirty: dict[_Key, None] = {}  # in order, so that the same events give the same messages
        if nodes != self.index.state.nodes:
            dirty |= {_Key("base", node): None for node in (*nodes, *self.index.state.nodes)}
            dirty |= {
                _Key("policy", n, q.number): None for n in self.index.state.nodes for q in self.policies.book.values()
            }
        self._mark(touched, dirty)
        if event["type"] == "SNAPSHOT" or event.get("kind") == "host":  # a host may have come that takes copies
            for call in [call for call, rules in self.policies.rules.items() if rules.captures]:
                self._mark_call(call, dirty)
        self._mark_verdicts(self.policies.follow(touched.workloads, touched.added | touched.removed), dirty)
        deltas = self._rebuild_all(dirty)
        for node in set(self.desired) - set(self.index.state.nodes):
            del self.desired[node]
        return deltas

    def set_policies(self, policies: Book) -> dict[int, Delta]:
        """From now on these are the provider's policies."""
        numbers = sorted({policy.number for policy in {*self.policies.book.values()} ^ {*policies.values()}})
        dirty = {_Key("policy", node, number): None for node in self.index.state.nodes for number in numbers}
        with _collector_paused():
            self._mark_verdicts(self.policies.replace(policies), dirty)
            return self._rebuild_all(dirty)

    def release(self, eips: Iterable[str]) -> dict[int, Delta]:
        """These are withheld no longer."""
        released = self.withheld.intersection(eips)
        self.withheld -= released
        owners = {self.index.ports[eip].workload for eip in released if eip in self.index.ports}
        nodes = self.index.state.nodes
        return self._rebuild_all(_Key("service", node, owner) for owner in sorted(owners) for node in nodes)

    def load(self, state: ClusterState) -> dict[int, Delta]:
        """Take a whole state, as a snapshot event would bring it."""
        return self.apply({"type": "SNAPSHOT", "version": state.version, "object": state.to_json()})

    def _rebuild_all(self, dirty: Iterable[_Key]) -> dict[int, Delta]:
        deltas: dict[int, Delta] = {node: Delta() for node in self.index.state.nodes}
        for key in dirty:
            self._rebuild(key, deltas.setdefault(key.node, Delta()))
        return deltas

    def _mark_verdicts(self, verdicts: Iterable[Verdict], dirty: dict[_Key, None]) -> None:
        for verdict in verdicts:
            self._count_call(verdict.call, self._local.get(verdict.call[0], ()), verdict.step, dirty)

    def _mark(self, touched: Touched, dirty: dict[_Key, None]) -> None:
        for call in touched.removed:
            self._graph.discard(call)
            self._count_call(call, self._local.get(call[0], ()), -1, dirty)
        for before, after in touched.ports.values():
            if before is not None:
                self._count_port(before, -1, dirty)
            if after is not None:
                self._count_port(after, +1, dirty)
        for call in touched.added:
            self._graph.add(call)
            self._count_call(call, self._local.get(call[0], ()), +1, dirty)
        for workload in touched.workloads:
            dirty.update((_Key("service", node, workload), None) for node in self.index.state.nodes)
        for namespace in touched.namespaces:
            dirty.update((_Key("meter", node, namespace), None) for node in self.index.state.nodes)
        for moved in touched.moved:
            self._mark_calls_of(moved, dirty)

    def allows(self, caller: int, callee: int) -> bool:
        """Whether the one may call the other."""
        rules = self.policies.rules.get((caller, callee), Rules())
        return (rules.allowed or (caller, callee) in self._graph) and not rules.denied

    def callees(self, caller: int) -> Iterator[int]:
        """Whom it may call."""
        for callee in self._graph.callees(caller):
            if self.allows(caller, callee):
                yield callee
        for (_, callee), rules in self.policies.of_caller(caller):
            if rules.allowed and not rules.denied:
                yield callee

    def _mark_calls_of(self, workload: int, dirty: dict[_Key, None]) -> None:
        called = ((workload, callee) for callee in self._graph.callees(workload))
        calling = ((caller, workload) for caller in self._graph.callers(workload))
        for call in (*called, *calling, *self.policies.of(workload)):
            self._mark_call(call, dirty)

    def _mark_call(self, call: Call, dirty: dict[_Key, None]) -> None:
        dirty.update((_Key("call", node, call), None) for node in self._local.get(call[0], ()))

    def _count_port(self, port: Port, step: int, dirty: dict[_Key, None]) -> None:
        dirty[_Key("port", port.node, port.eip)] = None
        nodes = self._local.setdefault(port.workload, Counter())
        was_here = nodes[port.node] > 0
        nodes[port.node] += step
        if not nodes[port.node]:
            del nodes[port.node]
        comes_or_goes = was_here != (port.node in nodes)
        if comes_or_goes:
            for callee in self._graph.callees(port.workload):
                self._count_call((port.workload, callee), (port.node,), step, dirty)
        for call, rules in self.policies.of_caller(port.workload):
            if comes_or_goes or rules.of_packets:
                self._count_call(call, (port.node,), step if comes_or_goes and rules.allowed else 0, dirty)

    def _count_call(self, call: Call, nodes: Iterable[int], step: int, dirty: dict[_Key, None]) -> None:
        for node in nodes:
            dirty[_Key("call", node, call)] = None
            self._callable[node, call[1]] += step
            dirty[_Key("service", node, call[1])] = None

    def _build(self, key: _Key) -> _Fragment | None:  # noqa: PLR0911 - one return per kind
        index = self.index
        if key.node not in index.state.nodes:
            return None
        if key.kind == "base":
            peers = (peer for peer in index.state.nodes if peer != key.node)
            return _Fragment((*base_rows(key.node), *(row for peer in peers for row in trunk_rows(key.node, peer))))
        if key.kind == "port":
            port = index.ports.get(key.thing)
            return _Fragment(tuple(port_rows(port))) if port else None
        if key.kind == "call":
            return _Fragment(self._call_rows(key.node, key.thing))
        if key.kind == "policy":
            return _Fragment((), meters=self.policies.meters(key.thing))
        if key.kind == "meter":
            return _Fragment((), meters=(punt_meter(key.thing),)) if key.thing in index.namespace_names else None
        workload = index.workloads.get(key.thing)
        if workload is None or self._callable[key.node, key.thing] <= 0:
            return None
        return _Fragment(*service(key.node, self._reachable(workload)))

    def _reachable(self, workload: Workload) -> Workload:
        """As groups may know it."""
        if not self.withheld:
            return workload
        return replace(workload, endpoints=tuple(e for e in workload.endpoints if e.eip not in self.withheld))

    def _call_rows(self, node: int, call: Call) -> tuple[Row, ...]:
        if node not in self._local.get(call[0], ()):
            return ()
        rules = self.policies.rules.get(call)
        caller, callee = (self.index.workloads.get(id_) for id_ in call)
        port = callee.port if callee else addressing.FUNCTION_PORT
        rows = [call_row(call, port)] if call in self._graph else []
        if (rows or (rules and rules.allowed)) and callee is not None and callee.namespace:  # hosts are always there
            # A host's call is metered as its callee's: what the gateway asks for, it asks for that namespace.
            rows.append(hold_row(call, (caller.namespace if caller else 0) or callee.namespace, port))
        if rules is not None:
            callers = [own for own in self.index.ports_of(call[0]) if own.node == node]
            rows += policy_rows(node, call, rules, callers, self._capture_ports(node, rules.captures), port)
        return tuple(rows)

    def _capture_ports(self, node: int, captures: Iterable[str]) -> list[str]:
        """Ports of the hosts on this node that copies go to."""
        hosts = [host for host in self.index.state.hosts.values() if host.node == node]
        wanted = [h for h in hosts if h.name in captures or (h.role is Role.PROBE and OWN_PROBE in captures)]
        return sorted(addressing.port_name(host.eip) for host in wanted)

    def _rebuild(self, name: _Key, delta: Delta) -> None:
        before, after = self._fragments.get(name), self._build(name)
        after = None if after == _NOTHING else after
        if before == after:
            return
        if after is None:
            del self._fragments[name]
        else:
            self._fragments[name] = after
        tables = self.desired.setdefault(name.node, Tables())
        for row in before.rows if before else ():
            key = row.key
            # Another fragment may have taken the key meanwhile; then it is not ours to remove.
            if tables.rows.get(key) is row:
                del tables.rows[key]
            delta.rows.add(key)
        for row in after.rows if after else ():
            key = row.key
            tables.rows[key] = row
            delta.rows.add(key)
        if before and before.group:
            tables.groups.pop(before.group.id, None)
            delta.groups.add(before.group.id)
        for meter in before.meters if before else ():
            tables.meters.pop(meter.id, None)
            delta.meters.add(meter.id)
        if after and after.group:
            tables.groups[after.group.id] = after.group
            delta.groups.add(after.group.id)
        for meter in after.meters if after else ():
            tables.meters[meter.id] = meter
            delta.meters.add(meter.id)

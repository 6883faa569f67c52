"""The Flow Table Generator: intents -> the rows and groups that each node should hold.

Rows come in fragments: what one port, one call or one callable service needs on one node. An event
rebuilds the fragments it touches and leaves the rest, so that one instance's change costs the same
in a cluster of ten functions and of a thousand. Ports are named, not numbered. Pure: no I/O, no
OpenFlow; what a switch holds already is reconcile.py's business.
"""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network
from typing import Any, NamedTuple

from controllers import pipeline as p
from controllers.intents import Call, IntentIndex, Port, Touched, Workload
from controllers.rows import (
    Action,
    Bucket,
    Ct,
    DecTtl,
    Goto,
    Group,
    LoadPort,
    Match,
    Meter,
    MeterUnit,
    Move,
    Nat,
    OutputInPort,
    OutputRegister,
    Punt,
    Row,
    RowKey,
    SetField,
    Tables,
    ToGroup,
    UseMeter,
    match,
)
from testbed import addressing
from testbed.model import ClusterState

ETH_IPV4, ETH_ARP, ETH_IPV6, IP_TCP = 0x0800, 0x0806, 0x86DD, 6
ARP_REQUEST, ARP_REPLY = 1, 2

PUNTS_PER_S, PUNTS_AT_ONCE = 200, 256
"""What one namespace may hand to the controller from one node. A controller on a shared core takes some 1 000 a
second and still answers the switches; above that, everybody's changes wait."""

_TRACKED_NEW = p.CtState.TRACKED | p.CtState.NEW


def _row(table: p.Table, priority: int, fields: Match, actions: tuple[Action, ...], cookie: int) -> Row:
    return Row(table.number, int(priority), fields, actions, cookie)


def _drop(reason: p.DropReason, fields: Match, priority: int = p.Priority.MISS) -> Row:
    return _row(reason.table, priority, fields, (), p.cookie(p.Category.DROP, reason.number))


def _network(network: IPv4Network) -> tuple[str, str]:
    return str(network.network_address), str(network.netmask)


_IP = match(eth_type=ETH_IPV4)
_BASE = p.cookie(p.Category.BASE, 0)


def base_rows(node: int) -> Iterator[Row]:
    """The rows that every node has, whoever runs on it."""
    normal, reason = p.Priority.NORMAL, p.DropReason
    to_vip = match(eth_type=ETH_IPV4, ipv4_dst=_network(addressing.VIP_NETWORK))
    to_eip = match(eth_type=ETH_IPV4, ipv4_dst=_network(addressing.EIP_NETWORK))

    def base(table: p.Table, priority: int, fields: Match, *actions: Action) -> Row:
        return _row(table, priority, fields, actions, _BASE)

    yield base(p.CLASSIFIER, normal, match(eth_type=ETH_ARP), Goto(p.ARP_SPOOF_GUARD.number))
    yield base(p.CLASSIFIER, normal, match(eth_type=ETH_IPV4, ip_proto=IP_TCP), Goto(p.SPOOF_GUARD.number))
    yield _drop(reason.NOT_TCP, _IP, p.Priority.DROP)
    yield _drop(reason.IPV6, match(eth_type=ETH_IPV6), p.Priority.DROP)
    yield _drop(reason.OTHER_PROTOCOL, ())
    yield _drop(reason.SPOOFED_ARP, ())
    for network in (addressing.VIP_NETWORK, addressing.EIP_NETWORK):
        asked = match(eth_type=ETH_ARP, arp_op=ARP_REQUEST, arp_tpa=_network(network))
        yield _row(p.ARP_RESPONDER, normal, asked, _ARP_ANSWER, _BASE)
    yield _drop(reason.UNANSWERED_ARP, ())
    yield _drop(reason.SPOOFED_SOURCE, ())
    yield base(p.CONNTRACK_ZONE, normal, _IP, Ct(p.zone(node), p.CONNTRACK_STATE.number, nat=Nat()))
    yield from _conntrack_state_rows()
    yield _drop(reason.NOT_IN_CALL_GRAPH, to_vip, p.Priority.DROP)
    yield _drop(reason.DIRECT_TO_EIP, to_eip, p.Priority.DROP)
    yield _drop(reason.NO_SUCH_SERVICE, ())
    yield _drop(reason.NO_SERVICE_ROW, ())
    admitted = Ct(p.zone(node), p.L3_FORWARD.number, commit=True, mark=p.CT_COMMITTED)
    from_trunk = match(eth_type=ETH_IPV4, reg0=int(p.Source.TRUNK))
    yield base(p.INGRESS_POLICY, normal, from_trunk, admitted)
    yield _drop(reason.NOT_FROM_TRUNK, ())
    yield _drop(reason.NO_ROUTE, ())
    yield base(p.OUTPUT, normal, (), OutputRegister(p.REG_PORT.name))


def _conntrack_state_rows() -> Iterator[Row]:
    def state(priority: int, value: int, mask: int, target: p.Table, **fields: int | tuple[int, int]) -> Row:
        wanted = match(eth_type=ETH_IPV4, ct_state=(value, mask), **fields)
        return _row(p.CONNTRACK_STATE, priority, wanted, (Goto(target.number),), _BASE)

    invalid = int(p.CtState.INVALID | p.CtState.TRACKED)
    new, tracked = int(_TRACKED_NEW), int(p.CtState.TRACKED)
    yield _drop(p.DropReason.INVALID, match(eth_type=ETH_IPV4, ct_state=(invalid, invalid)), p.Priority.INVALID)
    # A committed connection whose SYN is sent again is still "new", yet conntrack has rewritten its vIP
    # already: DagPolicy would not know the address, and would count the call twice if it did.
    committed = (p.CT_COMMITTED, p.CT_COMMITTED)
    yield state(p.Priority.RETRANSMISSION, new, new, p.L3_FORWARD, ct_mark=committed)
    yield state(p.Priority.NORMAL, tracked, new, p.L3_FORWARD)
    yield state(p.Priority.FALLBACK, new, new, p.INGRESS_POLICY, reg0=int(p.Source.TRUNK))
    yield state(p.Priority.FALLBACK, new, new, p.DAG_POLICY, reg0=int(p.Source.LOCAL))
    yield _drop(p.DropReason.UNTRACKED, ())


_ARP_ANSWER: tuple[Action, ...] = (
    Move("eth_src", "eth_dst", 48),
    SetField("eth_src", addressing.VIRTUAL_MAC),
    SetField("arp_op", ARP_REPLY),
    Move("arp_sha", "arp_tha", 48),
    SetField("arp_sha", addressing.VIRTUAL_MAC),
    Move("arp_tpa", p.REG_SCRATCH.name, 32),
    Move("arp_spa", "arp_tpa", 32),
    Move(p.REG_SCRATCH.name, "arp_spa", 32),
    OutputInPort(),
)


def trunk_rows(node: int, peer: int) -> Iterator[Row]:
    """A trunk brings only what the peer's own hosts sent, and takes what is for them."""
    trunk, network = addressing.trunk_name(node, peer), _network(addressing.eip_network(peer))
    known = match(in_port=trunk, eth_type=ETH_IPV4, ipv4_src=network)
    source = (SetField(p.REG_SOURCE.name, int(p.Source.TRUNK)), Goto(p.CONNTRACK_ZONE.number))
    yield _row(p.SPOOF_GUARD, p.Priority.NORMAL, known, source, p.cookie(p.Category.PORT, peer))
    there = (LoadPort(trunk), Goto(p.OUTPUT.number))
    fields = match(eth_type=ETH_IPV4, ipv4_dst=network)
    yield _row(p.L3_FORWARD, p.Priority.FALLBACK, fields, there, p.cookie(p.Category.FORWARDING, peer))


def port_rows(port: Port) -> Iterator[Row]:
    """Who may speak at this port, and how to reach it."""
    name, mac, number = addressing.port_name(port.eip), addressing.mac(port.eip), int(IPv4Address(port.eip))
    cookie = p.cookie(p.Category.PORT, number)
    arp = match(in_port=name, eth_type=ETH_ARP, eth_src=mac, arp_spa=port.eip, arp_sha=mac)
    yield _row(p.ARP_SPOOF_GUARD, p.Priority.NORMAL, arp, (Goto(p.ARP_RESPONDER.number),), cookie)
    own = match(in_port=name, eth_type=ETH_IPV4, eth_src=mac, ipv4_src=port.eip)
    identity = (
        SetField(p.REG_SOURCE.name, int(p.Source.LOCAL)),
        SetField(p.REG_WORKLOAD.name, port.workload),
        Goto(p.CONNTRACK_ZONE.number),
    )
    yield _row(p.SPOOF_GUARD, p.Priority.NORMAL, own, identity, cookie)
    deliver = (
        SetField("eth_src", addressing.VIRTUAL_MAC),
        SetField("eth_dst", mac),
        DecTtl(),
        LoadPort(name),
        Goto(p.OUTPUT.number),
    )
    there = delivery(port.eip).match
    yield _row(p.L3_FORWARD, p.Priority.NORMAL, there, deliver, p.cookie(p.Category.FORWARDING, number))


def delivery(eip: str) -> RowKey:
    """The key of the row that delivers to an eIP, on its own node."""
    return RowKey(p.L3_FORWARD.number, int(p.Priority.NORMAL), match(eth_type=ETH_IPV4, ipv4_dst=eip))


def _to_service(vip: str, **fields: int) -> Match:
    return match(eth_type=ETH_IPV4, ip_proto=IP_TCP, ipv4_dst=vip, tcp_dst=addressing.FUNCTION_PORT, **fields)


def call_row(call: Call) -> Row:
    """One row a call, on every node where the caller has a port."""
    caller, callee = call
    cookie = p.cookie(p.Category.POLICY, p.call_object(caller, callee))
    allowed = _to_service(addressing.vip(callee), reg1=caller)
    return _row(p.DAG_POLICY, p.Priority.NORMAL, allowed, (Goto(p.SERVICE_LB.number),), cookie)


def hold_row(call: Call, tenant: int) -> Row:
    """Punts the call's first packets where they were marked. It stays as long as the call does.

    If it came and went with the callee's instances, packets that a cached flow has punted would be booked
    to the call's own row when that flow is revalidated.
    """
    caller, callee = call
    cookie = p.cookie(p.Category.HOLD, p.call_object(caller, callee))
    fields = {p.REG_WORKLOAD.name: caller, p.REG_HOLD.name: p.HELD}
    marked = _to_service(addressing.vip(callee), **fields)
    return _row(p.DAG_POLICY, p.Priority.HOLD, marked, (UseMeter(tenant), Punt()), cookie)


def punt_meter(tenant: int) -> Meter:
    """How much a namespace's calls may be punted on one node."""
    return Meter(tenant, MeterUnit.PACKETS, PUNTS_PER_S, PUNTS_AT_ONCE)


def _without_instance(node: int, workload: Workload) -> tuple[Row, Row]:
    """New calls to the vIP are marked, to be held; one that passed the mark before it was there is held late."""
    cookie = p.cookie(p.Category.NO_INSTANCE, workload.id)
    mark = SetField(p.REG_HOLD.name, p.HELD)
    tracked = Ct(p.zone(node), p.CONNTRACK_STATE.number, nat=Nat())
    local = _to_service(workload.vip, **{p.REG_SOURCE.name: int(p.Source.LOCAL)})
    return (
        _row(p.CONNTRACK_ZONE, p.Priority.HOLD, local, (mark, tracked), cookie),
        _row(p.SERVICE_LB, p.Priority.NORMAL, _to_service(workload.vip), (UseMeter(workload.tenant), Punt()), cookie),
    )


def service(node: int, workload: Workload) -> tuple[tuple[Row, ...], Group | None]:
    """The vIP's row in ServiceLb and its group; without a ready endpoint the rows that hold its calls."""
    fields = _to_service(workload.vip)
    if not workload.endpoints:
        return _without_instance(node, workload), None
    buckets = tuple(
        Bucket(
            (
                Ct(
                    p.zone(node),
                    p.L3_FORWARD.number,
                    commit=True,
                    nat=Nat(endpoint.eip, addressing.FUNCTION_PORT),
                    mark=p.CT_COMMITTED | workload.id,
                ),
            )
        )
        for endpoint in workload.endpoints
    )
    cookie = p.cookie(p.Category.SERVICE, workload.id)
    row = _row(p.SERVICE_LB, p.Priority.NORMAL, fields, (ToGroup(workload.id),), cookie)
    return (row,), Group(workload.id, buckets)


class _Key(NamedTuple):
    """A fragment's name: kind, node, and an eIP, call or workload id."""

    kind: str
    node: int
    thing: Any = None


@dataclass(frozen=True, slots=True)
class _Fragment:
    rows: tuple[Row, ...]
    group: Group | None = None
    meter: Meter | None = None


@dataclass
class Delta:
    """Keys of one node's rows, groups and meters that may differ from before."""

    rows: set[RowKey] = field(default_factory=set)
    groups: set[int] = field(default_factory=set)
    meters: set[int] = field(default_factory=set)


@contextmanager
def _collector_paused() -> Iterator[None]:
    """Everything a snapshot makes is kept; collecting meanwhile walks over all of it again and again."""
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
        self._callees: dict[int, set[int]] = {}
        self._callable: Counter[tuple[int, int]] = Counter()  # (node, callee) -> callers there

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
        self._mark(touched, dirty)
        deltas: dict[int, Delta] = {node: Delta() for node in self.index.state.nodes}
        for key in dirty:
            self._rebuild(key, deltas.setdefault(key.node, Delta()))
        for node in set(self.desired) - set(self.index.state.nodes):
            del self.desired[node]
        return deltas

    def load(self, state: ClusterState) -> dict[int, Delta]:
        """Take a whole state, as a snapshot event would bring it."""
        return self.apply({"type": "SNAPSHOT", "version": state.version, "object": state.to_json()})

    def _mark(self, touched: Touched, dirty: dict[_Key, None]) -> None:
        for caller, callee in touched.removed:
            self._callees[caller].discard(callee)
            self._count_call(caller, callee, self._local.get(caller, ()), -1, dirty)
        for before, after in touched.ports.values():
            if before is not None:
                self._count_port(before, -1, dirty)
            if after is not None:
                self._count_port(after, +1, dirty)
        for caller, callee in touched.added:
            self._callees.setdefault(caller, set()).add(callee)
            self._count_call(caller, callee, self._local.get(caller, ()), +1, dirty)
        for workload in touched.workloads:
            dirty.update((_Key("service", node, workload), None) for node in self.index.state.nodes)
        for tenant in touched.tenants:
            dirty.update((_Key("meter", node, tenant), None) for node in self.index.state.nodes)
        for moved in touched.moved:
            self._mark_calls_of(moved, dirty)

    def allows(self, caller: int, callee: int) -> bool:
        """Whether the one may call the other."""
        return callee in self._callees.get(caller, ())

    def _mark_calls_of(self, workload: int, dirty: dict[_Key, None]) -> None:
        calls = [(caller, callee) for caller, callees in self._callees.items() for callee in callees]
        for call in calls:
            if workload in call:
                dirty.update((_Key("call", node, call), None) for node in self._local.get(call[0], ()))

    def _count_port(self, port: Port, step: int, dirty: dict[_Key, None]) -> None:
        dirty[_Key("port", port.node, port.eip)] = None
        nodes = self._local.setdefault(port.workload, Counter())
        was_here = nodes[port.node] > 0
        nodes[port.node] += step
        if not nodes[port.node]:
            del nodes[port.node]
        if was_here != (port.node in nodes):
            for callee in self._callees.get(port.workload, ()):
                self._count_call(port.workload, callee, (port.node,), step, dirty)

    def _count_call(self, caller: int, callee: int, nodes: Any, step: int, dirty: dict[_Key, None]) -> None:
        for node in nodes:
            dirty[_Key("call", node, (caller, callee))] = None
            self._callable[node, callee] += step
            dirty[_Key("service", node, callee)] = None

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
            caller, callee = key.thing
            allowed = callee in self._callees.get(caller, ()) and key.node in self._local.get(caller, ())
            return _Fragment(self._call_rows(key.thing)) if allowed else None
        if key.kind == "meter":
            return _Fragment((), meter=punt_meter(key.thing)) if key.thing in index.tenants else None
        workload = index.workloads.get(key.thing)
        if workload is None or self._callable[key.node, key.thing] <= 0:
            return None
        return _Fragment(*service(key.node, workload))

    def _call_rows(self, call: Call) -> tuple[Row, ...]:
        """A host's call is metered as its callee's: what the gateway asks for, it asks for that namespace."""
        caller, callee = (self.index.workloads.get(id_) for id_ in call)
        if callee is None or not callee.tenant:  # hosts are always there
            return (call_row(call),)
        return call_row(call), hold_row(call, (caller.tenant if caller else 0) or callee.tenant)

    def _rebuild(self, key: _Key, delta: Delta) -> None:
        before, after = self._fragments.get(key), self._build(key)
        if before == after:
            return
        if after is None:
            del self._fragments[key]
        else:
            self._fragments[key] = after
        tables = self.desired.setdefault(key.node, Tables())
        for row in before.rows if before else ():
            # Another fragment may have taken the key meanwhile; then it is not ours to remove.
            if tables.rows.get(row.key) is row:
                del tables.rows[row.key]
            delta.rows.add(row.key)
        for row in after.rows if after else ():
            tables.rows[row.key] = row
            delta.rows.add(row.key)
        if before and before.group:
            tables.groups.pop(before.group.id, None)
            delta.groups.add(before.group.id)
        if before and before.meter:
            tables.meters.pop(before.meter.id, None)
            delta.meters.add(before.meter.id)
        if after and after.group:
            tables.groups[after.group.id] = after.group
            delta.groups.add(after.group.id)
        if after and after.meter:
            tables.meters[after.meter.id] = after.meter
            delta.meters.add(after.meter.id)

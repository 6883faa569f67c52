"""The rows of one call on one node: the call graph's own, what a provider's policies add, its callee's. Pure.

Where a policy's row stands decides what it can do. Admission is judged once a connection, in DagPolicy: a deny
above an allow above the call graph. New connections are metered before conntrack: OVS counts a packet in every
row of one pass through the tables, whatever a meter does to it, and conntrack begins another pass. So the call's
own row goes on counting exactly what was admitted. Packets are copied and metered last, in Output, where
both directions of a connection pass once, told by the addresses that the caller gave when it began.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from controllers import pipeline as p
from controllers.desired import balance
from controllers.intents import Call, Endpoint, Port, Workload
from controllers.policy.book import Rules
from controllers.rows import (
    Action,
    Bucket,
    Ct,
    Goto,
    Group,
    Match,
    Meter,
    MeterUnit,
    Nat,
    OutputPort,
    OutputRegister,
    Punt,
    Row,
    SetField,
    ToGroup,
    UseMeter,
    match,
)
from testbed.model import addressing

ETH_IPV4, IP_TCP = 0x0800, 6

PUNTS_PER_S, PUNTS_AT_ONCE = 200, 256
"""What one namespace may hand to the controller from one node. A controller on a shared core takes some 1 000 a
second and still answers the switches; above that, everybody's changes wait."""


def to_service(vip: str, port: int, **fields: int | tuple[int, int]) -> Match:
    """Packets for a service's vIP and port."""
    return match(eth_type=ETH_IPV4, ip_proto=IP_TCP, ipv4_dst=vip, tcp_dst=port, **fields)


def _row(
    table: p.Table, priority: p.Priority, fields: Match, actions: tuple[Action, ...], category: p.Category, call: Call
) -> Row:
    return Row(table.number, int(priority), fields, actions, p.cookie(category, p.call_object(*call)))


def call_row(call: Call, port: int = addressing.FUNCTION_PORT) -> Row:
    """One row a call, on every node where the caller has a port; `port` is the callee's."""
    caller, callee = call
    allowed = to_service(addressing.vip(callee), port, reg1=caller)
    onward = (Goto(p.SERVICE_LB.number),)
    return _row(p.DAG_POLICY, p.Priority.NORMAL, allowed, onward, p.Category.POLICY, call)


def hold_row(call: Call, namespace: int, port: int = addressing.FUNCTION_PORT) -> Row:
    """Punts the call's first packets where they were marked. It stays as long as the call does.

    If it came and went with the callee's instances, packets that a cached flow has punted would be booked
    to the call's own row when that flow is revalidated.
    """
    caller, callee = call
    fields = {p.REG_WORKLOAD.name: caller, p.REG_HOLD.name: p.HELD}
    marked = to_service(addressing.vip(callee), port, **fields)
    return _row(p.DAG_POLICY, p.Priority.HOLD, marked, (UseMeter(namespace), Punt()), p.Category.HOLD, call)


_SYN, _ACK = 0x02, 0x10
_FIRST = (_SYN, _SYN | _ACK)


def tracked(node: int) -> Ct:
    """Look a packet up in the node's conntrack zone, undoing NAT, and go on with what is known of it."""
    return Ct(p.zone(node), p.CONNTRACK_STATE.number, nat=Nat())


def policy_rows(
    node: int,
    call: Call,
    rules: Rules,
    callers: Iterable[Port],
    capture_ports: Iterable[str],
    port: int = addressing.FUNCTION_PORT,
) -> Iterator[Row]:
    """What the policies add. `callers`: the caller's ports on this node; `capture_ports`: where copies go."""
    caller, callee = call
    begun = to_service(addressing.vip(callee), port, reg1=caller)
    if rules.allowed:
        onward = (Goto(p.SERVICE_LB.number),)
        yield _row(p.DAG_POLICY, p.Priority.POLICY, begun, onward, p.Category.ALLOW, call)
    if rules.denied:
        yield _row(p.DAG_POLICY, p.Priority.POLICY_DENY, begun, (), p.Category.DENY, call)
        return
    if rules.connection_meter is not None:
        first = to_service(addressing.vip(callee), port, reg0=int(p.Source.LOCAL), reg1=caller, tcp_flags=_FIRST)
        metered = (UseMeter(rules.connection_meter), tracked(node))
        yield _row(p.CONNTRACK_ZONE, p.Priority.POLICY, first, metered, p.Category.LIMIT, call)
    copies = tuple(OutputPort(port) for port in capture_ports)
    meter = () if rules.packet_meter is None else (UseMeter(rules.packet_meter),)
    if copies or meter:
        for own in callers:
            actions = (*meter, *copies, OutputRegister(p.REG_PORT.name))
            fields = _packets_of(own.eip, addressing.vip(callee))
            yield _row(p.OUTPUT, p.Priority.POLICY_PACKETS, fields, actions, p.Category.PACKETS, call)


def _packets_of(caller_eip: str, vip: str) -> Match:
    """Both directions of the connections that a caller began to a vIP, whatever NAT has made of them."""
    valid = (int(p.CtState.TRACKED), int(p.CtState.TRACKED | p.CtState.INVALID))
    return match(eth_type=ETH_IPV4, ct_state=valid, ct_nw_src=caller_eip, ct_nw_dst=vip)


def punt_meter(namespace: int) -> Meter:
    """How much a namespace's calls may be punted on one node."""
    return Meter(namespace, MeterUnit.PACKETS, PUNTS_PER_S, PUNTS_AT_ONCE)


def _without_instance(node: int, workload: Workload) -> tuple[Row, Row]:
    """New calls to the vIP are marked, to be held; one that passed the mark before it was there is held late."""
    cookie = p.cookie(p.Category.NO_INSTANCE, workload.id)
    mark = SetField(p.REG_HOLD.name, p.HELD)
    late = (UseMeter(workload.namespace), Punt())
    local = to_service(workload.vip, workload.port, **{p.REG_SOURCE.name: int(p.Source.LOCAL)})
    return (
        Row(p.CONNTRACK_ZONE.number, int(p.Priority.HOLD), local, (mark, tracked(node)), cookie),
        Row(p.SERVICE_LB.number, int(p.Priority.NORMAL), to_service(workload.vip, workload.port), late, cookie),
    )


def _admitted(node: int, workload: Workload, endpoint: Endpoint) -> Ct:
    """Give the connection to an endpoint."""
    destination = Nat(endpoint.eip, workload.port)
    mark = p.CT_COMMITTED | workload.id
    return Ct(p.zone(node), p.L3_FORWARD.number, commit=True, nat=destination, mark=mark)


def service(node: int, workload: Workload) -> tuple[tuple[Row, ...], Group | None]:
    """The vIP's row in ServiceLb and its group; without a ready endpoint the rows that hold its calls.

    While the workload's namespace is not known there is no meter to hold them by: they are dropped and counted.
    """
    fields = to_service(workload.vip, workload.port)
    if not workload.endpoints:
        return _without_instance(node, workload) if workload.namespace else (), None
    choices = [_admitted(node, workload, endpoint) for endpoint in workload.endpoints]
    buckets = tuple(Bucket((choices[index],), weight) for index, weight in balance.weights(len(choices)))
    cookie = p.cookie(p.Category.SERVICE, workload.id)
    row = Row(p.SERVICE_LB.number, int(p.Priority.NORMAL), fields, (ToGroup(workload.id),), cookie)
    return (row,), Group(workload.id, buckets)

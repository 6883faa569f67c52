"""The rows that every node has, those of its trunks and those of its ports. Pure.

Who may call whom is not told here: calls.py makes the rows of calls, generator.py knows which node needs which.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network

from controllers import pipeline as p
from controllers.desired.calls import ETH_IPV4, IP_TCP
from controllers.intents import Port
from controllers.rows import (
    Action,
    Ct,
    DecTtl,
    Goto,
    LoadPort,
    Match,
    Move,
    Nat,
    OutputInPort,
    OutputRegister,
    Row,
    RowKey,
    SetField,
    match,
)
from testbed.model import addressing

ETH_ARP, ETH_IPV6 = 0x0806, 0x86DD
ARP_REQUEST, ARP_REPLY = 1, 2

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

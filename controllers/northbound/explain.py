"""A sentence for every row: what it is for, in the names that its owner knows. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address

from controllers import pipeline as p
from controllers.intents import Call, Port, Workload
from controllers.rows import (
    Action,
    Ct,
    DecTtl,
    Foreign,
    Goto,
    Group,
    LoadPort,
    Match,
    Meter,
    Move,
    OutputInPort,
    OutputPort,
    OutputRegister,
    Punt,
    Resubmit,
    Row,
    SetField,
    ToGroup,
    UseMeter,
    Value,
)
from testbed.model import addressing


@dataclass(frozen=True)
class Names:
    """Who is behind an id or an eIP; falls back to the number."""

    workloads: Mapping[int, Workload]
    ports: Mapping[str, Port]
    policies: Mapping[tuple[p.Category, Call], str] = field(default_factory=dict)  # names of those behind a row

    def workload(self, workload_id: int) -> str:
        workload = self.workloads.get(workload_id)
        return workload.name if workload else f"workload {workload_id}"

    def behind(self, row: Row) -> str:
        """The policies that a row of theirs comes from."""
        category, call = p.category_of(row.cookie), p.call_of(p.object_of(row.cookie))
        names = self.policies.get((category, call)) if category else None
        return f"policy {names}" if names else "a policy that is gone"

    def owner(self, eip: str) -> str:
        port = self.ports.get(eip)
        return port.name if port else eip


def thing(row: Row, names: Names) -> str:
    """The object of the row's cookie, by name."""
    category, number = p.category_of(row.cookie), p.object_of(row.cookie)
    match category:
        case p.Category.PORT | p.Category.FORWARDING:
            return f"node{number}" if number <= addressing.MAX_NODE else names.owner(str(IPv4Address(number)))
        case _ if category in p.CALL_CATEGORIES:
            caller, callee = p.call_of(number)
            return f"{names.workload(caller)} -> {names.workload(callee)}"
        case p.Category.SERVICE | p.Category.NO_INSTANCE:
            return names.workload(number)
        case p.Category.DROP:
            reason = p.DROP_REASONS.get(number)
            return reason.label if reason else f"drop reason {number}"
        case _:
            return ""


_BASE_SENTENCES: Mapping[tuple[int, int], str] = {
    (p.CONNTRACK_ZONE.number, p.Priority.NORMAL): "Looks every packet up in this node's conntrack zone, undoing NAT",
    (p.CONNTRACK_STATE.number, p.Priority.RETRANSMISSION): "A repeated SYN of an admitted connection: its vIP is "
    "rewritten already, so it must not be judged or counted again",
    (p.CONNTRACK_STATE.number, p.Priority.NORMAL): "Packets of known connections, replies too, go straight on",
    (p.INGRESS_POLICY.number, p.Priority.NORMAL): "A connection that its source node admitted becomes known here",
    (p.OUTPUT.number, p.Priority.NORMAL): "Sends the packet to the port that L3Forward found",
}


def sentence(row: Row, names: Names) -> str:  # noqa: PLR0911 - one return per category
    """What the row is for."""
    category, number = p.category_of(row.cookie), p.object_of(row.cookie)
    what = thing(row, names)
    match category:
        case p.Category.BASE:
            return _base(row)
        case p.Category.PORT:
            return _port(row, number, what)
        case p.Category.POLICY:
            caller, callee = (names.workload(id_) for id_ in p.call_of(number))
            return f"Allows {caller} to call {callee}; counts the calls' connections"
        case p.Category.HOLD:
            caller, callee = (names.workload(id_) for id_ in p.call_of(number))
            return f"Holds {caller}'s marked calls to {callee} at the controller until there is an instance"
        case _ if category in p.CALL_CATEGORIES:
            return _of_policy(row, names)
        case p.Category.SERVICE:
            return f"Gives each new connection to {what} to one of its ready instances"
        case p.Category.NO_INSTANCE:
            if row.table == p.CONNTRACK_ZONE.number:
                return f"Marks what is for {what}, which has no ready instance, so that new calls are held"
            return f"Holds a call to {what} that was on its way when the last instance left"
        case p.Category.FORWARDING if number <= addressing.MAX_NODE:
            return f"Sends what is for a host of {what} over the trunk to it"
        case p.Category.FORWARDING:
            return f"Delivers what is for {what} to its port"
        case p.Category.DROP if number in p.DROP_REASONS:
            return f"Drops and counts: {p.DROP_REASONS[number].sentence}"
        case _:
            return "Not a row of this controller"


def _of_policy(row: Row, names: Names) -> str:
    caller, callee = (names.workload(id_) for id_ in p.call_of(p.object_of(row.cookie)))
    policies = names.behind(row)
    match p.category_of(row.cookie):
        case p.Category.ALLOW:
            return f"Allows {caller} to call {callee}, by {policies}; counts the calls' connections"
        case p.Category.DENY:
            return f"Drops and counts new connections of {caller} to {callee}: denied by {policies}"
        case p.Category.LIMIT:
            return f"Lets new connections of {caller} to {callee} go on, as many as {policies} lets"
        case _:
            copied = any(isinstance(action, OutputPort) for action in row.actions)
            metered = any(isinstance(action, UseMeter) for action in row.actions)
            does = " and ".join(word for word, said in (("Meters", metered), ("copies", copied)) if said)
            return f"{does.capitalize()} packets of {caller}'s calls to {callee}, both directions, by {policies}"


def _base(row: Row) -> str:
    fields = dict(row.match)
    if row.table == p.CLASSIFIER.number:
        return "Hands ARP to ArpSpoofGuard" if "ip_proto" not in fields else "Hands TCP over IPv4 to SpoofGuard"
    if row.table == p.ARP_RESPONDER.number:
        which = "vIP" if fields.get("arp_tpa", ("",))[0] == str(addressing.VIP_NETWORK.network_address) else "eIP"  # type: ignore[index]
        return f"Answers ARP for any {which} with the virtual MAC"
    if (row.table, row.priority) == (p.CONNTRACK_STATE.number, p.Priority.FALLBACK):
        if fields.get(p.REG_SOURCE.name) == p.Source.TRUNK:
            return "A new connection from a trunk was judged where it began: on to IngressPolicy"
        return "A new connection from a local port is judged by DagPolicy"
    return _BASE_SENTENCES.get((row.table, row.priority), "Not a row of this controller")


def _port(row: Row, number: int, what: str) -> str:
    if number <= addressing.MAX_NODE:
        return f"Takes from the trunk only what hosts of {what} sent"
    if row.table == p.ARP_SPOOF_GUARD.number:
        return f"{what} may speak ARP with its own IP and MAC"
    return f"Packets with {what}'s own IP and MAC, from its own port, are {what}'s"


# Rows and groups as text, near to what ovs-ofctl prints.


def match_text(match: Match) -> str:
    return ",".join(f"{name}={_value(name, value)}" for name, value in match)


def actions_text(actions: tuple[Action, ...]) -> str:
    return ",".join(map(_action, actions)) or "drop"


def group_text(group: Group) -> str:
    buckets = "".join(
        f",bucket=weight:{bucket.weight},actions={actions_text(bucket.actions)}" for bucket in group.buckets
    )
    return f"group_id={group.id},type=select{buckets}"


def meter_text(meter: Meter) -> str:
    return f"meter={meter.id},{meter.unit.value},rate={meter.rate},burst={meter.burst}"


_HEXADECIMAL = {"eth_type", "ct_state", "ct_mark"}


def _value(name: str, value: Value) -> str:
    if isinstance(value, tuple):
        return f"{_value(name, value[0])}/{_value(name, value[1])}"
    return hex(value) if isinstance(value, int) and name in _HEXADECIMAL else str(value)


def _action(action: Action) -> str:  # noqa: PLR0911, PLR0912 - one return per action
    match action:
        case SetField(field, value):
            return f"{field}={value}"
        case LoadPort(port):
            return f"{p.REG_PORT.name}={port}"
        case Move(source, target, _):
            return f"move:{source}->{target}"
        case Ct():
            return _ct(action)
        case ToGroup(group):
            return f"group:{group}"
        case UseMeter(meter):
            return f"meter:{meter}"
        case DecTtl():
            return "dec_ttl"
        case OutputInPort():
            return "in_port"
        case OutputPort(port):
            return f"output:{port}"
        case Punt():
            return "controller"
        case Resubmit(table):
            return f"resubmit:{p.TABLE_NAMES.get(table, table)}"
        case OutputRegister(register):
            return f"output:{register}"
        case Goto(table):
            return f"goto:{p.TABLE_NAMES.get(table, table)}"
        case Foreign(text):
            return text


def _ct(ct: Ct) -> str:
    parts = ["commit"] if ct.commit else []
    parts += [f"table={p.TABLE_NAMES.get(ct.table, ct.table)}", f"zone={ct.zone}"]
    if ct.nat is not None:
        parts.append(f"nat(dst={ct.nat.address}:{ct.nat.port})" if ct.nat.address else "nat")
    if ct.mark is not None:
        parts.append(f"ct_mark={ct.mark:#x}")
    return f"ct({','.join(parts)})"

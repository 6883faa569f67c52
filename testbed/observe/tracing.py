"""Which rows decide about a first packet from one workload to another: follows OVS's own trace over the trunks.

A packet is described, not sent: nothing is counted, committed or delivered. `ask` runs ofproto/trace on a
node's switch and `rows_of` names the rows; both are given, so that everything here is pure.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from ipaddress import AddressValueError, IPv4Address
from typing import Any

from testbed.model import addressing
from testbed.model.cluster import ClusterState, Instance, Phase
from testbed.model.errors import LabError, UsageError
from testbed.platform.client import lookup

SOURCE_PORT = 40_000
NEW_CONNECTION = ("--ct-next", "trk,new") * 4
"""For every time that conntrack is asked: it does not know the connection, as for a first packet."""
BUCKET_HASH = 0x7
"""A hash for select groups; without one the trace ends where the switch would compute it."""

Ask = Callable[[int, str], str]
"""(node, flow) -> what ofproto/trace printed."""
RowsOf = Callable[[int], Mapping[str, Any]]
"""Node -> the controller's GET /flows."""

_STEP = re.compile(r"^\s*(\d+)\. (?:(No match)|(.*?)(?:, )?priority (\d+)(?:, cookie (0x[0-9a-f]+))?)")
_REWRITTEN = re.compile(r"Modified flow: nw_src=([\d.]+),tp_src=\d+,nw_dst=([\d.]+),tp_dst=(\d+)")


@dataclass(frozen=True)
class Speaker:
    """A host that can send: an instance, or the gateway, the client, a probe."""

    name: str
    workload: str
    node: int
    eip: str


@dataclass(frozen=True)
class Packet:
    """The SYN to trace, as it comes to a switch."""

    node: int
    in_port: str
    source_mac: str
    source_ip: str
    destination_ip: str
    port: int

    def flow(self) -> str:
        """As ofproto/trace reads it."""
        return (
            f"tcp,dp_hash={BUCKET_HASH:#x},in_port={self.in_port},dl_src={self.source_mac},"
            f"dl_dst={addressing.VIRTUAL_MAC},nw_src={self.source_ip},nw_dst={self.destination_ip},nw_ttl=64,"
            f"tp_src={SOURCE_PORT},tp_dst={self.port},tcp_flags=syn"
        )


@dataclass(frozen=True)
class Step:
    """One table that the packet passed, and the row that took it there."""

    node: int
    table: int
    name: str
    sentence: str
    category: str = ""
    object: str = ""
    actions: str = ""

    @property
    def punts(self) -> bool:
        """Whether the controller gets the packet, to hold it until there is an instance."""
        return "controller" in self.actions.split(",")


@dataclass(frozen=True)
class Trace:
    """The packet's whole way, and what came of it in one sentence. `admitted`: it arrives, or is held."""

    source: str
    destination: str
    admitted: bool
    verdict: str
    steps: tuple[Step, ...] = field(default_factory=tuple)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def speaker(state: ClusterState, name: str) -> Speaker:
    """Who sends: a host, an instance, or some instance of a function. UsageError for a name that nobody has."""
    if name in state.hosts:
        host = state.hosts[name]
        return Speaker(host.name, host.name, host.node, host.eip)
    if name in state.instances:
        return _instance(state.instances[name])
    if name not in state.functions:
        raise _unknown(state, name)
    own = [one for one in state.instances.values() if one.function_name == name]
    if not own:
        raise UsageError(f"{name} has no instance that could send; scale it up first, or name another source")
    return _instance(min(own, key=lambda one: (one.phase is not Phase.READY, one.id)))


def destination(state: ClusterState, name: str, to_eip: bool) -> str:
    """The address that is called: a vIP; with `to_eip` the eIP of a host, an instance or a function's first one."""
    if _is_address(name):
        return name
    if to_eip:
        return speaker(state, name).eip
    if name in state.hosts:
        return addressing.vip(state.hosts[name].id)
    function = state.functions.get(state.instances[name].function_name if name in state.instances else name)
    if function is None:
        raise _unknown(state, name)
    return function.vip


def port(state: ClusterState, name: str) -> int:
    """The port that a function, store, instance or host is called at."""
    function = state.functions.get(state.instances[name].function_name if name in state.instances else name)
    return function.port if function else addressing.FUNCTION_PORT


def _instance(instance: Instance) -> Speaker:
    return Speaker(instance.id, instance.function_name, instance.node, instance.eip)


def _is_address(text: str) -> bool:
    try:
        IPv4Address(text)
    except AddressValueError:
        return False
    return True


def _unknown(state: ClusterState, name: str) -> UsageError:
    hint = lookup.function_hint(state, name, "`testbed status` lists both")
    return UsageError(f"there is no function, instance or host {name!r}; {hint}")


def first_packet(sender: Speaker, address: str, port: int, source_ip: str = "", source_mac: str = "") -> Packet:
    """What the sender would send; with `source_ip` or `source_mac`, lying about who it is."""
    own_port, own_mac = addressing.port_name(sender.eip), addressing.mac(sender.eip)
    return Packet(sender.node, own_port, source_mac or own_mac, source_ip or sender.eip, address, port)


def follow(sender: Speaker, called: str, packet: Packet, ask: Ask, rows_of: RowsOf) -> Trace:
    """Follow a packet from switch to switch until it is delivered or a row ends its way."""
    steps: list[Step] = []
    seen: set[int] = set()
    while packet.node not in seen:
        seen.add(packet.node)
        text, tables = ask(packet.node, packet.flow()), rows_of(packet.node)
        here = steps_of(packet.node, text, tables["rows"])
        if not here:
            raise LabError(f"node{packet.node}'s switch did not trace the packet; it said: {text.strip()[:300]}")
        steps += here
        forwarded = next((step for step in here if step.category == "forwarding"), None)
        if forwarded is None:
            return Trace(sender.name, called, steps[-1].punts, _ended(steps), tuple(steps))
        if not forwarded.object.startswith("node"):
            verdict = _delivered(sender, steps, forwarded, packet.node)
            return Trace(sender.name, called, True, verdict, tuple(steps))
        rewritten = _REWRITTEN.search(text)
        peer = int(forwarded.object.removeprefix("node"))
        address = rewritten[2] if rewritten else packet.destination_ip
        packet = replace(packet, node=peer, in_port=addressing.trunk_name(peer, packet.node), destination_ip=address)
    raise LabError(f"the packet goes in circles between nodes {sorted(seen)}; `testbed flows` shows the rows")


def steps_of(node: int, text: str, rows: Sequence[Mapping[str, Any]]) -> list[Step]:
    """The tables in the output of ofproto/trace, with what the controller says of each row."""
    found = []
    for line in text.splitlines():
        if match := _STEP.match(line):
            number, missed, fields, priority, cookie = match.groups()
            row = None if missed else _row(rows, int(number), int(priority), int(cookie or "0", 16), fields or "")
            found.append(_step(node, int(number), row))
    return found


def _step(node: int, number: int, row: Mapping[str, Any] | None) -> Step:
    if row is None:
        return Step(node, number, f"table {number}", "No row of the controller's took the packet")
    return Step(
        node, number, row["table_name"], row["sentence"], row["category"], row["object"], row["actions"]
    )  # fmt: skip


def _row(
    rows: Sequence[Mapping[str, Any]], table: int, priority: int, cookie: int, fields: str
) -> Mapping[str, Any] | None:
    """The row; where several share table, priority and cookie, the one whose source class and protocol agree."""
    alike = [r for r in rows if (r["table"], r["priority"], int(r["cookie"], 16)) == (table, priority, cookie)]
    source = re.search(r"reg0=(?:0x)?(\d+)", fields)
    for row in alike:
        theirs = re.search(r"reg0=(?:0x)?(\d+)", row["match"])
        if "eth_type=0x806" not in row["match"] and (theirs and theirs[1]) == (source and source[1]):
            return row
    return alike[0] if alike else None


def _delivered(sender: Speaker, steps: Sequence[Step], forwarded: Step, node: int) -> str:
    service = next((step.object for step in steps if step.category == "service"), forwarded.object)
    by = next((step.sentence for step in steps if step.category == "allow"), "")
    reason = f" ({by.partition(';')[0]})" if by else ""
    return f"allowed{reason}: call {sender.workload} → {service}, sent to {forwarded.object} on node{node}"


_DROPPED = re.compile(r"Drops and counts:? ?")


def _ended(steps: Sequence[Step]) -> str:
    """Why it went no further."""
    last = steps[-1]
    where = f"on node{last.node} in {last.name}"
    if last.punts:
        return f"allowed, and held {where}: {last.sentence}"
    return f"denied {where}: {_DROPPED.sub('', last.sentence)}"

"""The Flow Table Translator: neutral rows <-> OpenFlow 1.3 messages. The only module that builds them.

Encodes changes, flushes and questions; parses what a switch answers back into the same neutral
values, so that reconciliation compares like with like. Sends nothing.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Any

from controllers import pipeline as p
from controllers import sdn
from controllers.reconcile import Change, DeleteGroup, DeleteMeter, DeleteRow, Flush, PutGroup, PutMeter, PutRow
from controllers.rows import (
    Action,
    Bucket,
    Ct,
    DecTtl,
    Foreign,
    Goto,
    Group,
    LoadPort,
    Match,
    Meter,
    MeterUnit,
    Move,
    Nat,
    OutputInPort,
    OutputPort,
    OutputRegister,
    PacketOut,
    Punt,
    Resubmit,
    Row,
    SetField,
    ToGroup,
    UseMeter,
)

_ofp, _parser = sdn.ofproto, sdn.parser

NX_VENDOR, NXT_CT_FLUSH = 0x2320, 32
_CT_TUPLE_ORIGIN, _CT_TUPLE_REPLY, _CT_ZONE = 0, 1, 2
_CT_SOURCE, _CT_DESTINATION = 0, 1
_NX_CT_COMMIT, _NX_NAT_DESTINATION = 1, 2
_BUNDLE_FLAGS = _ofp.ONF_BF_ATOMIC | _ofp.ONF_BF_ORDERED
_TO_CONTROLLER = (_ofp.OFPP_CONTROLLER, _ofp.OFPCML_NO_BUFFER)
_METER_FLAGS = {
    MeterUnit.KBIT: _ofp.OFPMF_KBPS | _ofp.OFPMF_BURST | _ofp.OFPMF_STATS,
    MeterUnit.PACKETS: _ofp.OFPMF_PKTPS | _ofp.OFPMF_BURST | _ofp.OFPMF_STATS,
}
FLUSH_PASSES = 3
"""OVS 3.1 deletes entries while it walks over them and misses about half of many; each pass takes half of the rest."""


@dataclass(frozen=True)
class Encoded:
    """Bytes for one switch, what each message in them was for (by xid), and the barrier that ends them."""

    data: bytes
    purpose: Mapping[int, Change | Flush | PacketOut]
    barrier: int


@dataclass(frozen=True)
class Entry:
    """A row as a switch holds it, with its counters."""

    row: Row
    round: int
    packets: int
    bytes: int
    age_s: float


def encode(
    datapath: Any,
    changes: Sequence[Change],
    flushes: Sequence[Flush],
    round_number: int,
    bundle_id: int,
    packets: Sequence[PacketOut] = (),
) -> Encoded:
    """New meters, one atomic, ordered bundle of the changes and packets, old meters, the flushes, and a barrier.

    OVS takes neither meters nor flushes in a bundle. Flushes come after the commit, when no row admits
    the connections any more. The packets meet the tables as the changes leave them.
    """
    messages: list[tuple[Any, Change | Flush | PacketOut | None]] = []
    messages += [(_change(datapath, change, round_number), change) for change in changes if type(change) is PutMeter]
    bundled = [change for change in changes if not isinstance(change, PutMeter | DeleteMeter)]
    if bundled or packets:
        control = _parser.ONFBundleCtrlMsg
        messages.append((control(datapath, bundle_id, _ofp.ONF_BCT_OPEN_REQUEST, _BUNDLE_FLAGS, []), None))
        for change in bundled:
            inner = _change(datapath, change, round_number)
            messages.append((_parser.ONFBundleAddMsg(datapath, bundle_id, _BUNDLE_FLAGS, inner, []), change))
        for packet in packets:
            inner = packet_out(datapath, packet)
            messages.append((_parser.ONFBundleAddMsg(datapath, bundle_id, _BUNDLE_FLAGS, inner, []), packet))
        messages.append((control(datapath, bundle_id, _ofp.ONF_BCT_COMMIT_REQUEST, _BUNDLE_FLAGS, []), None))
    messages += [(_change(datapath, change, round_number), change) for change in changes if type(change) is DeleteMeter]
    messages += [(_flush(datapath, flush), flush) for _ in range(FLUSH_PASSES) for flush in flushes]
    barrier = _parser.OFPBarrierRequest(datapath)
    messages.append((barrier, None))
    data, purpose = bytearray(), {}
    for message, reason in messages:
        data += serialize(datapath, message)
        if reason is not None:
            purpose[message.xid] = reason
    return Encoded(bytes(data), purpose, barrier.xid)


def packet_out(datapath: Any, packet: PacketOut) -> Any:
    """The message that sends one packet."""
    in_port = _ofp.OFPP_CONTROLLER if packet.in_port is None else packet.in_port
    actions = [_action(action) for action in packet.actions]
    return _parser.OFPPacketOut(datapath, _ofp.OFP_NO_BUFFER, in_port, actions, packet.frame)


def serialize(datapath: Any, message: Any) -> bytes:
    """The message's bytes, under a new xid."""
    datapath.set_xid(message)
    message.serialize()
    return bytes(message.buf)


def _change(datapath: Any, change: Change, round_number: int) -> Any:
    match change:
        case PutGroup(group, exists):
            command = _ofp.OFPGC_MODIFY if exists else _ofp.OFPGC_ADD
            buckets = [
                _parser.OFPBucket(bucket.weight, _ofp.OFPP_ANY, _ofp.OFPG_ANY, [_action(a) for a in bucket.actions])
                for bucket in group.buckets
            ]
            return _parser.OFPGroupMod(datapath, command, _ofp.OFPGT_SELECT, group.id, buckets)
        case DeleteGroup(group_id):
            return _parser.OFPGroupMod(datapath, _ofp.OFPGC_DELETE, _ofp.OFPGT_SELECT, group_id, [])
        case PutRow(row, keep_counters):
            # MODIFY keeps the counters but also the old cookie, so it is only for rows whose cookie stays.
            return _flow_mod(datapath, row, _ofp.OFPFC_MODIFY_STRICT if keep_counters else _ofp.OFPFC_ADD, round_number)
        case DeleteRow(row):
            return _flow_mod(datapath, row, _ofp.OFPFC_DELETE_STRICT, round_number)
        case PutMeter(meter, exists):
            command = _ofp.OFPMC_MODIFY if exists else _ofp.OFPMC_ADD
            band = _parser.OFPMeterBandDrop(meter.rate, meter.burst)
            return _parser.OFPMeterMod(datapath, command, _METER_FLAGS[meter.unit], meter.id, [band])
        case DeleteMeter(meter_id):
            return _parser.OFPMeterMod(datapath, _ofp.OFPMC_DELETE, 0, meter_id, [])


def _flow_mod(datapath: Any, row: Row, command: int, round_number: int) -> Any:
    # What is deleted may be a stranger's row, whose actions we cannot say; deleting does not need them.
    actions = row.actions if command != _ofp.OFPFC_DELETE_STRICT else ()
    apply = [_action(action) for action in actions if not isinstance(action, Goto | UseMeter)]
    instructions = [_parser.OFPInstructionMeter(a.meter) for a in actions if isinstance(a, UseMeter)]
    instructions += [_parser.OFPInstructionActions(_ofp.OFPIT_APPLY_ACTIONS, apply)] if apply else []
    instructions += [_parser.OFPInstructionGotoTable(a.table) for a in actions if isinstance(a, Goto)]
    return _parser.OFPFlowMod(
        datapath,
        cookie=p.with_round(row.cookie, round_number),
        table_id=row.table,
        command=command,
        priority=row.priority,
        out_port=_ofp.OFPP_ANY,
        out_group=_ofp.OFPG_ANY,
        match=_parser.OFPMatch(**dict(row.match)),
        instructions=instructions,
    )


def _action(action: Action) -> Any:  # noqa: PLR0911, PLR0912 - one return per action
    match action:
        case SetField(field, value):
            return _parser.OFPActionSetField(**{field: value})
        case LoadPort(port):
            return _parser.OFPActionSetField(**{p.REG_PORT.name: port})
        case Move(source, target, bits):
            return _parser.NXActionRegMove(src_field=source, dst_field=target, n_bits=bits)
        case Ct(zone, table, commit, nat, mark):
            nested: list[Any] = []
            if nat is not None and nat.address is None:
                nested.append(_parser.NXActionNAT(flags=0))
            elif nat is not None:
                # With ip_min+ip_max+proto_min+proto_max ryu pads wrongly and OVS refuses: leave ip_max out.
                nested.append(
                    _parser.NXActionNAT(
                        flags=_NX_NAT_DESTINATION,
                        range_ipv4_min=nat.address,
                        range_proto_min=nat.port,
                        range_proto_max=nat.port,
                    )
                )
            if mark is not None:
                nested.append(_parser.OFPActionSetField(ct_mark=mark))
            return _parser.NXActionCT(_NX_CT_COMMIT if commit else 0, "", zone, table, 0, nested)
        case ToGroup(group):
            return _parser.OFPActionGroup(group)
        case Punt():
            return _parser.OFPActionOutput(_ofp.OFPP_CONTROLLER, _ofp.OFPCML_NO_BUFFER)
        case Resubmit(table):
            return _parser.NXActionResubmitTable(_ofp.OFPP_IN_PORT & 0xFFFF, table)
        case OutputPort(port):
            return _parser.OFPActionOutput(port)
        case DecTtl():
            return _parser.OFPActionDecNwTtl()
        case OutputInPort():
            return _parser.OFPActionOutput(_ofp.OFPP_IN_PORT)
        case OutputPort(port):
            return _parser.OFPActionOutput(port)
        case OutputRegister(register):
            return _parser.NXActionOutputReg(sdn.nicira_ext.ofs_nbits(0, 31), register, 0xFFFF)
    raise TypeError(f"{action} is not an action that rows are made with")


def _flush(datapath: Any, flush: Flush) -> Any:
    """NXT_CT_FLUSH (OVS 3.1, nicira-ext.h), which ryu does not know: protocol, family, then TLVs."""
    origin = [(_CT_SOURCE, flush.source), (_CT_DESTINATION, flush.destination)]
    body = struct.pack("!BB6x", 0, 0)
    for kind, addresses in ((_CT_TUPLE_ORIGIN, origin), (_CT_TUPLE_REPLY, [(_CT_SOURCE, flush.replier)])):
        nested = b"".join(_address(which, address) for which, address in addresses if address is not None)
        body += struct.pack("!HH4x", kind, 8 + len(nested)) + nested if nested else b""
    body += struct.pack("!HHH2x", _CT_ZONE, 8, p.zone(flush.node))
    return _parser.OFPExperimenter(datapath, NX_VENDOR, NXT_CT_FLUSH, body)


def _address(which: int, address: str) -> bytes:
    """A TLV of an IPv4 address mapped into IPv6, padded to 8 bytes (the padding does not count)."""
    return struct.pack("!HH10xH4s4x", which, 20, 0xFFFF, IPv4Address(address).packed)


def flows_request(datapath: Any, category: p.Category | None = None) -> Any:
    """Ask for all rows, or for those of one category."""
    cookie, mask = (p.cookie(category, 0), p.CATEGORY_MASK) if category is not None else (0, 0)
    return _parser.OFPFlowStatsRequest(
        datapath, 0, _ofp.OFPTT_ALL, _ofp.OFPP_ANY, _ofp.OFPG_ANY, cookie, mask, _parser.OFPMatch()
    )


def groups_request(datapath: Any) -> Any:
    return _parser.OFPGroupDescStatsRequest(datapath, 0)


def meters_request(datapath: Any) -> Any:
    return _parser.OFPMeterConfigStatsRequest(datapath, 0, _ofp.OFPM_ALL)


def meter_counters_request(datapath: Any) -> Any:
    return _parser.OFPMeterStatsRequest(datapath, 0, _ofp.OFPM_ALL)


def group_counters_request(datapath: Any) -> Any:
    return _parser.OFPGroupStatsRequest(datapath, 0, _ofp.OFPG_ALL)


def entries(replies: Iterable[Any]) -> list[Entry]:
    """The rows in flow statistics replies."""
    return [_entry(stats) for reply in replies for stats in reply.body]


def _entry(stats: Any) -> Entry:
    actions: list[Action] = []
    for instruction in stats.instructions:
        if instruction.type == _ofp.OFPIT_APPLY_ACTIONS:
            actions += [_parsed(action) for action in instruction.actions]
        elif instruction.type == _ofp.OFPIT_GOTO_TABLE:
            actions.append(Goto(instruction.table_id))
        elif instruction.type == _ofp.OFPIT_METER:
            actions.append(UseMeter(instruction.meter_id))
        else:
            actions.append(Foreign(str(instruction)))
    if stats.idle_timeout or stats.hard_timeout:
        actions.append(Foreign("expires"))
    cookie = stats.cookie & p.COOKIE_WITHOUT_ROUND
    row = Row(stats.table_id, stats.priority, _parsed_match(stats.match), tuple(actions), cookie)
    age_s = stats.duration_sec + stats.duration_nsec / 1e9
    return Entry(row, p.round_of(stats.cookie), stats.packet_count, stats.byte_count, age_s)


def _parsed_match(match: Any) -> Match:
    return tuple(sorted(match.items()))


def _parsed(action: Any) -> Action:  # noqa: PLR0911 - one return per action
    kind = type(action)
    if kind is _parser.OFPActionSetField:
        return LoadPort(action.value) if action.key == p.REG_PORT.name else SetField(action.key, action.value)
    if kind is _parser.NXActionRegMove and action.src_ofs == action.dst_ofs == 0:
        return Move(_plain(action.src_field), _plain(action.dst_field), action.n_bits)
    if kind is _parser.NXActionCT and not action.zone_src:
        return _parsed_ct(action)
    if kind is _parser.OFPActionGroup:
        return ToGroup(action.group_id)
    if kind is _parser.OFPActionOutput and (action.port, action.max_len) == _TO_CONTROLLER:
        return Punt()
    if kind is _parser.OFPActionDecNwTtl:
        return DecTtl()
    if kind is _parser.OFPActionOutput and action.port == _ofp.OFPP_IN_PORT:
        return OutputInPort()
    if kind is _parser.OFPActionOutput and action.port <= _ofp.OFPP_MAX:
        return OutputPort(action.port)
    if kind is _parser.NXActionOutputReg and action.ofs_nbits == sdn.nicira_ext.ofs_nbits(0, 31):
        return OutputRegister(action.src)
    return Foreign(str(action))


def _plain(field: str) -> str:
    """ryu names the fields of a move that it reads back after their Nicira headers."""
    return field.removesuffix("_nxm")


def _parsed_ct(action: Any) -> Action:
    nat: Nat | None = None
    mark: int | None = None
    for nested in action.actions:
        if type(nested) is _parser.NXActionNAT:
            nat = Nat(nested.range_ipv4_min or None, nested.range_proto_min)
        elif type(nested) is _parser.OFPActionSetField and nested.key == "ct_mark":
            mark = nested.value
        else:
            return Foreign(str(action))
    return Ct(action.zone_ofs_nbits, action.recirc_table, bool(action.flags & _NX_CT_COMMIT), nat, mark)


def groups(replies: Iterable[Any]) -> list[Group]:
    """The groups in group description replies."""
    return [
        Group(
            description.group_id,
            tuple(
                Bucket(tuple(_parsed(action) for action in bucket.actions), bucket.weight)
                if description.type == _ofp.OFPGT_SELECT
                else Bucket((Foreign(str(bucket)),), bucket.weight)
                for bucket in description.buckets
            ),
        )
        for reply in replies
        for description in reply.body
    ]


def meters(replies: Iterable[Any]) -> list[Meter]:
    """The meters in meter configuration replies; one that is not ours in form has rate 0."""
    return [_meter(configuration) for reply in replies for configuration in reply.body]


def _meter(configuration: Any) -> Meter:
    bands = configuration.bands
    if len(bands) != 1 or not isinstance(bands[0], _parser.OFPMeterBandDrop):
        return Meter(configuration.meter_id, MeterUnit.PACKETS, 0, 0)
    unit = MeterUnit.PACKETS if configuration.flags & _ofp.OFPMF_PKTPS else MeterUnit.KBIT
    return Meter(configuration.meter_id, unit, bands[0].rate, bands[0].burst_size)


def meter_packets(replies: Iterable[Any]) -> dict[int, tuple[int, int]]:
    """Meter id -> packets it was asked about, and packets of these that it dropped."""
    return {
        stats.meter_id: (stats.packet_in_count, sum(band.packet_band_count for band in stats.band_stats))
        for reply in replies
        for stats in reply.body
    }


def bucket_packets(replies: Iterable[Any]) -> dict[int, tuple[int, ...]]:
    """Group id -> packets of each bucket, in the order of its buckets."""
    return {
        stats.group_id: tuple(bucket.packet_count for bucket in stats.bucket_stats)
        for reply in replies
        for stats in reply.body
    }


def ports(datapath: Any) -> dict[str, int]:
    """Name -> number of the switch's own ports."""
    return {port.name.decode(): number for number, port in datapath.ports.items() if number <= _ofp.OFPP_MAX}


def error(message: Any) -> str:
    """An error message in words: type and code as OpenFlow names them."""
    if message.type == _ofp.OFPET_EXPERIMENTER:
        return f"OFPET_EXPERIMENTER exp_type {message.exp_type}"
    kind, code = _ofp.ofp_error_type_to_str(message.type), _ofp.ofp_error_code_to_str(message.type, message.code)
    return f"{kind} {code}"

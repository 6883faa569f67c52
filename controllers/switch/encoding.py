"""The bytes of the OpenFlow 1.3 messages that change a switch, without their xids. Sends nothing.

ryu encodes matches, actions and buckets, each distinct one once: it takes some 100 microseconds for a row's match, and
rows come back whenever a function scales from zero and back. What is fixed about a message is packed here.
"""

from __future__ import annotations

import struct
from functools import lru_cache
from ipaddress import IPv4Address
from typing import Any

from controllers import pipeline as p
from controllers import sdn
from controllers.rows import (
    Action,
    Bucket,
    Ct,
    DecTtl,
    Goto,
    LoadPort,
    Match,
    MeterUnit,
    Move,
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
from controllers.switch.flushing import Flush
from controllers.switch.reconcile import Change, DeleteGroup, DeleteMeter, DeleteRow, PutGroup, PutMeter, PutRow

_ofp, _parser = sdn.ofproto, sdn.parser

NX_CT_COMMIT, _NX_NAT_DESTINATION = 1, 2
METER_FLAGS = {
    MeterUnit.KBIT: _ofp.OFPMF_KBPS | _ofp.OFPMF_BURST | _ofp.OFPMF_STATS,
    MeterUnit.PACKETS: _ofp.OFPMF_PKTPS | _ofp.OFPMF_BURST | _ofp.OFPMF_STATS,
}
_BUNDLE_FLAGS = _ofp.ONF_BF_ATOMIC | _ofp.ONF_BF_ORDERED
_ONF = 0x4F4E4600
_NX_VENDOR, _NXT_CT_FLUSH = 0x2320, 32
_CT_TUPLE_ORIGIN, _CT_TUPLE_REPLY, _CT_ZONE = 0, 1, 2
_CT_SOURCE, _CT_DESTINATION = 0, 1

_REMEMBERED = 1 << 14
"""Distinct matches and the like that are kept encoded, some hundred bytes each."""


def stamped(message: bytes, xid: int) -> bytes:
    """The message under an xid."""
    return b"".join((message[:4], xid.to_bytes(4, "big"), message[8:]))


def change(change: Change, round_number: int) -> bytes:  # noqa: PLR0911 - one return per kind
    """A flow-mod, group-mod or meter-mod."""
    match change:
        case PutGroup(group, exists):
            command = _ofp.OFPGC_MODIFY if exists else _ofp.OFPGC_ADD
            return _group_mod(command, group.id, b"".join(map(_bucket, group.buckets)))
        case DeleteGroup(group_id):
            return _group_mod(_ofp.OFPGC_DELETE, group_id, b"")
        case PutRow(row, keep_counters):
            # MODIFY keeps the counters but also the old cookie, so it is only for rows whose cookie stays.
            return _flow_mod(row, _ofp.OFPFC_MODIFY_STRICT if keep_counters else _ofp.OFPFC_ADD, round_number)
        case DeleteRow(row) if p.category_of(row.cookie) is None:
            return _delete_strangers(row)
        case DeleteRow(row):
            return _flow_mod(row, _ofp.OFPFC_DELETE_STRICT, round_number)
        case PutMeter(meter, exists):
            command = _ofp.OFPMC_MODIFY if exists else _ofp.OFPMC_ADD
            band = struct.pack("!HHII4x", _ofp.OFPMBT_DROP, 16, meter.rate, meter.burst)
            return _meter_mod(command, METER_FLAGS[meter.unit], meter.id, band)
        case DeleteMeter(meter_id):
            return _meter_mod(_ofp.OFPMC_DELETE, 0, meter_id, b"")


def packet_out(packet: PacketOut) -> bytes:
    """The message that sends one packet."""
    in_port = _ofp.OFPP_CONTROLLER if packet.in_port is None else packet.in_port
    actions = b"".join(map(_encoded_action, packet.actions))
    fixed = struct.pack("!IIH6x", _ofp.OFP_NO_BUFFER, in_port, len(actions))
    return _message(_ofp.OFPT_PACKET_OUT, fixed, actions, packet.frame)


def flush(flush: Flush) -> bytes:
    """NXT_CT_FLUSH (OVS 3.1, nicira-ext.h): protocol, family, then TLVs."""
    origin = [(_CT_SOURCE, flush.source), (_CT_DESTINATION, flush.destination)]
    body = struct.pack("!IIBB6x", _NX_VENDOR, _NXT_CT_FLUSH, 0, 0)
    for kind, addresses in ((_CT_TUPLE_ORIGIN, origin), (_CT_TUPLE_REPLY, [(_CT_SOURCE, flush.replier)])):
        nested = b"".join(_address(which, address) for which, address in addresses if address is not None)
        body += struct.pack("!HH4x", kind, 8 + len(nested)) + nested if nested else b""
    return _message(_ofp.OFPT_EXPERIMENTER, body, struct.pack("!HHH2x", _CT_ZONE, 8, p.zone(flush.node)))


def _address(which: int, address: str) -> bytes:
    """A TLV of an IPv4 address mapped into IPv6, padded to 8 bytes (the padding does not count)."""
    return struct.pack("!HH10xH4s4x", which, 20, 0xFFFF, IPv4Address(address).packed)


def barrier() -> bytes:
    return _message(_ofp.OFPT_BARRIER_REQUEST)


def bundle_add(bundle_id: int, message: bytes, xid: int) -> bytes:
    """Put a message into a bundle, atomic and ordered; both have the xid. The first one opens the bundle."""
    fixed = struct.pack("!III2xH", _ONF, _ofp.ONF_ET_BUNDLE_ADD_MESSAGE, bundle_id, _BUNDLE_FLAGS)
    return stamped(_message(_ofp.OFPT_EXPERIMENTER, fixed, stamped(message, xid)), xid)


def bundle_commit(bundle_id: int) -> bytes:
    kinds = (_ONF, _ofp.ONF_ET_BUNDLE_CONTROL)
    return _message(
        _ofp.OFPT_EXPERIMENTER, struct.pack("!IIIHH", *kinds, bundle_id, _ofp.ONF_BCT_COMMIT_REQUEST, _BUNDLE_FLAGS)
    )


def _message(kind: int, *parts: bytes) -> bytes:
    body = b"".join(parts)
    return struct.pack("!BBHI", _ofp.OFP_VERSION, kind, 8 + len(body), 0) + body


def _group_mod(command: int, group_id: int, buckets: bytes) -> bytes:
    return _message(_ofp.OFPT_GROUP_MOD, struct.pack("!HBxI", command, _ofp.OFPGT_SELECT, group_id), buckets)


def _meter_mod(command: int, flags: int, meter_id: int, bands: bytes) -> bytes:
    return _message(_ofp.OFPT_METER_MOD, struct.pack("!HHI", command, flags, meter_id), bands)


def _flow_mod(row: Row, command: int, round_number: int) -> bytes:
    # What is deleted may be a stranger's row, whose actions we cannot say; deleting does not need them.
    instructions = _instructions(row.actions) if command != _ofp.OFPFC_DELETE_STRICT else b""
    fixed = struct.pack(
        "!QQBBHHHIIIH2x",
        p.with_round(row.cookie, round_number), 0, row.table, command, 0, 0, row.priority,
        _ofp.OFP_NO_BUFFER, _ofp.OFPP_ANY, _ofp.OFPG_ANY, 0,
    )  # fmt: skip
    return _message(_ofp.OFPT_FLOW_MOD, fixed, _match(row.match), instructions)


def _delete_strangers(row: Row) -> bytes:
    """Deletes all rows of one table with one cookie, which no row of ours has.

    What such a row matches may be something that we cannot say back: refused, it would take the bundle with it.
    """
    fixed = struct.pack(
        "!QQBBHHHIIIH2x",
        row.cookie, p.COOKIE_WITHOUT_ROUND, row.table, _ofp.OFPFC_DELETE, 0, 0, 0,
        _ofp.OFP_NO_BUFFER, _ofp.OFPP_ANY, _ofp.OFPG_ANY, 0,
    )  # fmt: skip
    return _message(_ofp.OFPT_FLOW_MOD, fixed, _match(()))


def _serialized(part: Any) -> bytes:
    """A part of a message, as ryu encodes it."""
    data = bytearray()
    part.serialize(data, 0)
    return bytes(data)


@lru_cache(_REMEMBERED)
def _match(fields: Match) -> bytes:
    return _serialized(_parser.OFPMatch(**dict(fields)))


@lru_cache(_REMEMBERED)
def _instructions(actions: tuple[Action, ...]) -> bytes:
    apply = [_action(action) for action in actions if not isinstance(action, Goto | UseMeter)]
    found = [_parser.OFPInstructionMeter(a.meter) for a in actions if isinstance(a, UseMeter)]
    found += [_parser.OFPInstructionActions(_ofp.OFPIT_APPLY_ACTIONS, apply)] if apply else []
    found += [_parser.OFPInstructionGotoTable(a.table) for a in actions if isinstance(a, Goto)]
    return b"".join(map(_serialized, found))


@lru_cache(_REMEMBERED)
def _bucket(bucket: Bucket) -> bytes:
    actions = [_action(action) for action in bucket.actions]
    return _serialized(_parser.OFPBucket(bucket.weight, _ofp.OFPP_ANY, _ofp.OFPG_ANY, actions))


@lru_cache(_REMEMBERED)
def _encoded_action(action: Action) -> bytes:
    return _serialized(_action(action))


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
            return _parser.NXActionCT(NX_CT_COMMIT if commit else 0, "", zone, table, 0, nested)
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
        case OutputRegister(register):
            return _parser.NXActionOutputReg(sdn.nicira_ext.ofs_nbits(0, 31), register, 0xFFFF)
    raise TypeError(f"{action} is not an action that rows are made with")

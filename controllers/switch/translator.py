"""The Flow Table Translator: changes and questions -> OpenFlow 1.3 messages.

Puts together batches of changes, packets and flushes, of which encoding.py has the bytes, and asks; what a switch
answers is decoding.py's. Sends nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from controllers import pipeline as p
from controllers import sdn
from controllers.rows import PacketOut
from controllers.switch import encoding
from controllers.switch.flushing import Flush
from controllers.switch.reconcile import Change, DeleteMeter, PutMeter

_ofp, _parser = sdn.ofproto, sdn.parser

FLUSH_PASSES = 3
"""OVS 3.1 deletes entries while it walks over them and misses about half of many; each pass takes half of the rest."""


@dataclass(frozen=True)
class Encoded:
    """Bytes for one switch, what each message in them was for, and the xids of the bundle's commit and the barrier."""

    data: bytes
    purpose: Mapping[int, Change | Flush | PacketOut]
    barrier: int
    commit: int | None = None


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
    purpose: dict[int, Change | Flush | PacketOut] = {}
    data: list[bytes] = []
    commit: int | None = None

    def add(message: bytes, reason: Change | Flush | PacketOut | None = None) -> int:
        xid = _next_xid(datapath)
        data.append(encoding.stamped(message, xid))
        if reason is not None:
            purpose[xid] = reason
        return xid

    def bundle(message: bytes, reason: Change | PacketOut) -> None:
        xid = _next_xid(datapath)
        data.append(encoding.bundle_add(bundle_id, message, xid))
        purpose[xid] = reason

    for change in changes:
        if isinstance(change, PutMeter):
            add(encoding.change(change, round_number), change)
    for change in changes:
        if not isinstance(change, PutMeter | DeleteMeter):
            bundle(encoding.change(change, round_number), change)
    for packet in packets:
        bundle(encoding.packet_out(packet), packet)
    if len(purpose) > sum(isinstance(change, PutMeter) for change in changes):
        commit = add(encoding.bundle_commit(bundle_id))
    for change in changes:
        if isinstance(change, DeleteMeter):
            add(encoding.change(change, round_number), change)
    for flush in (*flushes,) * FLUSH_PASSES:
        add(encoding.flush(flush), flush)
    barrier = add(encoding.barrier())
    return Encoded(b"".join(data), purpose, barrier, commit)


def _next_xid(datapath: Any) -> int:
    datapath.xid = (datapath.xid + 1) & _ofp.MAX_XID
    return int(datapath.xid)


def packet_out(datapath: Any, packet: PacketOut) -> bytes:
    """The message that sends one packet, under a new xid."""
    return encoding.stamped(encoding.packet_out(packet), _next_xid(datapath))


def serialize(datapath: Any, message: Any) -> bytes:
    """The message's bytes, under a new xid."""
    datapath.set_xid(message)
    message.serialize()
    return bytes(message.buf)


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


def ports(datapath: Any) -> dict[str, int]:
    """Name -> number of the switch's own ports."""
    return {port.name.decode(): number for number, port in datapath.ports.items() if number <= _ofp.OFPP_MAX}


def error(message: Any) -> str:
    """An error message in words: type and code as OpenFlow names them."""
    if message.type == _ofp.OFPET_EXPERIMENTER:
        return f"OFPET_EXPERIMENTER exp_type {message.exp_type}"
    kind, code = _ofp.ofp_error_type_to_str(message.type), _ofp.ofp_error_code_to_str(message.type, message.code)
    return f"{kind} {code}"

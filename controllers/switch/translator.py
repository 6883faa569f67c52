"""The Flow Table Translator: neutral rows <-> OpenFlow 1.3 messages.

Makes batches of changes and flushes (encoding.py has their bytes) and questions; parses what a switch answers back
into the same neutral values, so that reconciliation compares like with like. Sends nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from controllers import pipeline as p
from controllers import sdn
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
    Row,
    SetField,
    ToGroup,
    UseMeter,
)
from controllers.switch import encoding
from controllers.switch.reconcile import Change, DeleteMeter, Flush, PutMeter

_ofp, _parser = sdn.ofproto, sdn.parser

_TO_CONTROLLER = (_ofp.OFPP_CONTROLLER, _ofp.OFPCML_NO_BUFFER)
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
    purpose: dict[int, Change | Flush | PacketOut] = {}
    data: list[bytes] = []

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
        add(encoding.bundle_commit(bundle_id))
    for change in changes:
        if isinstance(change, DeleteMeter):
            add(encoding.change(change, round_number), change)
    for flush in (*flushes,) * FLUSH_PASSES:
        add(encoding.flush(flush), flush)
    barrier = add(encoding.barrier())
    return Encoded(b"".join(data), purpose, barrier)


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
    return Ct(action.zone_ofs_nbits, action.recirc_table, bool(action.flags & encoding.NX_CT_COMMIT), nat, mark)


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

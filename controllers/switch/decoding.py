"""What a switch answers in OpenFlow 1.3 -> the values of rows.py, so that reconciliation compares like with like.

Rows and groups come as bytes (sdn.RawStats). ryu parses matches, instructions and groups, each distinct one once:
tables are read every few seconds, and nearly everything in them has been seen before. Sends and asks nothing.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
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
    Punt,
    Row,
    SetField,
    ToGroup,
    UseMeter,
)
from controllers.switch.encoding import NX_CT_COMMIT

_ofp, _parser = sdn.ofproto, sdn.parser

_TO_CONTROLLER = (_ofp.OFPP_CONTROLLER, _ofp.OFPCML_NO_BUFFER)
_REMEMBERED = 1 << 16
"""Distinct matches, lists of instructions and groups that are kept parsed."""
_FLOW = struct.Struct("!HBxIIHHHH4xQQQ")
_FLOW_BYTES = _FLOW.size
_MATCH_LENGTH = struct.Struct("!2xH")


@dataclass(frozen=True)
class Entry:
    """A row as a switch holds it, with its counters."""

    row: Row
    round: int
    packets: int
    bytes: int
    age_s: float


def entries(replies: Iterable[Any]) -> list[Entry]:
    """The rows in flow statistics replies."""
    return [_entry(stats) for reply in replies for stats in reply.body]


def _entry(stats: bytes) -> Entry:
    _, table, age_s, age_ns, priority, idle, hard, _, cookie, packets, octets = _FLOW.unpack_from(stats)
    (match_bytes,) = _MATCH_LENGTH.unpack_from(stats, _FLOW_BYTES)
    end = _FLOW_BYTES + (match_bytes + 7) // 8 * 8
    actions = _actions(bytes(stats[end:]))
    if idle or hard:
        actions = (*actions, Foreign("expires"))
    row = Row(table, priority, _match(bytes(stats[_FLOW_BYTES:end])), actions, cookie & p.COOKIE_WITHOUT_ROUND)
    return Entry(row, p.round_of(cookie), packets, octets, age_s + age_ns / 1e9)


@lru_cache(_REMEMBERED)
def _match(data: bytes) -> Match:
    return tuple(sorted(_parser.OFPMatch.parser(data, 0).items()))


@lru_cache(_REMEMBERED)
def _actions(data: bytes) -> tuple[Action, ...]:
    actions: list[Action] = []
    offset = 0
    while offset < len(data):
        instruction = _parser.OFPInstruction.parser(data, offset)
        offset += instruction.len
        if instruction.type == _ofp.OFPIT_APPLY_ACTIONS:
            actions += [_parsed(action) for action in instruction.actions]
        elif instruction.type == _ofp.OFPIT_GOTO_TABLE:
            actions.append(Goto(instruction.table_id))
        elif instruction.type == _ofp.OFPIT_METER:
            actions.append(UseMeter(instruction.meter_id))
        else:
            actions.append(Foreign(str(instruction)))
    return tuple(actions)


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
    return Ct(action.zone_ofs_nbits, action.recirc_table, bool(action.flags & NX_CT_COMMIT), nat, mark)


def groups(replies: Iterable[Any]) -> list[Group]:
    """The groups in group description replies."""
    return [_group(bytes(description)) for reply in replies for description in reply.body]


@lru_cache(_REMEMBERED)
def _group(data: bytes) -> Group:
    description = _parser.OFPGroupDescStats.parser(data, 0)
    is_ours = description.type == _ofp.OFPGT_SELECT
    buckets = (
        Bucket(tuple(map(_parsed, bucket.actions)) if is_ours else (Foreign(str(bucket)),), bucket.weight)
        for bucket in description.buckets
    )
    return Group(description.group_id, tuple(buckets))


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

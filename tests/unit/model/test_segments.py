"""Segments are read as they were written, and a reset is what the sender's TCP takes for one."""

from __future__ import annotations

import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from testbed.model import addressing, segments
from testbed.model.segments import internet_checksum
from tests.unit.controllers.frames import frame, syn

SOURCE, VIP = addressing.eip(2, 11), addressing.vip(257)


@given(st.binary(max_size=120))
def test_no_bytes_are_too_strange_to_read(data: bytes) -> None:
    segments.read(data)
    segments.reset(data)


@given(seq=st.integers(0, 2**32 - 1), payload=st.binary(max_size=20), options=st.sampled_from([0, 4, 20]))
def test_a_segment_is_read_as_it_was_written(seq: int, payload: bytes, options: int) -> None:
    found = segments.read(frame(SOURCE, VIP, 40_000, segments.SYN, seq=seq, payload=payload, options=options))
    assert found is not None
    assert (found.seq, found.length, found.opens) == (seq, len(payload) + 1, True)
    assert [segments.address(n) for n in (found.connection[0], found.connection[2])] == [SOURCE, VIP]


@pytest.mark.parametrize("cut", [13, 33, 53])
def test_what_is_cut_short_is_no_segment(cut: int) -> None:
    assert segments.read(syn(SOURCE, VIP, 40_000, 7)[:cut]) is None


def fields(data: bytes) -> dict[str, object]:
    sport, dport, seq, ack, _, flags = struct.unpack_from("!HHIIBB", data, 34)
    return {"ports": (sport, dport), "seq": seq, "ack": ack, "flags": flags}


@given(seq=st.integers(0, 2**32 - 1), payload=st.binary(max_size=9))
def test_a_syn_is_refused_with_the_acknowledgement_that_makes_its_sender_believe_it(seq: int, payload: bytes) -> None:
    answer = segments.reset(frame(SOURCE, VIP, 40_000, segments.SYN, seq=seq, payload=payload))
    assert answer is not None
    assert fields(answer) == {
        "ports": (addressing.FUNCTION_PORT, 40_000),
        "seq": 0,
        "ack": (seq + 1 + len(payload)) % 2**32,
        "flags": segments.RST | segments.ACK,
    }


def test_a_segment_with_an_acknowledgement_is_reset_at_the_number_that_its_sender_expects() -> None:
    answer = segments.reset(frame(SOURCE, VIP, 40_000, segments.ACK, seq=5, ack=77))
    assert answer is not None
    assert fields(answer) == {
        "ports": (addressing.FUNCTION_PORT, 40_000),
        "seq": 77,
        "ack": 0,
        "flags": segments.RST,
    }


def test_a_reset_is_not_answered() -> None:
    assert segments.reset(frame(SOURCE, VIP, 40_000, segments.RST, seq=5)) is None


def test_a_reset_comes_from_the_vip_and_the_virtual_mac_with_right_checksums() -> None:
    answer = segments.reset(syn(SOURCE, VIP, 40_000, 7))
    assert answer is not None
    macs = [answer[i : i + 6].hex(":") for i in (0, 6)]
    assert macs == [addressing.mac(SOURCE), addressing.VIRTUAL_MAC]
    assert [segments.address(n) for n in struct.unpack_from("!II", answer, 26)] == [VIP, SOURCE]
    assert internet_checksum(answer[14:34]) == 0
    assert internet_checksum(answer[26:34] + struct.pack("!BBH", 0, 6, 20) + answer[34:]) == 0


def test_a_made_syn_says_of_its_source_what_it_is_told_with_right_checksums() -> None:
    made = segments.syn_frame("0a:00:00:00:00:07", SOURCE, VIP, 61_000, 8081)
    found = segments.read(made)
    assert found is not None and found.opens
    assert (segments.address(found.connection[0]), found.connection[1]) == (SOURCE, 61_000)
    assert (segments.address(found.connection[2]), found.connection[3]) == (VIP, 8081)
    assert [made[i : i + 6].hex(":") for i in (0, 6)] == [addressing.VIRTUAL_MAC, "0a:00:00:00:00:07"]
    assert internet_checksum(made[14:34]) == 0
    assert internet_checksum(made[26:34] + struct.pack("!BBH", 0, 6, 20) + made[34:]) == 0


def test_an_arp_request_asks_everybody_for_the_target() -> None:
    made = segments.arp_frame("0a:00:00:00:00:07", "0a:00:00:00:00:08", SOURCE, VIP)
    assert made[:14].hex() == "ffffffffffff" + "0a0000000007" + "0806"
    assert made[14:22].hex() == "0001" + "0800" + "06" + "04" + "0001"  # Ethernet, IPv4, their lengths, a request
    assert made[22:] == bytes.fromhex("0a0000000008") + socket.inet_aton(SOURCE) + bytes(6) + socket.inet_aton(VIP)

"""TCP segments as bytes: reads those that a switch hands over, and writes the reset that answers one. Pure.

Knows Ethernet, IPv4 and TCP headers, nothing else: no VLANs, no fragments, no reassembly.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from ipaddress import IPv4Address

from testbed.model import addressing
from testbed.model.checksum import internet_checksum

ETHERNET_BYTES, IPV4_BYTES, TCP_BYTES = 14, 20, 20
_IPV4, _TCP = 0x0800, 6
FIN, SYN, RST, ACK = 0x01, 0x02, 0x04, 0x10
_FIRST_TTL = 64

Connection = tuple[int, int, int, int]
"""(source address, source port, destination address, destination port)"""


@dataclass(frozen=True, slots=True)
class Segment:
    """What is to be known of one segment. `length`: sequence numbers it takes up."""

    connection: Connection
    seq: int
    ack: int
    flags: int
    length: int

    @property
    def opens(self) -> bool:
        """Whether this is the first segment of a connection."""
        return self.flags & (SYN | ACK | RST | FIN) == SYN


def read(frame: bytes) -> Segment | None:
    """The segment in an Ethernet frame; None where it is not TCP over IPv4 or is cut short."""
    if len(frame) < ETHERNET_BYTES + IPV4_BYTES + TCP_BYTES or frame[12:14] != b"\x08\x00":
        return None
    start = ETHERNET_BYTES + (frame[ETHERNET_BYTES] & 0x0F) * 4
    if frame[ETHERNET_BYTES] >> 4 != 4 or frame[23] != _TCP or len(frame) < start + TCP_BYTES:
        return None
    total = int.from_bytes(frame[16:18], "big")
    source, destination = struct.unpack_from("!II", frame, 26)
    sport, dport, seq, ack, offset, flags = struct.unpack_from("!HHIIBB", frame, start)
    payload = ETHERNET_BYTES + total - start - (offset >> 4) * 4
    if payload < 0:
        return None
    length = payload + bool(flags & SYN) + bool(flags & FIN)
    return Segment((source, sport, destination, dport), seq, ack, flags, length)


def reset(frame: bytes) -> bytes | None:
    """The frame that refuses what `frame` asked for, as its receiver would (RFC 9293, 3.10.7.1).

    It comes from the vIP and the virtual MAC and goes to the sender. None where there is nothing to
    refuse: a reset is never answered.
    """
    segment = read(frame)
    if segment is None or segment.flags & RST:
        return None
    source, sport, destination, dport = segment.connection
    if segment.flags & ACK:
        seq, ack, flags = segment.ack, 0, RST
    else:
        seq, ack, flags = 0, (segment.seq + segment.length) & 0xFFFF_FFFF, RST | ACK
    tcp = struct.pack("!HHIIBBHHH", dport, sport, seq, ack, (TCP_BYTES // 4) << 4, flags, 0, 0, 0)
    addresses = struct.pack("!II", destination, source)
    tcp = _with_checksum(tcp, 16, internet_checksum(addresses + struct.pack("!BBH", 0, _TCP, len(tcp)) + tcp))
    ip = struct.pack("!BBHHHBBH", 0x45, 0, IPV4_BYTES + len(tcp), 0, 0x4000, _FIRST_TTL, _TCP, 0) + addresses
    ip = _with_checksum(ip, 10, internet_checksum(ip))
    mac = bytes.fromhex(addressing.VIRTUAL_MAC.replace(":", ""))
    return frame[6:12] + mac + _IPV4.to_bytes(2, "big") + ip + tcp


def address(number: int) -> str:
    """An address of a Connection as text."""
    return str(IPv4Address(number))


def _with_checksum(header: bytes, offset: int, value: int) -> bytes:
    return header[:offset] + value.to_bytes(2, "big") + header[offset + 2 :]

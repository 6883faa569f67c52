"""TCP segments as bytes: reads those that arrive in whole frames, writes SYNs and resets; and ARP requests. Pure.

Knows Ethernet, IPv4, TCP and ARP headers, nothing else: no VLANs, no fragments, no reassembly. Who puts frames on a
wire is `testbed.network.hosts.frames` and, by the switches, the controller.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from ipaddress import IPv4Address

from testbed.model import addressing

ETHERNET_BYTES, IPV4_BYTES, TCP_BYTES = 14, 20, 20
IPV4, ARP = 0x0800, 0x0806
FIN, SYN, RST, ACK = 0x01, 0x02, 0x04, 0x10
_TCP = 6
_FIRST_TTL = 64
_DONT_FRAGMENT = 0x4000
_WINDOW = 64_240
_FIRST_SEQUENCE = 1000

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
    header = frame[6:12] + _octets(addressing.VIRTUAL_MAC) + IPV4.to_bytes(2, "big")
    return header + _packet((destination, dport, source, sport), seq, ack, flags, window=0)


def syn_frame(
    source_mac: str, source_ip: str, destination_ip: str, source_port: int, port: int = addressing.FUNCTION_PORT
) -> bytes:
    """A frame to the virtual MAC with a SYN to `port`, checksums right, whatever it says of its source."""
    connection = (_number(source_ip), source_port, _number(destination_ip), port)
    header = _ethernet(addressing.VIRTUAL_MAC, source_mac, IPV4)
    return header + _packet(connection, _FIRST_SEQUENCE, 0, SYN, window=_WINDOW)


def arp_frame(source_mac: str, sender_mac: str, sender_ip: str, target_ip: str) -> bytes:
    """A frame to everybody with an ARP request."""
    body = struct.pack("!HHBBH", 1, IPV4, 6, 4, 1) + _octets(sender_mac) + IPv4Address(sender_ip).packed
    return _ethernet("ff:ff:ff:ff:ff:ff", source_mac, ARP) + body + bytes(6) + IPv4Address(target_ip).packed


def address(number: int) -> str:
    """An address of a Connection as text."""
    return str(IPv4Address(number))


def internet_checksum(data: bytes) -> int:
    """Over any number of bytes (RFC 1071); 0 over data that holds its own checksum."""
    padded = data + b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f"!{len(padded) // 2}H", padded))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def _packet(connection: Connection, seq: int, ack: int, flags: int, window: int) -> bytes:
    """An IPv4 packet with a segment that carries nothing."""
    source, sport, destination, dport = connection
    addresses = struct.pack("!II", source, destination)
    tcp = struct.pack("!HHIIBBHHH", sport, dport, seq, ack, (TCP_BYTES // 4) << 4, flags, window, 0, 0)
    tcp = _with_checksum(tcp, 16, internet_checksum(addresses + struct.pack("!BBH", 0, _TCP, len(tcp)) + tcp))
    total = IPV4_BYTES + len(tcp)
    ip = struct.pack("!BBHHHBBH", 0x45, 0, total, 0, _DONT_FRAGMENT, _FIRST_TTL, _TCP, 0) + addresses
    return _with_checksum(ip, 10, internet_checksum(ip)) + tcp


def _ethernet(destination: str, source: str, ether_type: int) -> bytes:
    return _octets(destination) + _octets(source) + ether_type.to_bytes(2, "big")


def _octets(mac: str) -> bytes:
    return bytes.fromhex(mac.replace(":", ""))


def _number(address: str) -> int:
    return int(IPv4Address(address))


def _with_checksum(header: bytes, offset: int, value: int) -> bytes:
    return header[:offset] + value.to_bytes(2, "big") + header[offset + 2 :]

"""Hand-made frames, sent from inside a host's namespace: what a function with raw sockets could put on the wire."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Callable, Iterable
from typing import Protocol, TypeVar

from testbed.model import addressing
from testbed.model.checksum import internet_checksum
from testbed.network.process.namespaces import call_within

T = TypeVar("T")
_SYN = 0x02


class Namespaces(Protocol):
    """The part of the lab's client that is needed here."""

    def netns(self, name: str) -> int: ...


def in_host(lab: Namespaces, host: str, function: Callable[[], T]) -> T:
    """The result of `function()`, run in a thread of its own whose sockets belong to `host`."""
    namespace = lab.netns(host)
    try:
        return call_within(namespace, function)
    finally:
        os.close(namespace)


def packet_socket() -> socket.socket:
    """A socket that sends whole frames by the calling thread's eth0."""
    raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    raw.bind(("eth0", 0))
    return raw


def send_frames(lab: Namespaces, host: str, frames: Iterable[bytes]) -> None:
    """Put frames on the wire of `host`'s eth0, whatever they say of their source."""

    def send() -> None:
        with packet_socket() as raw:
            for frame in frames:
                raw.send(frame)

    in_host(lab, host, send)


def syn_frame(
    source_mac: str, source_ip: str, destination_ip: str, source_port: int, port: int = addressing.FUNCTION_PORT
) -> bytes:
    """An Ethernet frame with a TCP SYN to `port`, checksums right."""
    ports = struct.pack("!HH", source_port, port)
    segment = ports + struct.pack("!IIBBHHH", 1000, 0, 5 << 4, _SYN, 64240, 0, 0)
    addresses = socket.inet_aton(source_ip) + socket.inet_aton(destination_ip)
    checksum = internet_checksum(addresses + struct.pack("!BBH", 0, 6, len(segment)) + segment)
    segment = segment[:16] + struct.pack("!H", checksum) + segment[18:]
    header = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(segment), 1, 0, 64, 6, 0) + addresses
    header = header[:10] + struct.pack("!H", internet_checksum(header)) + header[12:]
    return _ethernet(addressing.VIRTUAL_MAC, source_mac, 0x0800) + header + segment


def arp_frame(source_mac: str, sender_mac: str, sender_ip: str, target_ip: str) -> bytes:
    """An ARP request."""
    body = struct.pack("!HHBBH", 1, 0x0800, 6, 4, 1) + _octets(sender_mac) + socket.inet_aton(sender_ip)
    return _ethernet("ff:ff:ff:ff:ff:ff", source_mac, 0x0806) + body + bytes(6) + socket.inet_aton(target_ip)


def _ethernet(destination: str, source: str, ether_type: int) -> bytes:
    return _octets(destination) + _octets(source) + struct.pack("!H", ether_type)


def _octets(mac: str) -> bytes:
    return bytes.fromhex(mac.replace(":", ""))

"""Real packets for the tests: TCP connections and hand-made frames, sent from inside a host's namespace."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from testbed import addressing
from testbed.network.lab import Lab
from testbed.network.namespace import call_within

T = TypeVar("T")
UNANSWERED_S = 0.6
"""A call that is allowed is answered in a few ms; one that is dropped never is."""


def in_host(lab: Lab, host: str, function: Callable[[], T]) -> T:
    """The result of `function()` with sockets that belong to `host`."""
    namespace = lab.client.netns(host)
    try:
        return call_within(namespace, function)
    finally:
        os.close(namespace)


def reaches(lab: Lab, host: str, address: str, port: int = addressing.FUNCTION_PORT) -> bool:
    """Whether a TCP connection from `host` to address:port is established."""

    def attempt() -> bool:
        with socket.socket() as connection:
            connection.settimeout(UNANSWERED_S)
            try:
                connection.connect((address, port))
            except OSError:
                return False
            return True

    return in_host(lab, host, attempt)


def matrix(lab: Lab, hosts: Iterable[str], addresses: Iterable[str]) -> dict[tuple[str, str], bool]:
    """`reaches` for every pair, several at a time."""
    pairs = [(host, address) for host in hosts for address in addresses]
    with ThreadPoolExecutor(max_workers=24) as pool:
        return dict(zip(pairs, pool.map(lambda pair: reaches(lab, *pair), pairs), strict=True))


def send_frames(lab: Lab, host: str, frames: Iterable[bytes]) -> None:
    """Put frames on the wire of `host`'s eth0, whatever they say of their source."""

    def send() -> None:
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as raw:
            raw.bind(("eth0", 0))
            for frame in frames:
                raw.send(frame)

    in_host(lab, host, send)


def syn_frame(source_mac: str, source_ip: str, destination_ip: str, source_port: int) -> bytes:
    """An Ethernet frame with a TCP SYN to the function port, checksums right."""
    ports = struct.pack("!HH", source_port, addressing.FUNCTION_PORT)
    segment = ports + struct.pack("!IIBBHHH", 1000, 0, 5 << 4, 0x02, 64240, 0, 0)
    addresses = socket.inet_aton(source_ip) + socket.inet_aton(destination_ip)
    checksum = _internet_checksum(addresses + struct.pack("!BBH", 0, 6, len(segment)) + segment)
    segment = segment[:16] + struct.pack("!H", checksum) + segment[18:]
    header = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(segment), 1, 0, 64, 6, 0) + addresses
    header = header[:10] + struct.pack("!H", _internet_checksum(header)) + header[12:]
    return _ethernet(addressing.VIRTUAL_MAC, source_mac, 0x0800) + header + segment


def arp_frame(source_mac: str, sender_mac: str, sender_ip: str, target_ip: str) -> bytes:
    """An ARP request."""
    body = struct.pack("!HHBBH", 1, 0x0800, 6, 4, 1) + _octets(sender_mac) + socket.inet_aton(sender_ip)
    return _ethernet("ff:ff:ff:ff:ff:ff", source_mac, 0x0806) + body + bytes(6) + socket.inet_aton(target_ip)


def _ethernet(destination: str, source: str, ether_type: int) -> bytes:
    return _octets(destination) + _octets(source) + struct.pack("!H", ether_type)


def _octets(mac: str) -> bytes:
    return bytes.fromhex(mac.replace(":", ""))


def _internet_checksum(data: bytes) -> int:
    padded = data + b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f"!{len(padded) // 2}H", padded))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF

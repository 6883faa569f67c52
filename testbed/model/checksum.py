"""The Internet checksum, for the frames that controller and tools write themselves. Pure."""

from __future__ import annotations

import struct


def internet_checksum(data: bytes) -> int:
    """Over any number of bytes (RFC 1071); 0 over data that holds its own checksum."""
    padded = data + b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f"!{len(padded) // 2}H", padded))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF

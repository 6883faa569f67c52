"""Frames and packets for the controller's tests, made independently of what reads them."""

from __future__ import annotations

import socket
import struct
from dataclasses import replace

from controllers.simulator import Packet
from testbed.model import addressing


def syn(source: str, vip: str, sport: int, seq: int) -> bytes:
    return frame(source, vip, sport, 0x02, seq=seq)


def frame(
    source: str, vip: str, sport: int, flags: int, *, seq: int = 0, ack: int = 0, payload: bytes = b"", options: int = 0
) -> bytes:
    """What the host with eIP `source` sends to a vIP's function port; `options`: bytes of TCP options."""
    macs = bytes.fromhex((addressing.VIRTUAL_MAC + addressing.mac(source)).replace(":", ""))
    tcp = struct.pack(
        "!HHIIBBHHH", sport, addressing.FUNCTION_PORT, seq, ack, (5 + options // 4) << 4, flags, 64240, 0, 0
    )
    body = tcp + b"\x01" * options + payload
    addresses = socket.inet_aton(source) + socket.inet_aton(vip)
    return macs + b"\x08\x00" + struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(body), 1, 0, 64, 6, 0) + addresses + body


def retransmitted(packet: Packet) -> Packet:
    """The same packet again, as a host sends it that heard nothing."""
    return replace(packet)

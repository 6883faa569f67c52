"""Makes and deletes veth pairs by rtnetlink messages: a spawned `ip` costs 3 to 50 ms.

Addresses and flags are set in `testbed.network.process.namespaces`, by ioctl. Every call acts in the calling
thread's network namespace.
"""

from __future__ import annotations

import os
import socket
import struct

_NLMSG_ERROR, _RTM_NEWLINK, _RTM_DELLINK = 2, 16, 17
_REQUEST, _ACK, _CREATE, _EXCLUSIVE = 0x1, 0x4, 0x400, 0x200
_IFLA_IFNAME, _IFLA_LINKINFO, _IFLA_NET_NS_FD = 3, 18, 28
_INFO_KIND, _INFO_DATA, _VETH_INFO_PEER = 1, 2, 1
_INTERFACE = struct.pack("BxHiII", socket.AF_UNSPEC, 0, 0, 0, 0)


def make_veth(name: str, peer: str, peer_namespace: int) -> None:
    """A veth pair: `name` here, `peer` in the network namespace of that descriptor. OSError when refused."""
    other_end = _INTERFACE + _attribute(_IFLA_IFNAME, _text(peer))
    other_end += _attribute(_IFLA_NET_NS_FD, struct.pack("I", peer_namespace))
    info = _attribute(_INFO_KIND, b"veth") + _attribute(_INFO_DATA, _attribute(_VETH_INFO_PEER, other_end))
    body = _INTERFACE + _attribute(_IFLA_IFNAME, _text(name)) + _attribute(_IFLA_LINKINFO, info)
    _ask(_RTM_NEWLINK, _CREATE | _EXCLUSIVE, body, name)


def delete_link(name: str) -> None:
    """Delete an interface, and its other end with it. OSError when there is none."""
    _ask(_RTM_DELLINK, 0, _INTERFACE + _attribute(_IFLA_IFNAME, _text(name)), name)


def _ask(kind: int, flags: int, body: bytes, name: str) -> None:
    header = struct.pack("IHHII", 16 + len(body), kind, _REQUEST | _ACK | flags, 1, 0)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE) as netlink:
        netlink.send(header + body)
        answer = netlink.recv(65536)
    answered, number = struct.unpack_from("=4xH10xi", answer)
    if answered != _NLMSG_ERROR or number:
        raise OSError(-number, f"interface {name}: {os.strerror(-number)}")


def _attribute(kind: int, value: bytes) -> bytes:
    padding = -len(value) % 4
    return struct.pack("HH", 4 + len(value), kind) + value + b"\0" * padding


def _text(value: str) -> bytes:
    return value.encode() + b"\0"

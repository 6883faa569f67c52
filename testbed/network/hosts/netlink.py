"""veth pairs, addresses, routes, neighbours and a look at TCP by netlink messages: a spawned `ip` costs 3 to 50 ms.

Names, flags and MAC addresses are set in `testbed.network.process.namespaces`, by ioctl. Every call acts in the
calling thread's network namespace, and raises OSError where the kernel refuses.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network

_NETLINK_SOCK_DIAG, _SOCK_DIAG_BY_FAMILY = 4, 20
_NLMSG_ERROR, _NLMSG_DONE, _DUMP = 2, 3, 0x300
_RTM_NEWLINK, _RTM_DELLINK = 16, 17
_RTM_NEWADDR, _RTM_NEWROUTE, _RTM_NEWNEIGH = 20, 24, 28
_REQUEST, _ACK, _CREATE, _EXCLUSIVE = 0x1, 0x4, 0x400, 0x200
_IFLA_ADDRESS, _IFLA_IFNAME, _IFLA_LINKINFO, _IFLA_NET_NS_FD = 1, 3, 18, 28
_INFO_KIND, _INFO_DATA, _VETH_INFO_PEER = 1, 2, 1
_IFA_LOCAL = 2
_RTA_DST, _RTA_OIF, _RTA_GATEWAY = 1, 4, 5
_RT_TABLE_MAIN, _RTPROT_STATIC, _RT_SCOPE_UNIVERSE, _RTN_UNICAST, _RTNH_F_ONLINK = 254, 4, 0, 1, 4
_NDA_DST, _NDA_LLADDR, _NUD_PERMANENT = 1, 2, 0x80
_IFF_UP = 1
_INTERFACE = struct.pack("BxHiII", socket.AF_UNSPEC, 0, 0, 0, 0)
_INTERFACE_UP = struct.pack("BxHiII", socket.AF_UNSPEC, 0, 0, _IFF_UP, _IFF_UP)


def make_veth(name: str, mac: str, peer: str, peer_namespace: int) -> None:
    """A veth pair: `name` here, with this MAC; `peer` in the network namespace of that descriptor, and up."""
    own_end = _INTERFACE + _attribute(_IFLA_IFNAME, _text(name)) + _attribute(_IFLA_ADDRESS, _octets(mac))
    info = _attribute(_INFO_KIND, b"veth") + _attribute(_INFO_DATA, _attribute(_VETH_INFO_PEER, own_end))
    # To the kernel the other one is the peer: only that which is not can be up from the beginning.
    body = _INTERFACE_UP + _attribute(_IFLA_IFNAME, _text(peer))
    body += _attribute(_IFLA_NET_NS_FD, struct.pack("I", peer_namespace))
    _ask(_RTM_NEWLINK, _CREATE | _EXCLUSIVE, body + _attribute(_IFLA_LINKINFO, info), name)


def delete_link(name: str) -> None:
    """Delete an interface, and its other end with it."""
    _ask(_RTM_DELLINK, 0, _INTERFACE + _attribute(_IFLA_IFNAME, _text(name)), name)


def add_address(name: str, address: str) -> None:
    """Give an interface an IPv4 address of its own and no network with it, as `ip address add A/32`."""
    body = struct.pack("BBBBI", socket.AF_INET, 32, 0, _RT_SCOPE_UNIVERSE, socket.if_nametoindex(name))
    _ask(_RTM_NEWADDR, _CREATE | _EXCLUSIVE, body + _attribute(_IFA_LOCAL, IPv4Address(address).packed), name)


def add_route(network: IPv4Network, next_hop: str, name: str) -> None:
    """Reach a network through a next hop on an interface that is up, whatever its addresses.

    It stays when the interface is given its first address.
    """
    kind = (_RT_TABLE_MAIN, _RTPROT_STATIC, _RT_SCOPE_UNIVERSE, _RTN_UNICAST, _RTNH_F_ONLINK)
    body = struct.pack("BBBBBBBBI", socket.AF_INET, network.prefixlen, 0, 0, *kind)
    body += _attribute(_RTA_DST, network.network_address.packed)
    body += _attribute(_RTA_GATEWAY, IPv4Address(next_hop).packed)
    body += _attribute(_RTA_OIF, struct.pack("I", socket.if_nametoindex(name)))
    _ask(_RTM_NEWROUTE, _CREATE | _EXCLUSIVE, body, name)


def add_neighbour(address: str, mac: str, name: str) -> None:
    """Say for good which MAC answers for an address on an interface: nobody is asked.

    Such an entry does not count against the machine's limits of neighbours (Linux 5.0 and newer); a change of the
    interface's own MAC deletes it.
    """
    body = struct.pack("BxHiHBB", socket.AF_INET, 0, socket.if_nametoindex(name), _NUD_PERMANENT, 0, 0)
    body += _attribute(_NDA_DST, IPv4Address(address).packed)
    body += _attribute(_NDA_LLADDR, _octets(mac))
    _ask(_RTM_NEWNEIGH, _CREATE, body, name)


def tcp_connections(port: int, states: Iterable[int]) -> int:
    """How many TCP connections with this local port are in one of these states (numbered as in /proc/net/tcp).

    The kernel looks through the machine's whole table of connections, in a millisecond or so; for /proc/net/tcp and
    tcp6 it takes twenty.
    """
    mask = sum(1 << state for state in states)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_SOCK_DIAG) as netlink:
        return sum(_count(netlink, family, port, mask) for family in (socket.AF_INET, socket.AF_INET6))


def _count(netlink: socket.socket, family: int, port: int, states: int) -> int:
    body = struct.pack("BBBxI", family, socket.IPPROTO_TCP, 0, states) + struct.pack("!HH44x", port, 0)
    netlink.send(struct.pack("IHHII", 16 + len(body), _SOCK_DIAG_BY_FAMILY, _REQUEST | _DUMP, 1, 0) + body)
    found = 0
    while True:
        data = netlink.recv(65536)
        while data:
            length, kind = struct.unpack_from("IH", data)
            if kind == _NLMSG_DONE:
                return found
            if kind == _NLMSG_ERROR:
                number = struct.unpack_from("i", data, 16)[0]
                raise OSError(-number, f"TCP connections: {os.strerror(-number)}")
            found += 1
            data = data[length + -length % 4 :]


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


def _octets(mac: str) -> bytes:
    return bytes.fromhex(mac.replace(":", ""))


def _text(value: str) -> bytes:
    return value.encode() + b"\0"

"""Tools on sockets: the network's settings, frames, connections."""

import errno
import fcntl
import os
import select
import socket
import struct
import time

from function.tools.answers import Refused

CONNECT_S, ANSWER_S = 1.0, 3.0
LONGEST, AT_ONCE = 4096, 500
IP_FREEBIND = 15
REQUEST, ACK = 1, 4


def netlink(protocol, kind):
    """A change of nothing; rights are asked for first."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, int(protocol)) as one:
        one.settimeout(2)
        one.send(struct.pack("=IHHII", 48, int(kind), REQUEST | ACK, 1, 0) + bytes(32))
        (error,) = struct.unpack_from("=i", one.recv(1024), 16)
    if error:
        raise OSError(-error, "refused")
    return "done"


def interface(get, change):
    """eth0 is given what it has already."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        now = fcntl.ioctl(one, int(get, 0), struct.pack("40s", b"eth0"))
        fcntl.ioctl(one, int(change, 0), now)
    return "set"


def frame(data_hex):
    """A frame on the wire."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as one:
        one.bind(("eth0", 0))
        one.send(bytes.fromhex(data_hex))
    return "sent"


def datagram(protocol, address, port, data_hex):
    """To one, or to all that hear it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM, int(protocol)) as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        one.sendto(bytes.fromhex(data_hex), (address, int(port)))
    return "sent"


def tcp(address, port, text_hex="", source=""):
    """A connection, what it was told, and what came back."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as one:
        if source:
            one.setsockopt(socket.IPPROTO_IP, IP_FREEBIND, 1)
            one.bind((source, 0))
        return converse(one, (address, int(port)), bytes.fromhex(text_hex))


def scan(address, *ranges):
    """The first port where somebody answers."""
    ports = [port for one in ranges for port in range(int(one.partition("-")[0]), int(one.partition("-")[2]) + 1)]
    for at in range(0, len(ports), AT_ONCE):
        if (port := first_open(address, ports[at : at + AT_ONCE])) is not None:
            return f"port {port}"
    raise Refused("nobody answers")


def first_open(address, ports):
    waiting, end_s = {}, time.monotonic() + CONNECT_S
    try:
        for port in ports:
            one = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            one.setblocking(False)
            if one.connect_ex((address, port)) not in (0, errno.EINPROGRESS):
                one.close()
                continue
            waiting[one] = port
        while waiting and time.monotonic() < end_s:
            _, ready, _ = select.select([], waiting, [], 0.1)
            for one in ready:
                if one.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0:
                    return waiting[one]
                del waiting[one]
                one.close()
        return None
    finally:
        for one in waiting:
            one.close()


def unix(path, text_hex=""):
    """The same by a UNIX socket; @ stands for the abstract ones."""
    address = "\0" + path[1:] if path.startswith("@") else path
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as one:
        return converse(one, address, bytes.fromhex(text_hex))


def converse(one, address, text):
    one.settimeout(CONNECT_S)
    try:
        one.connect(address)
    except TimeoutError:
        raise OSError(errno.ETIMEDOUT, "no answer") from None
    if not text:
        return "connected"
    one.settimeout(ANSWER_S)
    one.sendall(text)
    answer = b""
    try:
        while len(answer) < LONGEST and (more := one.recv(LONGEST)):
            answer += more
    except OSError as error:
        if not answer:
            raise Refused(f"connected, and no answer: {os.strerror(error.errno or errno.ETIMEDOUT)}") from None
    if not answer:
        raise Refused("connected, and no answer")
    return f"connected\n{answer.decode(errors='replace')}"

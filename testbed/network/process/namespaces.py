"""Entering network namespaces and setting interfaces up in them, by system calls only.

A spawned `ip` or `ethtool` costs 3 to 50 ms; a system call costs microseconds. Sockets keep the
namespace that they were made in, so a thread may enter one, open a socket and leave again.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

CLONE_NEWNET = 0x40000000

_SIOCGIFFLAGS, _SIOCSIFFLAGS = 0x8913, 0x8914
_SIOCSIFADDR, _SIOCSIFNETMASK = 0x8916, 0x891C
_SIOCETHTOOL, _ETHTOOL_STXCSUM = 0x8946, 0x17
_IFF_UP = 1

_libc = ctypes.CDLL(None, use_errno=True)


def setns(namespace_fd: int, kind: int = CLONE_NEWNET) -> None:
    """Move the calling thread into a namespace. OSError when the kernel refuses."""
    if _libc.setns(namespace_fd, kind) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"setns: {os.strerror(number)}")


def open_netns(pid: int) -> int:
    """A file descriptor of the network namespace of process `pid`; the caller closes it."""
    return os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)


@contextmanager
def within(namespace_fd: int) -> Iterator[None]:
    """Run the block, in this thread only, in the network namespace of `namespace_fd`."""
    before = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        setns(namespace_fd)
        yield
    finally:
        setns(before)
        os.close(before)


def call_within(namespace_fd: int, function: Callable[[], T]) -> T:
    """The result of `function()`, run in a thread of its own in that network namespace."""
    return in_thread(lambda: setns(namespace_fd), function)


def in_new_netns(function: Callable[[], T]) -> T:
    """The result of `function()`, run in a thread of its own in a new network namespace.

    The namespace lasts as long as what `function` leaves in it: a process, a descriptor.
    """
    return in_thread(lambda: unshare(CLONE_NEWNET), function)


def unshare(kinds: int) -> None:
    """Give the calling thread new namespaces of these kinds. OSError when the kernel refuses."""
    if _libc.unshare(kinds) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"unshare: {os.strerror(number)}")


def in_thread(enter: Callable[[], object], function: Callable[[], T]) -> T:
    """The result of `function()`, run after `enter()` in a thread of its own, which then ends."""
    results: list[T] = []
    failures: list[BaseException] = []

    def body() -> None:
        try:
            enter()
            results.append(function())
        except BaseException as failure:  # noqa: BLE001  carried to the caller's thread below
            failures.append(failure)

    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    if failures:
        raise failures[0]
    return results[0]


def bring_up(*names: str) -> None:
    """Set interfaces of the current namespace up."""
    with _control_socket() as control:
        for name in names:
            answer = fcntl.ioctl(control, _SIOCGIFFLAGS, struct.pack("16s24x", name.encode()))
            flags = struct.unpack_from("16sH", answer)[1]
            fcntl.ioctl(control, _SIOCSIFFLAGS, struct.pack("16sH22x", name.encode(), flags | _IFF_UP))


def configure_interface(name: str, address: str, prefix_length: int) -> None:
    """Give an interface of the current namespace its IPv4 address and the network around it, and set it up."""
    mask = (0xFFFFFFFF << (32 - prefix_length)) & 0xFFFFFFFF
    with _control_socket() as control:
        fcntl.ioctl(control, _SIOCSIFADDR, _with_address(name, socket.inet_aton(address)))
        fcntl.ioctl(control, _SIOCSIFNETMASK, _with_address(name, struct.pack(">I", mask)))
    bring_up(name)


def transmit_checksums_off(name: str) -> None:
    """Make an interface of the current namespace send complete checksums.

    OVS's userspace datapath forwards frames as it finds them: with offload on, ping works and TCP
    is dead, because nobody ever fills the checksum in.
    """
    value = ctypes.create_string_buffer(struct.pack("II", _ETHTOOL_STXCSUM, 0))
    request = struct.pack("16sP16x", name.encode(), ctypes.addressof(value))
    with _control_socket() as control:
        fcntl.ioctl(control, _SIOCETHTOOL, request)


def set_sysctl(name: str, value: str | int) -> None:
    """Set a net.* kernel parameter of the calling thread's network namespace."""
    Path("/proc/sys", name.replace(".", "/")).write_text(f"{value}\n")


def listens(port: int) -> bool:
    """Whether a TCP socket listens on this port in the calling thread's network namespace."""
    lines = Path("/proc/thread-self/net/tcp").read_text().splitlines()[1:]
    return any(fields[3] == "0A" and fields[1].endswith(f":{port:04X}") for fields in map(str.split, lines))


def _control_socket() -> socket.socket:
    return socket.socket(socket.AF_INET, socket.SOCK_DGRAM)


def _with_address(name: str, address: bytes) -> bytes:
    return struct.pack("16sHH4s16x", name.encode(), socket.AF_INET, 0, address)

"""Hand-made frames, sent from inside a host's namespace: what a function with raw sockets could put on the wire.

They are made in `testbed.model.segments`.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterable
from typing import Protocol, TypeVar

from testbed.network.process.namespaces import call_within

T = TypeVar("T")


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

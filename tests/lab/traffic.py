"""Real packets for the tests: TCP connections and hand-made frames, sent from inside a host's namespace."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from testbed.model import addressing
from testbed.model.segments import arp_frame, syn_frame
from testbed.network.hosts import frames
from testbed.network.lab import Lab

__all__ = ["arp_frame", "in_host", "matrix", "reaches", "send_frames", "syn_frame"]

T = TypeVar("T")
UNANSWERED_S = 0.6
"""A call that is allowed is answered in a few ms; one that is dropped never is."""


def in_host(lab: Lab, host: str, function: Callable[[], T]) -> T:
    """The result of `function()` with sockets that belong to `host`."""
    return frames.in_host(lab.client, host, function)


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


def send_frames(lab: Lab, host: str, data: Iterable[bytes]) -> None:
    """Put frames on the wire of `host`'s eth0, whatever they say of their source."""
    frames.send_frames(lab.client, host, data)

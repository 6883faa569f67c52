"""Ports for servers that a test starts: free, and none that a connection would be given. Opens nothing for long."""

from __future__ import annotations

import random
import socket

BELOW_CONNECTIONS = range(15_000, 32_000)
"""Linux gives connections ports from 32768 on (ip_local_port_range): one from there may be taken before it is used."""


def free_port(address: str = "127.0.0.1") -> int:
    """A TCP port at which nobody listens. Several processes may ask at once, so it is drawn."""
    while True:
        port = random.SystemRandom().choice(BELOW_CONNECTIONS)
        with socket.socket() as probe:
            try:
                probe.bind((address, port))
            except OSError:  # somebody has it
                continue
            return port

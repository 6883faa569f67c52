"""Ports for servers that a test starts: free, and none that a connection would be given. Opens nothing for long."""

from __future__ import annotations

import itertools
import random
import socket

BELOW_CONNECTIONS = range(15_000, 32_000)
"""Linux gives connections ports from 32768 on (ip_local_port_range): one from there may be taken before it is used."""
_places = itertools.count(random.SystemRandom().randrange(len(BELOW_CONNECTIONS)))
"""One after another, so that none is given twice; from a place of each process's own, because several ask at once."""


def free_port() -> int:
    """A TCP port that nobody has at any address."""
    while True:
        port = BELOW_CONNECTIONS[next(_places) % len(BELOW_CONNECTIONS)]
        with socket.socket() as probe:
            try:
                probe.bind(("", port))
            except OSError:  # somebody has it
                continue
            return port

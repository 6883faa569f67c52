"""Opens connections to one address as fast as a rate allows and gives each up at once: a flood of first packets.

`python -m bench.rigs.flooder ADDRESS RATE_PER_S SECONDS`, in the host that is to be the culprit. Prints how many it
tried. It needs no privilege: any function could do this.
"""

from __future__ import annotations

import socket
import sys
import time
from collections import deque

from testbed.model import addressing

PENDING = 200
"""Connections that are left open behind the newest, so that each one's first packet has gone before it is closed."""


def flood(address: str, rate_per_s: float, duration_s: float) -> int:
    """The number of connections tried."""
    pending: deque[socket.socket] = deque()
    begun, tried = time.monotonic(), 0
    while (elapsed_s := time.monotonic() - begun) < duration_s:
        if tried >= rate_per_s * elapsed_s:
            time.sleep(0.001)
            continue
        connection = socket.socket()
        connection.setblocking(False)
        connection.connect_ex((address, addressing.FUNCTION_PORT))
        pending.append(connection)
        tried += 1
        if len(pending) > PENDING:
            pending.popleft().close()
    for connection in pending:
        connection.close()
    return tried


if __name__ == "__main__":
    print(flood(sys.argv[1], float(sys.argv[2]), float(sys.argv[3])))

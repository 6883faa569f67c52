"""The port of this machine's loopback that a lab's gateway serves, opened before the lab has a network of its own."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager

from testbed.model.errors import UsageError


@contextmanager
def listening_socket(port: int) -> Iterator[socket.socket]:
    """A socket that listens on `port` of 127.0.0.1 (0: any free one); UsageError when it is taken."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
        except OSError as error:
            raise UsageError(
                f"port {port} of this machine cannot be used ({error.strerror}); choose another --port"
            ) from error
        listener.listen(1024)
        yield listener

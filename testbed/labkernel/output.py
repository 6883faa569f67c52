"""The way of a command's output from the guest's processes to a console of the guest. Used by `init` alone.

A command must see what it would see on the host: a terminal where the user has one, a pipe where not.
"""

import fcntl
import os
import selectors
import struct
import termios
import threading

PIPE_BYTES = 65536


class Terminal:
    """A console of the guest, in raw mode."""

    def __init__(self, descriptor: int, columns: int, lines: int) -> None:
        self.descriptor = descriptor
        self.resize(columns, lines)

    def resize(self, columns: int, lines: int) -> None:
        """Tells the processes that use it how much fits."""
        fcntl.ioctl(self.descriptor, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def write(self, data: bytes) -> None:
        """Writes all of it; blocks while the host is slow to read."""
        while data:
            data = data[os.write(self.descriptor, data) :]


class Outlet:
    """What a command gets as its stdout or stderr: `descriptor`."""

    def __init__(self, terminal: Terminal, is_terminal: bool) -> None:
        self._terminal = terminal
        self._pump: threading.Thread | None = None
        self.descriptor = terminal.descriptor
        if not is_terminal:
            self._source, self.descriptor = os.pipe()
            os.set_blocking(self._source, False)
            self._stop_source, self._stop = os.pipe()
            self._pump = threading.Thread(target=self._copy, daemon=True)

    def begin(self) -> None:
        """To be called once the command has its own copy of the descriptor."""
        if self._pump:
            os.close(self.descriptor)
            self._pump.start()

    def finish(self) -> None:
        """Returns when all that the command has written has left the guest.

        Does not wait for processes that the command left behind and that still hold its output.
        """
        if self._pump:
            os.close(self._stop)
            self._pump.join()
        termios.tcdrain(self._terminal.descriptor)

    def _copy(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._source, selectors.EVENT_READ)
            selector.register(self._stop_source, selectors.EVENT_READ)
            while True:
                stopping = any(key.fd == self._stop_source for key, _ in selector.select())
                # One pipe's content is all that can be the command's own: what comes later is of processes it left.
                if not self._copy_at_most(PIPE_BYTES) or stopping:
                    return

    def _copy_at_most(self, size: int) -> bool:
        """Copies what there is; False at the end of the stream."""
        while size > 0:
            try:
                data = os.read(self._source, size)
            except BlockingIOError:
                return True
            if not data:
                return False
            self._terminal.write(data)
            size -= len(data)
        return True

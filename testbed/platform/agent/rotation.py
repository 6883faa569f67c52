"""Keeps the output of instances within bounds, so that a function that writes without end cannot fill the disk.

An instance writes straight into its log (it goes on when the agent restarts), and the file is shortened under it:
the newest part moves to `<log>.1`, replacing what was there. Lines written in that moment are lost, as with
logrotate's copytruncate.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path

log = logging.getLogger("agent")

LIMIT_BYTES = 8 << 20
INTERVAL_S, HURRIED_S = 0.5, 0.02


def rotate(file: Path, limit_bytes: int = LIMIT_BYTES) -> bool:
    """Shorten a log that is larger than the limit; whether it was. The writer has to append (O_APPEND)."""
    try:
        now = file.stat()
    except FileNotFoundError:
        return False
    size = now.st_size
    if size <= limit_bytes:
        return False
    with file.open("r+b") as old:
        if now.st_blocks * 512 < limit_bytes:  # the function has made it long and written little: nothing is copied
            os.ftruncate(old.fileno(), 0)
            return True
        old.seek(size - limit_bytes)
        kept = old.read(limit_bytes)
        file.with_name(f"{file.name}.1").write_bytes(kept[kept.find(b"\n") + 1 :])
        os.ftruncate(old.fileno(), 0)
    return True


class LogRotation(threading.Thread):
    """Looks at the logs that `files` names, often while one of them overflows."""

    def __init__(self, files: Callable[[], Iterable[Path]]) -> None:
        super().__init__(name="logs", daemon=True)
        self._files = files

    def run(self) -> None:
        while True:
            time.sleep(HURRIED_S if self.look() else INTERVAL_S)

    def look(self) -> bool:
        """Shorten what is too long; whether anything was."""
        overflowed = False
        for file in self._files():
            try:
                overflowed |= rotate(file)
            except OSError as error:  # no room even for that: the next look may find some
                log.warning("the log %s could not be shortened: %s", file, error)
        return overflowed

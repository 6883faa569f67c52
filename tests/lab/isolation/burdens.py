"""Attempts to take what is everybody's: processes, memory, disk, files. Each is bounded, and gives it back.

They have succeeded where nothing stopped them, or where another tenant was not answered meanwhile.
"""

from __future__ import annotations

from tests.lab.isolation.attempt import Answer, Attempt, always
from tests.lab.isolation.files import own_log
from tests.lab.isolation.scene import Scene

PROCESSES, FILES, SECONDS = 4000, 250_000, 12
MEBIBYTES = 256
"""More than the memory that the attackers may have."""
LOG_MEBIBYTES, LOG_BOUND = 40, 20 << 20
OPEN_FILES = 2_000_000


def burden(title: str, *order: object) -> Attempt:
    return Attempt(title, always(*order), alone=True, heavy=True)


def log_grew(scene: Scene, answer: Answer) -> bool:
    """Whether its log is longer than twice what a log may be and what it may have written since it was looked at."""
    log = own_log(scene)
    files = (log, log.with_name(f"{log.name}.1"))
    return sum(one.stat().st_size for one in files if one.exists()) > LOG_BOUND


ATTEMPTS = (
    burden(f"{PROCESSES} processes", "bomb", PROCESSES, SECONDS),
    burden(f"{MEBIBYTES} MiB in /tmp", "fill", "/tmp", MEBIBYTES),
    burden(f"{MEBIBYTES} MiB in /dev/shm", "fill", "/dev/shm", MEBIBYTES),
    burden(f"{MEBIBYTES} MiB in /var/tmp", "fill", "/var/tmp", MEBIBYTES),
    burden(f"{MEBIBYTES} MiB in its home", "fill", ".", MEBIBYTES),
    burden(f"{FILES} files in /tmp", "files", "/tmp", FILES, SECONDS),
    burden(f"{FILES} files in its home", "files", ".", FILES, SECONDS),
    burden("millions of open files", "hold", OPEN_FILES),
    Attempt(f"{LOG_MEBIBYTES} MiB of log", always("talk", LOG_MEBIBYTES), log_grew, alone=True, heavy=True),
)

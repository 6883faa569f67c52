"""Attempts to take what is everybody's: processes, memory, disk, files. Each is bounded, and gives it back.

They have succeeded where nothing stopped them, or where another tenant was not answered meanwhile.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

from tests.lab.isolation.attempt import Answer, Attempt, Order, always
from tests.lab.isolation.files import own_log
from tests.lab.isolation.scene import Scene
from tests.waiting import eventually

PROCESSES, FILES, SECONDS = 4000, 250_000, 22
"""Within the time the bound of a place is reached in the lab kernel too; what is not refused by then succeeds."""
MEBIBYTES = 256
"""More than the memory that the attackers may have."""
LOG_MEBIBYTES, LOG_BOUND, SHORTENED_S = 40, 20 << 20, 3.0
KEEP_SIZE = "1"
OPEN_FILES = 2_000_000


def burden(title: str, *order: object) -> Attempt:
    return Attempt(title, always(*order), alone=True, heavy=True)


def log_bytes(scene: Scene) -> int:
    """What its log takes of the disk, whatever it says of its length."""
    log = own_log(scene)
    files = (log, log.with_name(f"{log.name}.1"))
    return sum(one.stat().st_blocks * 512 for one in files if one.exists())


def log_stays_long(scene: Scene, answer: Answer) -> bool:
    """Whether its log is longer than the two parts that are kept of one, and stays so."""
    return not eventually(lambda: log_bytes(scene) < LOG_BOUND, within_s=SHORTENED_S)


def reserves(scene: Scene) -> Iterable[Order]:
    """Room on the disk behind the end of its log, whose length stays as it is."""
    yield "call", str(scene.system_calls["fallocate"]), "2", KEEP_SIZE, "0", str(MEBIBYTES << 20)


def empty_log(scene: Scene) -> None:
    os.truncate(own_log(scene), 0)


ATTEMPTS = (
    burden(f"{PROCESSES} processes", "bomb", PROCESSES, SECONDS),
    burden(f"{MEBIBYTES} MiB in /tmp", "fill", "/tmp", MEBIBYTES),
    burden(f"{MEBIBYTES} MiB in /dev/shm", "fill", "/dev/shm", MEBIBYTES),
    burden(f"{MEBIBYTES} MiB in /var/tmp", "fill", "/var/tmp", MEBIBYTES),
    burden(f"{MEBIBYTES} MiB in its home", "fill", ".", MEBIBYTES),
    burden(f"{FILES} files in /tmp", "files", "/tmp", FILES, SECONDS),
    burden(f"{FILES} files in its home", "files", ".", FILES, SECONDS),
    burden("millions of open files", "hold", OPEN_FILES),
    Attempt(f"{MEBIBYTES} MiB of disk behind its log", reserves, log_stays_long, empty_log, alone=True),
    Attempt(f"{LOG_MEBIBYTES} MiB of log", always("talk", LOG_MEBIBYTES), log_stays_long, alone=True, heavy=True),
)

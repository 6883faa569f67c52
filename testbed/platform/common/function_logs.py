"""What instances have written, read from their log files: the last lines, since a time, or as it grows.

A log file is `<function>.<namespace>.<serial>.log` in one folder, and stays when its instance has gone; the
node agent moves what grows too large to `….log.1`, which is read before it. A
line may begin with its time (RFC 3339), which is taken off; a line without one has the time of the last
one before it that had one, otherwise the time when it was first seen: the file's last change for what is
there already, now for what is written later. Reading is in pieces of bounded size, whatever a function
writes. HTTP is for the apiserver's `logs`.
"""

from __future__ import annotations

import contextlib
import heapq
import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

PIECE_BYTES = 1 << 16
LONGEST_LINE_BYTES = PIECE_BYTES
"""A longer line comes in pieces."""

LOOK_INTERVAL_S = 1.0
"""How often a follower looks for instances that are new."""

_TIME = re.compile(
    rb"(\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|z|[+-]\d\d:\d\d)(?:[ \t]|$)"
)  # fmt: skip


@dataclass(frozen=True, order=True)
class Line:
    """One line of one instance. `at_ns`: Unix time in nanoseconds."""

    at_ns: int
    instance: str
    text: str


@dataclass(frozen=True)
class Selection:
    """Which lines: of a function, or one instance of it; the last `tail` of each instance (None: all); since a time."""

    function: str
    namespace: str
    instance: str = ""
    since_ns: int | None = None
    tail: int | None = None


class LogFolder:
    """The folder of all instances' log files."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def instances(self, selection: Selection) -> list[str]:
        """The ids of the instances that have written something, in the order they were made."""
        prefix = f"{selection.function}.{selection.namespace}."
        try:
            names = [entry.name for entry in os.scandir(self._folder)]
        except FileNotFoundError:
            return []
        found = [name.removesuffix(".log") for name in names if name.startswith(prefix) and name.endswith(".log")]
        serials = {one: one.removeprefix(prefix) for one in found}
        kept = [one for one in found if serials[one].isdigit() and selection.instance in ("", one)]
        return sorted(kept, key=lambda one: int(serials[one]))

    def file(self, instance: str) -> Path:
        return self._folder / f"{instance}.log"


class Follower:
    """Reads a selection: first what is there, merged by time, then what is added. It holds no file open."""

    def __init__(self, folder: LogFolder, selection: Selection) -> None:
        self._folder = folder
        self._selection = selection
        self._files: dict[str, _LogFile] = {}
        self._looked_s = 0.0

    def present(self) -> Iterator[Line]:
        """What is there now, oldest first; a last line without an end is left for `added` or `rest`."""
        self._look(self._selection.tail)
        lines = heapq.merge(*(file.lines() for file in list(self._files.values())))
        return (line for line in lines if self._wanted(line))

    def added(self) -> Iterator[Line]:
        """What has been written since, instance by instance; instances that are new come with all they wrote."""
        if time.monotonic() - self._looked_s > LOOK_INTERVAL_S:
            self._look(None)
        for file in list(self._files.values()):
            file.first_seen()
            yield from (line for line in file.lines() if self._wanted(line))

    def rest(self) -> Iterator[Line]:
        """Last lines that have no end (yet)."""
        for file in self._files.values():
            yield from (line for line in file.unfinished() if self._wanted(line))

    def _wanted(self, line: Line) -> bool:
        return line.at_ns >= (self._selection.since_ns or 0)

    def _look(self, tail: int | None) -> None:
        """Find the instances that have begun to write."""
        self._looked_s = time.monotonic()
        for instance in self._folder.instances(self._selection):
            if instance not in self._files:
                self._files[instance] = _LogFile(instance, self._folder.file(instance), tail)


class _LogFile:
    """One instance's file and how far it has been read; before it, what it held until it was last shortened."""

    def __init__(self, instance: str, path: Path, tail: int | None) -> None:
        self._instance = instance
        self._path = path
        self._offset = 0
        self._default_ns = 0
        self._stamped_ns = 0
        self._rest = b""
        self._older: tuple[Path, int] | None = (path.with_name(f"{path.name}.1"), 0)
        with contextlib.suppress(FileNotFoundError), path.open("rb") as file:
            self._default_ns = os.fstat(file.fileno()).st_mtime_ns
            if tail is not None:
                self._offset, missing = start_of_last(file, tail)
                self._older = self._older_part(missing)

    def first_seen(self) -> None:
        """What is read from here on has only just been written."""
        self._default_ns, self._stamped_ns = time.time_ns(), 0

    def lines(self) -> Iterator[Line]:
        """The whole lines up to the file's present end."""
        while piece := self._read():
            *whole, self._rest = (self._rest + piece).split(b"\n")
            for text in whole:
                yield self._line(text)
            if len(self._rest) > LONGEST_LINE_BYTES:
                yield self._line(self._rest)
                self._rest = b""

    def unfinished(self) -> Iterator[Line]:
        if self._rest:
            yield self._line(self._rest)
            self._rest = b""

    def _older_part(self, missing: int) -> tuple[Path, int] | None:
        """Where the `missing` last lines of the older part begin."""
        path = self._path.with_name(f"{self._path.name}.1")
        if missing:
            with contextlib.suppress(FileNotFoundError), path.open("rb") as file:
                return path, start_of_last(file, missing)[0]
        return None

    def _read(self) -> bytes:
        """The next piece, b"" at the end. A file that has become shorter is read from its beginning again."""
        if self._older is not None:
            path, offset = self._older
            piece, _ = _piece(path, offset)
            self._older = (path, offset + len(piece)) if piece else None
            if piece:
                return piece
        piece, size = _piece(self._path, self._offset)
        if size < self._offset:
            self._offset, self._rest = 0, b""
            piece, _ = _piece(self._path, 0)
        self._offset += len(piece)
        return piece

    def _line(self, text: bytes) -> Line:
        at_ns, text = split_time(text)
        if at_ns is not None:
            self._stamped_ns = max(at_ns, self._stamped_ns)  # merging needs times that do not go back
        return Line(self._stamped_ns or self._default_ns, self._instance, text.rstrip(b"\r").decode(errors="replace"))


def _piece(path: Path, offset: int) -> tuple[bytes, int]:
    """A bounded part of a file from `offset` on, and the file's size; a file that has gone is at its end."""
    try:
        with path.open("rb") as file:
            file.seek(offset)
            return file.read(PIECE_BYTES), os.fstat(file.fileno()).st_size
    except FileNotFoundError:
        return b"", offset


def start_of_last(file: BinaryIO, count: int) -> tuple[int, int]:
    """Where the last `count` lines of a file begin, and how many of them it does not have; reads backwards."""
    size = os.fstat(file.fileno()).st_size
    if count == 0 or size == 0:
        return size, count
    file.seek(size - 1)
    wanted = count + (1 if file.read(1) == b"\n" else 0)  # line ends between the wanted start and the end
    end = size
    while end > 0:
        start = max(0, end - PIECE_BYTES)
        file.seek(start)
        piece = file.read(end - start)
        if piece.count(b"\n") < wanted:
            wanted -= piece.count(b"\n")
            end = start
            continue
        at = len(piece)
        for _ in range(wanted):
            at = piece.rindex(b"\n", 0, at)
        return start + at + 1, 0
    return 0, wanted - 1


def split_time(line: bytes) -> tuple[int | None, bytes]:
    """A line's own time in Unix nanoseconds (None when it has none), and the rest of it."""
    found = _TIME.match(line)
    if not found:
        return None, line
    day, fraction, zone = (group or b"" for group in found.groups())
    try:
        whole = datetime.fromisoformat(f"{day.decode().upper()}{zone.decode().upper().replace('Z', '+00:00')}")
    except ValueError:  # the 31st of February
        return None, line
    return datetime_ns(whole) + int((fraction or b"0").ljust(9, b"0")), line[found.end() :]


def parse_time(text: str) -> int:
    """An RFC 3339 time in Unix nanoseconds; ValueError when it is something else."""
    at_ns, rest = split_time(text.encode())
    if at_ns is None or rest:
        raise ValueError(f'"{text}" is not a time such as 2024-05-01T12:00:00Z')
    return at_ns


def format_time(at_ns: int) -> str:
    """Unix nanoseconds as RFC 3339, in UTC."""
    seconds, nanoseconds = divmod(at_ns, 1_000_000_000)
    fraction = f".{nanoseconds:09}".rstrip("0") if nanoseconds else ""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}{fraction}Z"


def datetime_ns(at: datetime) -> int:
    """Unix nanoseconds, exact to the microsecond that a datetime has."""
    return int(at.timestamp()) * 1_000_000_000 + at.microsecond * 1000

"""Log lines have times, come oldest first, and are read from the end without reading the rest."""

from __future__ import annotations

import os
from pathlib import Path
from unittest import mock

import pytest

from testbed.platform.common import function_logs
from testbed.platform.common.function_logs import Follower, LogFolder, Selection

SECOND = 1_000_000_000
T0 = function_logs.parse_time("2026-01-01T00:00:00Z")
CHANGED_NS = T0 + 100 * SECOND


def write(folder: Path, instance: str, text: str) -> Path:
    file = folder / f"{instance}.log"
    file.write_text(text)
    os.utime(file, ns=(CHANGED_NS, CHANGED_NS))
    return file


def read(folder: Path, **selection: object) -> list[tuple[int, str, str]]:
    """(seconds after T0, serial, text) of what is there now."""
    follower = Follower(LogFolder(folder), Selection("one", "t", **selection))  # type: ignore[arg-type]
    lines = [*follower.present(), *follower.rest()]
    return [((line.at_ns - T0) // SECOND, line.instance.rpartition(".")[2], line.text) for line in lines]


def test_lines_of_all_instances_come_oldest_first(tmp_path: Path) -> None:
    write(tmp_path, "one.t.1", "2026-01-01T00:00:01Z a\n2026-01-01T00:00:04.5+00:00 b\n")
    write(tmp_path, "one.t.10", "2026-01-01T01:00:02+01:00 c\nTraceback\n2026-01-01T00:00:09Z d\nno end")
    write(tmp_path, "one.t2.1", "another namespace\n")
    write(tmp_path, "one.t.x", "no instance\n")
    assert read(tmp_path) == [
        (1, "1", "a"),
        (2, "10", "c"),
        (2, "10", "Traceback"),
        (4, "1", "b"),
        (9, "10", "d"),
        (9, "10", "no end"),
    ]
    assert read(tmp_path, instance="one.t.1") == [(1, "1", "a"), (4, "1", "b")]
    assert [text for _, _, text in read(tmp_path, since_ns=T0 + 4 * SECOND)] == ["b", "d", "no end"]
    assert [text for _, _, text in read(tmp_path, tail=1)] == ["b", "no end"]


def test_a_line_without_a_time_has_that_of_the_file(tmp_path: Path) -> None:
    write(tmp_path, "one.t.1", "a\r\n2026-02-31T00:00:00Z no such day\n\n")
    assert read(tmp_path) == [(100, "1", "a"), (100, "1", "2026-02-31T00:00:00Z no such day"), (100, "1", "")]


@pytest.mark.parametrize("end", ["", "\n"])
@pytest.mark.parametrize("count", [1, 2, 3, 1000, 5000])
def test_the_last_lines_are_found_from_the_end(tmp_path: Path, end: str, count: int) -> None:
    lines = [f"line {number} {'x' * (number % 300)}" for number in range(1000)]
    write(tmp_path, "one.t.1", "\n".join(lines) + end)
    assert [text for _, _, text in read(tmp_path, tail=count)] == lines[-count:]


def test_a_tail_reads_no_more_than_it_needs(tmp_path: Path) -> None:
    file = write(tmp_path, "one.t.1", "line\n" * 200_000)
    offsets = []
    with file.open("rb") as log:
        seek = log.seek
        watched = mock.Mock(wraps=log)
        watched.seek = lambda offset: offsets.append(offset) or seek(offset)
        assert function_logs.start_of_last(watched, 10) == (file.stat().st_size - 50, 0)
    assert min(offsets) >= file.stat().st_size - function_logs.PIECE_BYTES


@pytest.mark.parametrize(("tail", "texts"), [(None, "abcdefg"), (2, "fg"), (3, "efg"), (5, "cdefg"), (9, "abcdefg")])
def test_what_was_moved_away_is_read_before(tmp_path: Path, tail: int | None, texts: str) -> None:
    write(tmp_path, "one.t.1", "e\nf\ng\n")
    (tmp_path / "one.t.1.log.1").write_text("a\nb\nc\nd\n")
    assert "".join(text for _, _, text in read(tmp_path, tail=tail)) == texts


def test_a_line_without_end_comes_in_pieces(tmp_path: Path) -> None:
    write(tmp_path, "one.t.1", "x" * 1_000_000)
    texts = [text for _, _, text in read(tmp_path)]
    assert "".join(texts) == "x" * 1_000_000
    assert max(map(len, texts)) <= 2 * function_logs.LONGEST_LINE_BYTES


def test_what_is_added_is_followed_and_new_instances_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(function_logs, "LOOK_INTERVAL_S", 0.0)
    file = write(tmp_path, "one.t.1", "old\n")
    follower = Follower(LogFolder(tmp_path), Selection("one", "t", tail=1))
    assert [line.text for line in follower.present()] == ["old"]
    with file.open("a") as log:
        log.write("2026-01-01T00:00:07Z new\nhalf ")
    write(tmp_path, "one.t.2", "first\n")
    added = list(follower.added())
    assert [(line.instance, line.text) for line in added] == [("one.t.1", "new"), ("one.t.2", "first")]
    assert added[0].at_ns == T0 + 7 * SECOND
    assert added[1].at_ns > CHANGED_NS  # seen now
    with file.open("a") as log:
        log.write("a line\n")
    assert [line.text for line in follower.added()] == ["half a line"]
    file.write_text("again\n")
    assert [line.text for line in follower.added()] == ["again"]
    file.unlink()
    assert list(follower.added()) == []


def test_no_file_stays_open(tmp_path: Path) -> None:
    write(tmp_path, "one.t.1", "a\n" * 100_000)
    before = len(list(Path("/proc/self/fd").iterdir()))
    follower = Follower(LogFolder(tmp_path), Selection("one", "t"))
    lines = follower.present()
    assert next(lines).text == "a"
    assert len(list(Path("/proc/self/fd").iterdir())) == before


@pytest.mark.parametrize(
    "text", ["2026-01-01T00:00:00Z", "2026-01-01T00:00:00.000000001Z", "2026-01-01T23:59:59.123456789Z"]
)
def test_times_survive_to_the_nanosecond(text: str) -> None:
    assert function_logs.format_time(function_logs.parse_time(text)) == text


@pytest.mark.parametrize("text", ["", "yesterday", "2026-01-01", "2026-01-01T00:00:00", "2026-01-01T00:00:00Z more"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a time such as 2024-05-01T12:00:00Z"):
        function_logs.parse_time(text)

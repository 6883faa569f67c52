"""Instances' output stays within bounds while it is being written."""

from __future__ import annotations

import os
from pathlib import Path

from testbed.platform.agent.rotation import LogRotation, rotate


def test_a_log_within_its_limit_is_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "a.log"
    file.write_text("one\ntwo\n")
    assert not rotate(file, 8)
    assert not rotate(tmp_path / "missing", 8)
    assert [one.name for one in tmp_path.iterdir()] == ["a.log"]


def test_the_newest_whole_lines_are_kept_and_the_writer_goes_on(tmp_path: Path) -> None:
    file = tmp_path / "a.log"
    with file.open("ab", buffering=0) as writer:
        writer.write(b"first\nsecond\nthird\n")
        assert rotate(file, 13)
        writer.write(b"fourth\n")
    assert (tmp_path / "a.log.1").read_bytes() == b"third\n"
    assert file.read_bytes() == b"fourth\n"


def test_two_files_are_all_that_there_is(tmp_path: Path) -> None:
    file = tmp_path / "a.log"
    with file.open("ab", buffering=0) as writer:
        for number in range(2000):
            writer.write(b"%d\n" % number)
            rotate(file, 1000)
            assert sum(one.stat().st_size for one in tmp_path.iterdir()) <= 2010
    lines = (tmp_path / "a.log.1").read_bytes() + file.read_bytes()
    assert [int(line) for line in lines.splitlines()] == list(range(2000 - len(lines.splitlines()), 2000))


def test_one_look_takes_all_files(tmp_path: Path) -> None:
    files = [tmp_path / "a", tmp_path / "b"]
    for file in files:
        file.write_bytes(b"x" * (9 << 20))
    rotation = LogRotation(lambda: files)
    assert rotation.look()
    assert [file.stat().st_size for file in files] == [0, 0]
    assert not rotation.look()


def test_a_log_that_was_made_long_without_being_written_is_not_copied(tmp_path: Path) -> None:
    file = tmp_path / "log"
    file.write_text("a line\n")
    os.truncate(file, 1 << 40)
    assert rotate(file, 1 << 20)
    assert file.stat().st_size == 0
    assert not file.with_name("log.1").exists()

"""Who served how much is counted from the function servers' records."""

from __future__ import annotations

from pathlib import Path

from testbed.observe.shares import Share, shares


def record(started_ns: int, ended_ns: int) -> str:
    return f'{{"invocation":{{"call_id":"x","started_ns":{started_ns},"ended_ns":{ended_ns},"status":200}}}}\n'


def test_records_are_counted_by_instance_and_other_output_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "f.t.1.log").write_text("starting\n" + record(100, 110) + "a line\n" + record(400, 450))
    (tmp_path / "f.t.2.log").write_text(f"2026-11-23T20:00:00Z {record(50, 60)}" + '{"invocation":{"call_id"')
    (tmp_path / "f.t.3.log").write_text("nothing\n")
    (tmp_path / "g.t.1.log").write_text(record(1, 2))
    assert shares(tmp_path, "f.t") == [Share("f.t.2", 1, 50, 60), Share("f.t.1", 2, 100, 450)]
    assert shares(tmp_path, "f.t", since_ns=200) == [Share("f.t.1", 1, 400, 450)]
    assert Share("x", 1, 0, 2_500_000_000).served_s == 2.5

"""The gateway's counters outlive its process."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import pytest

from testbed.platform.gateway.http.pool import Pool
from testbed.platform.gateway.service.functions import Functions
from testbed.platform.gateway.service.history import History, numbers_of, resume
from testbed.platform.gateway.service.metrics import FunctionMetrics


def functions() -> Functions:
    return Functions(lambda vip: Pool(vip, 8080, pooled=True, max_idle=1, idle_timeout_s=1), "openfaas-fn")


def count(metrics_of: Callable[[str], FunctionMetrics]) -> None:
    one = metrics_of("one.a")
    one.started += 3
    one.finished(200, 0.004)
    one.finished(200, 0.2)
    one.finished(502, 60.0)
    one.opened_before = 7
    metrics_of("two.b").started += 1


def test_counters_go_on_where_they_ended(tmp_path: Path) -> None:
    before, after = functions(), functions()
    count(before.metrics_of)
    History(tmp_path / "counters", before.metrics).save()
    History(tmp_path / "counters", after.metrics).load(after.metrics_of)
    assert [numbers_of(one) for one in after.metrics()] == [numbers_of(one) for one in before.metrics()]
    after.metrics_of("one.a").finished(200, 0.004)
    (ok, bad) = (after.metrics_of("one.a").by_code[code] for code in (200, 502))
    assert (ok.count, bad.count) == (3, 1)
    assert after.metrics_of("one.a").upstream_connections == 7


def test_nothing_is_written_while_nothing_is_counted(tmp_path: Path) -> None:
    counted = functions()
    count(counted.metrics_of)
    history = History(tmp_path / "counters", counted.metrics)
    history.save()
    (tmp_path / "counters").unlink()
    history.save()
    assert not (tmp_path / "counters").exists()
    counted.metrics_of("one.a").started += 1
    history.save()
    assert (tmp_path / "counters").exists()


def test_the_first_gateway_begins_at_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    counted = functions()
    History(tmp_path / "counters", counted.metrics).load(counted.metrics_of)
    History(None, counted.metrics).load(counted.metrics_of)
    History(None, counted.metrics).save()
    assert counted.metrics() == []
    assert caplog.records == []


@pytest.mark.parametrize("text", ["", "[1]", '{"one.a": {"started": 1}}', '{"one.a": 3}', "\x00"])
def test_a_broken_file_is_left_out_and_said_so(tmp_path: Path, caplog: pytest.LogCaptureFixture, text: str) -> None:
    counted = functions()
    (tmp_path / "counters").write_text(text)
    with caplog.at_level(logging.WARNING):
        History(tmp_path / "counters", counted.metrics).load(counted.metrics_of)
    assert "counters begin at 0" in caplog.text


def test_a_full_disk_does_not_end_the_gateway(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    counted = functions()
    count(counted.metrics_of)
    with caplog.at_level(logging.WARNING):
        History(tmp_path / "no-such-folder" / "counters", counted.metrics).save()
    assert "cannot be kept" in caplog.text


def test_other_buckets_are_not_mixed_with_these() -> None:
    with pytest.raises(ValueError, match="2 buckets"):
        resume(FunctionMetrics("one.a"), {"started": 1, "connections": 0, "codes": {"200": [0.1, 1, 1]}})

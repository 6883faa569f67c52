"""What must not end quietly in a gateway that lives on: following, time limits, keeping counters, alerts."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from testbed.model.errors import PlatformError
from testbed.platform.gateway import lifecycle
from testbed.platform.gateway.http.deadlines import Deadlines
from testbed.platform.gateway.service.history import History
from testbed.platform.gateway.service.metrics import FunctionMetrics
from testbed.platform.gateway.service.system import System


def test_a_gateway_that_cannot_follow_any_more_ends_with_the_error(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        raise KeyError("a kind of event that nobody knows")

    drained: list[str] = []
    pool = SimpleNamespace(close=lambda: drained.append("closed"))
    gateway: Any = SimpleNamespace(
        sweep=lambda: None,
        drain=lambda: drained.append("drained"),
        connections=set(),
        pools=lambda: [pool],
    )
    follow: Any = SimpleNamespace(run=run)
    monkeypatch.setattr(lifecycle, "_tune_collector", lambda: None)
    with pytest.raises(KeyError, match="nobody knows"):
        asyncio.run(lifecycle.serve(gateway, follow, []))
    assert drained == ["drained", "closed"]


def test_a_mistake_about_one_deadline_is_not_the_end_of_the_others() -> None:
    async def expire() -> list[str]:
        expired: list[str] = []
        both = asyncio.Event()

        def over(item: str) -> None:
            expired.append(item)
            if item == "first":
                raise ValueError(item)
            both.set()

        asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
        deadlines = Deadlines(0.001, over)
        now_s = asyncio.get_running_loop().time()
        deadlines.add("first", now_s)
        deadlines.add("second", now_s)
        await asyncio.wait_for(both.wait(), 30)
        return expired

    assert asyncio.run(expire()) == ["first", "second"]


def test_counters_that_could_not_be_kept_are_tried_again(tmp_path: Path) -> None:
    one = FunctionMetrics("one.a")
    history = History(tmp_path / "later" / "counters", lambda: [one])
    history.save()
    (tmp_path / "later").mkdir()
    history.save()
    assert (tmp_path / "later" / "counters").exists()


@pytest.mark.parametrize("body", [b"[]", b"{}", b"<html>", b'{"replicas": null}'])
def test_an_alert_is_answered_whatever_the_apiserver_says_of_the_function(body: bytes) -> None:
    async def call(*_: Any) -> tuple[int, bytes]:
        return 200, body

    parts: Any = None
    apiserver: Any = SimpleNamespace(call=call, as_client=lambda _: apiserver)
    system = System(parts, parts, apiserver, parts, None, "openfaas-fn")
    with pytest.raises(PlatformError, match=r"status of one\.a cannot be read"):
        asyncio.run(system._scale(apiserver, "firing", "one", "a"))

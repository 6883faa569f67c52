"""The supervisor keeps processes running, also those that cannot be started at first."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from testbed.network.process import supervisor
from testbed.network.process.supervisor import ProcessSpec, Supervisor


class Groups:
    """Cgroups that refuse the first processes."""

    def __init__(self, refusals: int = 0) -> None:
        self.refusals = refusals

    def spawn(self, path: str, start: Callable[[], Any]) -> Any:
        if self.refusals:
            self.refusals -= 1
            raise OSError("no memory")
        return start()


def until(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Groups], Supervisor]:
    monkeypatch.setattr(supervisor, "FIRST_PAUSE_S", 0.01)

    def made(groups: Groups) -> Supervisor:
        parts: Any = groups
        return Supervisor(tmp_path, tmp_path, parts)

    return made


def test_what_could_not_be_started_is_tried_again(make: Callable[[Groups], Supervisor]) -> None:
    group = make(Groups(refusals=2))
    supervised = group.start(ProcessSpec("sleeper", ("sleep", "1000")))
    until(lambda: supervised.process is not None)
    assert group.describe()["sleeper"]["restarts"] == 2
    group.keep_away("sleeper", 1000)


def test_what_ends_is_started_again(make: Callable[[Groups], Supervisor]) -> None:
    group = make(Groups())
    supervised = group.start(ProcessSpec("sleeper", ("sleep", "1000")))
    first = supervised.process
    assert first is not None
    first.kill()
    until(lambda: group.describe()["sleeper"]["pid"] not in (None, first.pid))
    assert group.describe()["sleeper"]["restarts"] == 1
    group.keep_away("sleeper", 1000)

"""A crew of switches that are values, for all tests of this room."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.unit.controllers.clusters import small
from tests.unit.controllers.switch.crew_rig import Rig, rigged, running


@pytest.fixture
def rig(monkeypatch: pytest.MonkeyPatch) -> Iterator[Rig]:
    """Nothing is connected and nothing known."""
    with rigged(monkeypatch) as made:
        yield made


@pytest.fixture
def small_rig(rig: Rig) -> Rig:
    """The small cluster, running."""
    return running(rig, small())

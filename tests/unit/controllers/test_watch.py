"""The watch, as the controller follows it."""

from __future__ import annotations

from typing import Any

import pytest

from controllers.watch import Watch


def test_a_gap_in_the_versions_asks_for_a_snapshot() -> None:
    heard: list[Any] = []
    watch = Watch("http://127.0.0.1:9", heard.append)
    watch._take({"type": "SNAPSHOT", "version": 5})
    watch._take({"type": "HEARTBEAT", "version": 5})
    watch._take({"type": "PUT", "version": 6})
    with pytest.raises(ValueError, match="8 does not follow 6"):
        watch._take({"type": "PUT", "version": 8})
    assert [event["version"] for event in heard] == [5, 6]
    assert watch._version is None

"""Times as people write them in settings."""

from __future__ import annotations

import pytest

from testbed.model.durations import go_duration_s, setting_s


@pytest.mark.parametrize(
    ("text", "seconds"), [("8", 8), ("65s", 65), ("1m30s", 90), ("500ms", 0.5), ("1.5h", 5400), ("0", 0)]
)
def test_durations_are_seconds_or_go_durations(text: str, seconds: float) -> None:
    assert setting_s(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "s", "5 s", "-1", "1x", "1s2", "1.5"])
def test_other_durations_are_refused(text: str) -> None:
    with pytest.raises(ValueError) as raised:
        setting_s(text)
    assert str(raised.value) == text


@pytest.mark.parametrize(
    ("text", "seconds"), [("0s", 0), (".5s", 0.5), ("1.h", 3600), ("1.1h", 3960), ("30s1m", 90), ("7µs7us", 14e-6)]
)
def test_a_go_duration_has_a_unit_behind_every_number(text: str, seconds: float) -> None:
    assert go_duration_s(text) == seconds


@pytest.mark.parametrize("text", ["8", "0", "1d", "90", "1e3s", "٣s", "1" * 400 + "s", "2562048h"])
def test_no_other_text_and_nothing_beyond_292_years_is_a_go_duration(text: str) -> None:
    with pytest.raises(ValueError) as raised:
        go_duration_s(text)
    assert str(raised.value) == text


def test_the_longest_go_duration_is_292_years() -> None:
    assert go_duration_s("2562047h") / 3600 / 24 / 365.25 == pytest.approx(292, abs=1)

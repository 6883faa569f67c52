"""The tests' one way of waiting: it looks before it waits, gives what was read, and says what never came."""

from __future__ import annotations

import pytest

from tests.waiting import eventually, last, until


def test_what_is_good_is_given_at_once() -> None:
    counts = iter(range(10))
    assert last(lambda: next(counts), lambda count: count == 3, pause_s=0) == 3
    assert next(counts) == 4


def test_what_never_is_good_is_given_as_it_was_last() -> None:
    assert last(lambda: 7, lambda count: count > 7, within_s=0) == 7
    assert eventually(list, within_s=0) == []


def test_what_never_comes_true_is_named() -> None:
    assert until(lambda: "here", "it is here", within_s=0) == "here"
    with pytest.raises(AssertionError, match="within 0 s not so: it is here"):
        until(lambda: "", "it is here", within_s=0)

"""What can be asked of an application: orders of its functions, cycles among calls, names."""

from __future__ import annotations

import pytest

from testbed.model.application import (
    Application,
    FunctionSpec,
    call_order,
    callees_first,
    find_cycle,
    is_secret_name,
    with_secret,
)


def test_a_diamond_is_no_cycle() -> None:
    calls = {"a": ("b", "c"), "b": ("d",), "c": ("d",), "d": ()}
    assert find_cycle(calls) == ()
    assert find_cycle({**calls, "d": ("c",)}) == ("d", "c", "d")


def test_call_order_and_its_opposite() -> None:
    one = FunctionSpec("one", "python", "h", "i", ingress=True, calls=("two",))
    two = FunctionSpec("two", "python", "h", "i", calls=("three",))
    shuffled = Application("app", (FunctionSpec("three", "python", "h", "i"), one, two))
    assert call_order(shuffled) == ("one", "two", "three")
    assert [spec.name for spec in callees_first(shuffled)] == ["three", "two", "one"]


def test_a_secret_is_added_once_to_every_function() -> None:
    one = FunctionSpec("one", "x", "h", "i", secrets=("a", "gateway-token"))
    two = FunctionSpec("two", "x", "h", "i")
    added = with_secret(Application("app", (one, two)), "gateway-token")
    assert [spec.secrets for spec in added.functions] == [("a", "gateway-token"), ("gateway-token",)]


@pytest.mark.parametrize(
    ("name", "good"), [("a", True), ("a.b-c", True), ("..", False), ("a..b", False), ("", False), ("a/b", False)]
)
def test_a_secret_has_the_name_of_a_file(name: str, good: bool) -> None:
    assert is_secret_name(name) is good

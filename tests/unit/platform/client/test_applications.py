"""Applications are found by their folder, and in a lab by the functions that a namespace holds."""

from __future__ import annotations

from pathlib import Path

import pytest

from testbed.model.application import Application, FunctionSpec
from testbed.model.cluster import ClusterState, Function
from testbed.model.errors import UsageError
from testbed.platform.client import applications

SHOP = Application("shop", tuple(FunctionSpec(name, "python3-http", name, f"shop/{name}:1.0") for name in ("a", "b")))


def state(*functions: tuple[str, str, str]) -> ClusterState:
    """Of (namespace, name, image)."""
    deployed = [
        Function(namespace, name, number, f"10.96.1.{number}", image, 1)
        for number, (namespace, name, image) in enumerate(functions)
    ]
    return ClusterState(functions={function.full_name: function for function in deployed})


def test_applications_are_the_folders_with_a_stack_file(tmp_path: Path) -> None:
    for folder in ("shop", "bank", "templates"):
        (tmp_path / folder).mkdir()
    for folder in ("shop", "bank"):
        (tmp_path / folder / "stack.yaml").touch()
    assert applications.names(tmp_path) == ["bank", "shop"]


@pytest.mark.parametrize(
    ("asked", "hint"), [("shpo", 'did you mean "shop"?'), ("zoo", "there are bank, shop")], ids=["near", "far"]
)
def test_an_unknown_application_is_refused_by_name(tmp_path: Path, asked: str, hint: str) -> None:
    for folder in ("shop", "bank"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "stack.yaml").touch()
    with pytest.raises(UsageError) as refused:
        applications.load(asked, tmp_path)
    assert str(refused.value) == f'no application "{asked}" stands under {tmp_path}; {hint}'


def test_every_application_of_this_project_can_be_read() -> None:
    assert "chain" in applications.names()
    for name in applications.names():
        assert applications.load(name, variables={}).name == name


def test_a_namespace_holds_an_application_when_all_its_functions_are_that_applications() -> None:
    found = state(
        ("whole", "a", "shop/a:1.0"), ("whole", "b", "shop/b:1.0"),
        ("part", "b", "shop/b:1.0"),
        ("other", "a", "bank/a:1.0"),
        ("mixed", "a", "shop/a:1.0"), ("mixed", "c", "shop/c:1.0"),
    )  # fmt: skip
    assert applications.namespaces_with(SHOP, found) == ["part", "whole"]

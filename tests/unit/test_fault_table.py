"""tests/faults.toml names the tests of each promise about faults: they exist, and docs/platform.md agrees."""

from __future__ import annotations

import ast
import tomllib
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.mutants import load

CHECKOUT = Path(__file__).resolve().parents[2]
ROWS: list[dict[str, Any]] = tomllib.loads((CHECKOUT / "tests/faults.toml").read_text())["row"]


@cache
def functions_of(file: str) -> set[str]:
    """The names of a test module's test functions."""
    tree = ast.parse((CHECKOUT / file).read_text())
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")}


@pytest.mark.parametrize("row", ROWS, ids=[row["fault"] for row in ROWS])
def test_every_fault_has_tests_and_mutants_that_exist(row: dict[str, Any]) -> None:
    assert row["tests"]
    assert row["mutants"]
    for test in row["tests"]:
        file, _, name = test.partition("::")
        assert name in functions_of(file), test
    guards = {mutant.guard for mutant in load(CHECKOUT / "tests/mutants.toml")}
    assert set(row["mutants"]) <= guards


def test_every_mutants_text_stands_once_in_its_file() -> None:
    wrong = {
        mutant.guard: count
        for mutant in load(CHECKOUT / "tests/mutants.toml")
        if (count := (CHECKOUT / mutant.file).read_text().count(mutant.text)) != 1
    }
    assert wrong == {}


def test_the_document_has_the_same_faults() -> None:
    lines = (CHECKOUT / "docs/platform.md").read_text().splitlines()
    shown = {tuple(cell.strip() for cell in line.strip("|").split("|")) for line in lines if line.startswith("|")}
    assert [row["fault"] for row in ROWS if (row["fault"], row["holds"]) not in shown] == []

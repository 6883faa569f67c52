"""Files that docstrings and documents name are there, under that name."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.house.sources import CHECKOUT, python_files

SOURCES = [*python_files("testbed", "controllers", "experiments", "bench", "tests"), *(
    path.relative_to(CHECKOUT) for path in sorted([CHECKOUT / "README.md", *CHECKOUT.glob("docs/*.md")])
)]  # fmt: skip
NAME = re.compile(r"(?<![\w/.<{*-])[\w/-]+\.py\b")


def prose(path: Path) -> Iterator[str]:
    """What a reader reads: a document, or a Python file's docstrings."""
    text = (CHECKOUT / path).read_text()
    if path.suffix == ".md":
        yield text
        return
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            yield ast.get_docstring(node) or ""


def missing(texts: Iterator[str], files: list[Path]) -> list[str]:
    """Names of Python files in the texts that no file has: a name may leave out the first folders."""
    known = {"/".join(path.parts[n:]) for path in files for n in range(len(path.parts))}
    return [name for text in texts for name in NAME.findall(text) if name not in known]


def test_a_file_that_is_named_is_there() -> None:
    files = python_files()
    found = {str(source): missing(prose(source), files) for source in SOURCES}
    assert {source: names for source, names in found.items() if names} == {}


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("See run.py and testbed/run.py.", []),
        ("See network/lab.py (and `hosts/attach.py`).", ["hosts/attach.py"]),
        ("Any handler in functions/*/handler.py, or <name>.py.", []),
    ],
)
def test_a_name_that_no_file_has_is_seen(text: str, names: list[str]) -> None:
    assert missing(iter([text]), python_files()) == names

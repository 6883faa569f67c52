"""Rooms that a newcomer finds: packages and modules of a size to read, and a page in each that names what is in it.

Who may import whom is test_layers.py's.
"""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from pathlib import Path

import pytest

from tests.unit.house.sources import CHECKOUT, python_files

MODULES = 16
LINES = 400
ONE_A_VERB = {"testbed/commands", "bench/subjects"}
"""They have as many modules as there are verbs and subjects; all are alike."""


def packages(*folders: str) -> dict[str, list[Path]]:
    """The modules of each folder that has any; its page is none of them."""
    found: dict[str, list[Path]] = defaultdict(list)
    for path in python_files(*folders):
        modules = found[str(path.parent)]
        if path.name != "__init__.py":
            modules.append(path)
    return found


PACKAGES = [
    folder for folder in packages("testbed", "controllers", "experiments", "bench")
    if (CHECKOUT / folder / "__init__.py").exists()
]  # fmt: skip


def test_no_package_has_more_modules_than_a_reader_can_survey() -> None:
    counts = {folder: len(modules) for folder, modules in packages().items() if folder not in ONE_A_VERB}
    assert {folder: count for folder, count in counts.items() if count > MODULES} == {}


def test_no_module_is_too_long_to_read() -> None:
    lengths = {str(path): len((CHECKOUT / path).read_text().splitlines()) for path in python_files()}
    assert {path: lines for path, lines in lengths.items() if lines > LINES} == {}


def inhabitants(folder: str) -> set[str]:
    """The names of a package's modules and of the packages in it."""
    inside = {path.relative_to(folder).parts[0] for path in python_files(folder)}
    names = {name.removesuffix(".py") for name in inside} - {"__init__"}
    return {name for name in names if not (folder in ONE_A_VERB and name.endswith("_verb"))}


def named(page: str) -> set[str]:
    """The names that a page lists: at the beginning of an indented line, before two blanks, or in `quotes`."""
    lists = re.findall(r"^ +([\w/.]+(?:, [\w/.]+)*)(?:  |:|$)", page, re.MULTILINE)
    words = [name for names in lists for name in names.split(", ")] + re.findall(r"`([\w/.]+)`", page)
    return {word.removesuffix("/").removesuffix(".py") for word in words}


@pytest.mark.parametrize("folder", PACKAGES)
def test_a_page_says_what_a_package_is_for_and_names_what_is_in_it(folder: str) -> None:
    page = ast.get_docstring(ast.parse((CHECKOUT / folder / "__init__.py").read_text()))
    assert page, "there is no page"
    assert inhabitants(folder) - named(page) == set()


@pytest.mark.parametrize(
    ("page", "names"),
    [
        ("What for.\n\n    exchange  one request\n    http/     a room", {"exchange", "http"}),
        ("What for.\n\n    pool, exchange  connections\n", {"pool", "exchange"}),
        ("Open `exchange` first, then `pool.py`.", {"exchange", "pool"}),
        ("An exchange of words, by process.", set()),
    ],
)
def test_a_name_in_a_sentence_is_no_entry(page: str, names: set[str]) -> None:
    assert named(page) == names

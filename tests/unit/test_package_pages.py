"""Each package of the testbed has a page of contents that names what lies in it, and nothing that does not."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
PACKAGES = [page.parent for page in sorted(CHECKOUT.glob("testbed/**/__init__.py"))]
LISTED_ELSEWHERE = {CHECKOUT / "testbed/commands", CHECKOUT / "testbed/labkernel"}
"""The verbs are listed by `testbed --help`; the lab kernel's page speaks of its programs in sentences."""
_ENTRY = re.compile(r"^    ([a-z_0-9]+/?)  ", re.MULTILINE)

every_package = pytest.mark.parametrize("package", PACKAGES, ids=lambda package: str(package.relative_to(CHECKOUT)))


def page_of(package: Path) -> str:
    return ast.get_docstring(ast.parse((package / "__init__.py").read_text()), clean=False) or ""


def contents_of(package: Path) -> set[str]:
    modules = {module.stem for module in package.glob("*.py")} - {"__init__", "__main__"}
    return modules | {f"{room.parent.name}/" for room in package.glob("*/__init__.py")}


@every_package
def test_a_page_says_what_the_package_is_for(package: Path) -> None:
    first = page_of(package).partition("\n\n")[0]
    assert first.endswith(".")


@pytest.mark.parametrize(
    "package",
    [package for package in PACKAGES if package not in LISTED_ELSEWHERE],
    ids=lambda package: str(package.relative_to(CHECKOUT)),
)
def test_a_page_names_each_module_once(package: Path) -> None:
    assert sorted(_ENTRY.findall(page_of(package))) == sorted(contents_of(package))

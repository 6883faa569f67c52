"""What the documents name exists: files, folders, modules, links, the headings they lead to, first files of packages.

Whether what they say of it is true, and whether their commands answer as shown, is tested elsewhere.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
MAP = CHECKOUT / "README.md"
CODE = CHECKOUT / "docs/README.md"
PAGES = [MAP, *sorted(CHECKOUT.glob("docs/*.md")), *sorted(CHECKOUT.glob("functions/*/README.md"))]

FOLDERS = ("testbed", "controllers", "experiments", "bench", "functions", "tests", "docs", "vagrant")
_IN_A_FOLDER = re.compile(rf"(?<![\w./-])(?:{'|'.join(FOLDERS)})/[\w./-]*")
_ALONE = re.compile(r"(?<![\w./*-])[\w-]+\.(?:py|c|toml)\b")
_MODULE = re.compile(r"(?<![\w./-])(?:testbed|controllers|experiments|bench|tests)(?:\.[a-z_]\w*)+")
_STANDS_FOR_ANY = re.compile(r"/[A-Z]+(?:/|\.|$)(?!md)")
"""A name in capitals, as in functions/ID.log: a path in a running lab, not in the checkout."""
_LINK = re.compile(r"\]\(([^)]+)\)")
_HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)
_PACKAGE = re.compile(r"^\| `([\w/]+)` \|.*\| `([\w.]+)` \|$", re.MULTILINE)

every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(CHECKOUT)))


@every_page
def test_files_that_are_named_exist(page: Path) -> None:
    named = {name.rstrip("./") for name in _IN_A_FOLDER.findall(page.read_text()) if not _STANDS_FOR_ANY.search(name)}
    assert sorted(name for name in named if not (CHECKOUT / name).exists()) == []


@every_page
def test_files_that_are_named_without_their_folder_exist(page: Path) -> None:
    known = {path.name for path in CHECKOUT.glob("*.toml")}
    known |= {path.name for folder in FOLDERS for path in (CHECKOUT / folder).rglob("*")}
    assert sorted(set(_ALONE.findall(page.read_text())) - known) == []


@every_page
def test_modules_that_are_named_exist(page: Path) -> None:
    paths = {name: CHECKOUT / name.replace(".", "/") for name in _MODULE.findall(page.read_text())}
    assert sorted(name for name, path in paths.items() if not (path.is_dir() or path.with_suffix(".py").exists())) == []


@every_page
def test_links_lead_somewhere(page: Path) -> None:
    targets = [target for target in _LINK.findall(page.read_text()) if "://" not in target]
    assert [target for target in targets if not leads_somewhere(page, target)] == []


@pytest.mark.parametrize("page", PAGES[1:], ids=lambda page: str(page.relative_to(CHECKOUT)))
def test_the_map_or_a_page_of_docs_links_every_page(page: Path) -> None:
    linking = [MAP] if page.parent == CHECKOUT / "docs" else PAGES
    targets = {(one.parent / target).resolve() for one in linking for target in _LINK.findall(one.read_text())}
    assert page in targets


def test_the_first_file_of_every_package_exists() -> None:
    rows = _PACKAGE.findall(CODE.read_text())
    assert rows
    assert [row for row in rows if not CHECKOUT.joinpath(*row).is_file()] == []


def leads_somewhere(page: Path, target: str) -> bool:
    """Whether a relative link's file exists, and has the heading that the link names."""
    file, _, anchor = target.partition("#")
    path = page.parent / file if file else page
    return path.exists() and (not anchor or anchor in map(anchor_of, _HEADING.findall(path.read_text())))


def anchor_of(heading: str) -> str:
    """What GitHub makes of a heading: lower case, no punctuation, blanks as dashes."""
    return re.sub(r"[^\w -]", "", heading.strip().lower()).replace(" ", "-")

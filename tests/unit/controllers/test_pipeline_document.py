"""docs/pipeline.md says what pipeline.py and the generator say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from controllers import pipeline as p
from controllers.desired.generator import Generator
from tests.unit.controllers.clusters import small

DOCUMENT = (Path(__file__).parents[3] / "docs" / "pipeline.md").read_text()
DUMPED = re.compile(r"^cookie=(0x[0-9a-f]+), table=(\d+), priority=(\d+)", re.MULTILINE)


def section(table: p.Table) -> str:
    found = re.search(rf"^## {table.number} {table.name}$(.*?)(?=^## )", DOCUMENT, re.MULTILINE | re.DOTALL)
    assert found, f"no section on table {table.number}, {table.name}"
    return found[1]


def cells(heading: str) -> list[tuple[str, ...]]:
    """The rows of the table under a heading, as text."""
    part = re.search(rf"^## {heading}$(.*?)(?=^## )", DOCUMENT, re.MULTILINE | re.DOTALL)
    assert part
    lines = [line for line in part[1].splitlines() if line.startswith("|")][2:]
    return [tuple(cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]) for line in lines]


def test_sections_are_the_tables_in_order() -> None:
    headings = re.findall(r"^## (\d+) (\w+)$", DOCUMENT, re.MULTILINE)
    assert headings == [(str(table.number), table.name) for table in p.TABLES]


@pytest.mark.parametrize("table", p.TABLES, ids=lambda table: table.name)
def test_a_section_says_purpose_and_miss(table: p.Table) -> None:
    text = section(table)
    assert f"**Purpose:** {table.purpose}." in text
    assert "**Packets:** " in text
    assert f"**Miss:** {table.miss}." in text


def test_registers() -> None:
    assert cells("Registers and marks") == [(register.name, register.holds) for register in p.REGISTERS]


def test_priorities() -> None:
    assert [(int(n), name) for n, name, _ in cells("Priorities")] == [(q.value, q.name) for q in p.Priority]


def test_cookie_categories() -> None:
    wanted = [(str(c.value), c.name, p.CATEGORY_OBJECTS[c]) for c in p.Category]
    assert cells("Cookies") == wanted


def test_drop_reasons() -> None:
    assert cells("Drops") == [(str(r.number), r.table.name, r.label, r.sentence) for r in p.DropReason]


@pytest.mark.parametrize("table", p.TABLES, ids=lambda table: table.name)
def test_dumped_rows_are_rows_of_the_generator(table: p.Table) -> None:
    generator = Generator()
    generator.load(small())
    real = {(row.cookie, row.table, row.priority) for row in generator.desired[2].rows.values()}
    dumped = [(int(c, 16) & p.COOKIE_WITHOUT_ROUND, int(t), int(q)) for c, t, q in DUMPED.findall(section(table))]
    assert dumped
    assert set(dumped) <= real
    assert {t for _, t, _ in dumped} == {table.number}
    kinds = {(q, p.category_of(c)) for c, t, q in real if t == table.number}
    assert kinds == {(q, p.category_of(c)) for c, _, q in dumped}


def test_every_table_number_in_the_code_is_named() -> None:
    generator = Generator()
    generator.load(small())
    numbers = {row.table for tables in generator.desired.values() for row in tables.rows.values()}
    assert numbers == set(p.TABLE_NAMES)

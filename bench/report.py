"""The tables of docs/performance.md, made from bench/results/*.json alone, and a subject's lines for the terminal.

Everything in the document outside the two marker lines is written by hand and stays.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.budgets import BUDGETS, Budget
from testbed.model.errors import UsageError

BEGIN = "<!-- made by `python -m bench report` from bench/results; do not edit from here -->"
END = "<!-- to here -->"


def update(document: Path, folder: Path) -> None:
    """Put the tables between the marker lines. UsageError when the document does not have both, once each."""
    text = document.read_text()
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise UsageError(f"{document} does not have the lines {BEGIN!r} and {END!r} once each; put them in")
    before, rest = text.split(BEGIN)
    after = rest.split(END)[1]
    document.write_text(f"{before}{BEGIN}\n\n{render(load(folder))}\n{END}{after}")


def load(folder: Path) -> dict[str, dict[str, Any]]:
    """Every result of a folder by its subject. UsageError names a file that is no result."""
    results = {}
    for path in sorted(folder.glob("*.json")):
        try:
            result = json.loads(path.read_text())
            results[result["subject"]] = result
        except (ValueError, KeyError, TypeError) as error:
            raise UsageError(
                f"{path} is not a result of the bench ({error}); remove it or run the bench again"
            ) from None
    return results


def render(results: Mapping[str, dict[str, Any]]) -> str:
    """The document's part: where it was measured, every budget, then each subject's own tables."""
    parts = [_measured_on(results.values()), _budget_table(results)]
    for result in results.values():
        for table in result["tables"]:
            parts += [f"**{table['title']}**", _markdown(table["columns"], table["rows"])]
    return "\n\n".join(part for part in parts if part) + "\n"


def terminal(path: Path) -> str:
    """What one subject found, as plain lines."""
    result = json.loads(path.read_text())
    lines = [f"{result['subject']}: {result['what']} ({result['took_s']:.0f} s)"]
    for one in result["budgets"]:
        limit = "" if one["limit"] is None else f"budget {_number(one['limit'])}"
        lines.append(f"  {one['what']:<82} {_measured(one):>24}  {limit:<12} {one['verdict']} {one['note']}".rstrip())
    for table in result["tables"]:
        lines += ["", f"  {table['title']}", *(f"  {line}" for line in _aligned(table["columns"], table["rows"]))]
    lines += [f"  PROBLEM {problem}" for problem in result["problems"]]
    return "\n".join(lines)


def _measured_on(results: Iterable[Mapping[str, Any]]) -> str:
    lines: dict[str, list[str]] = {}
    for result in results:
        machine = result["machine"]
        changes = " with changes" if result["uncommitted_changes"] else ""
        line = (
            f"{machine['cpu']}, {machine['cpus']} CPUs, {machine['memory_mb']} MB, Linux {machine['kernel']}, "
            f"{machine['system']}, commit {result['commit'][:10]}{changes}"
        )
        lines.setdefault(line, []).append(result["subject"])
    return "\n".join(f"Measured on: {line} ({', '.join(subjects)})." for line, subjects in lines.items())


def _budget_table(results: Mapping[str, Mapping[str, Any]]) -> str:
    found = {one["name"]: (one, result) for result in results.values() for one in result["budgets"]}
    rows = [_budget_row(budget, *found.get(budget.name, (None, None))) for budget in BUDGETS]
    return _markdown(("what", "budget", "measured", "verdict", "datapath", "load, steal"), rows)


def _budget_row(budget: Budget, one: Mapping[str, Any] | None, result: Mapping[str, Any] | None) -> list[str]:
    limit = "" if budget.limit is None else f"≤ {_number(budget.limit)} {budget.unit}".rstrip()
    if one is None or result is None:
        return [budget.what, limit, "", "unverified" if budget.limit is not None else "", "", ""]
    machine = result["machine"]
    mood = f"{machine['load_at_start'][0]:.1f}, {100 * machine['steal_share']:.1f} %"
    reason = f" ({one['note']})" if one["note"] and one["measured"] is None else ""
    verdict = f"**{one['verdict']}**" if one["verdict"] == "missed" else one["verdict"]
    return [budget.what, limit, _measured(one) + reason, verdict, machine["datapath"] or "-", mood]


def _measured(one: Mapping[str, Any]) -> str:
    measured = one["measured"]
    if measured is None:
        return ""
    interval = "" if measured["low"] is None else f" ({_number(measured['low'])} to {_number(measured['high'])})"
    return f"{_number(measured['value'])}{interval} {one['unit']}".rstrip()


def _number(value: Any) -> str:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return str(value)
    if float(value).is_integer() and abs(value) < 1e6:
        return f"{int(value):,}".replace(",", " ")
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}".replace(",", " ")


def _markdown(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    lines = [f"| {' | '.join(columns)} |", "|" + "---|" * len(columns)]
    return "\n".join([*lines, *(f"| {' | '.join(map(_number, row))} |" for row in rows)])


def _aligned(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[str]:
    cells = [list(columns), *([_number(value) for value in row] for row in rows)]
    widths = [max(len(row[at]) for row in cells) for at in range(len(columns))]
    return ["  ".join(value.rjust(width) for value, width in zip(row, widths, strict=True)) for row in cells]

"""The chain-length experiment's summary on the terminal, 80 columns wide, from summary.json alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from experiments.chain_plan import delay_meaning
from experiments.report import chain_summary

VERDICT_STYLE = {"PASS": "bold green", "DEGRADED": "bold yellow", "INVALID": "bold red"}
Summary = Mapping[str, Any]
Row = Mapping[str, Any]


def print_summary(summary: dict[str, Any], folder: Path, console: Console) -> None:
    """Tables, the paper's numbers beside them, controls, verdict, and what may be concluded."""
    title = f"{summary['experiment']}, profile {summary['profile']}, {summary['datapath']} datapath"
    console.print(f"\n[bold]{title}[/]: p50 of one request in ms, by gateway and direct", highlight=False)
    if summary["plant"]:
        console.print(f"\nPlanted effect: {summary['plant']}", style="bold yellow", highlight=False)
    for _, rows in groupby(summary["rows"], key=setting_of):
        console.print(cells_table(list(rows)))
    console.print(slopes_table(summary))
    if summary["paper"]:
        console.print(paper_table(summary["paper"]))
    say(console, controls_line(summary))
    verdict = summary["verdict"]
    console.print(f"\nVerdict: [{VERDICT_STYLE[verdict]}]{verdict}[/]", highlight=False)
    for line in reason_lines(summary["reasons"]):
        say(console, line)
    say(console, chain_summary.sentence(summary))
    console.print(f"Report: {folder / 'report.html'}", highlight=False, markup=False, soft_wrap=True)


def reason_lines(reasons: Sequence[Row]) -> list[str]:
    """One line for each check that has something to say: its first finding, and how many more there are."""
    by_check: dict[tuple[str, str], list[Row]] = {}
    for reason in reasons:
        by_check.setdefault((reason["verdict"], reason["check"]), []).append(reason)
    lines = []
    for (verdict, _), found in by_check.items():
        scope = f"{found[0]['scope']}: " if found[0]["scope"] else ""
        more = f" (and {len(found) - 1} more of this kind)" if len(found) > 1 else ""
        lines.append(f"  {verdict}: {scope}{found[0]['sentence']}{more}")
    return lines


def say(console: Console, text: str) -> None:
    console.print(text, highlight=False, markup=False)


def setting_of(row: Row) -> tuple[Any, ...]:
    return row["placement"], row["gateway_upstream"], row["delay_ms"]


def new_table(title: str, texts: Sequence[str], numbers: Sequence[str]) -> Table:
    """A table with text columns, then number columns."""
    table = Table(title=f"\n{title}", title_justify="left", title_style="bold", box=None, pad_edge=False)
    for column in texts:
        table.add_column(column, no_wrap=True)
    for column in numbers:
        table.add_column(column, justify="right", no_wrap=True)
    return table


def cells_table(rows: Sequence[Row]) -> Table:
    """One setting, a line for each length."""
    first = rows[0]
    title = f"{first['placement']}, {first['gateway_upstream']} upstream, {delay_meaning(first['delay_ms'])}"
    columns = ("length", "gateway", "direct", "saved", "95 % interval", "saved %", "wire")
    table = new_table(title, (), columns)
    table.add_column("verdict")
    for row in rows:
        table.add_row(
            str(row["length"]), number(row["gateway_p50_ms"]), number(row["direct_p50_ms"]), number(row["saved_ms"]),
            interval(row["ci_low_ms"], row["ci_high_ms"]), number(row["saved_pct"], 1), number(row["model_ms"]),
            f"[{VERDICT_STYLE[row['verdict']]}]{row['verdict']}[/]",
        )  # fmt: skip
    return table


def slopes_table(summary: Summary) -> Table:
    """Saved per removed hop, and what it is made of."""
    parts = {setting_of(row): row for row in summary["parts"]}
    title = "Saved per removed hop, ms, and its parts (gateway, set-up: inferred at delay 0)"
    columns = ("saved", "95 % interval", "R²", "wire", "gateway", "set-up", "rest")
    table = new_table(title, ("setting",), columns)
    for row in sorted(summary["slopes"], key=lambda row: (row["placement"], row["gateway_upstream"] != "pooled",
                                                          row["delay_ms"])):  # fmt: skip
        part = parts.get(setting_of(row), {})
        table.add_row(
            f"{row['placement']} {row['gateway_upstream']} {row['delay_ms']:g}", number(row["saved_ms_per_hop"]),
            interval(row["ci_low_ms"], row["ci_high_ms"]), number(row["r_squared"], 2), number(row["model_ms_per_hop"]),
            *(number(part.get(column)) for column in ("gateway_ms", "setup_ms", "rest_ms")),
        )  # fmt: skip
    return table


def paper_table(rows: Sequence[Row]) -> Table:
    """The paper's numbers beside ours."""
    table = new_table(
        "The paper's numbers beside these (9a, 9b: another application)",
        ("paper", "setting here"),
        ("here", "95 % interval"),
    )
    for row in rows:
        unit = row["unit"]
        table.add_row(
            f"{row['figure']}: {row['paper']}", row["setting_short"], f"{number(row['ours'], 1)} {unit}",
            interval(row["low"], row["high"], 1),
        )  # fmt: skip
    return table


def controls_line(summary: Summary) -> str:
    """How many of each control hold."""
    parts = []
    for kind in ("A/A", "length 1"):
        rows = [row for row in summary["controls"] if row["control"] == kind]
        holding = sum(row["answer"] == "equivalent" for row in rows)
        if rows:
            widest = max(abs(row[bound]) for row in rows for bound in ("ci_low_ms", "ci_high_ms"))
            parts.append(f"{kind} equivalent in {holding} of {len(rows)} (no interval beyond {widest:.2f} ms)")
    return f"\nControls: {'; '.join(parts) or 'none in this run'}. {connections_line(summary)}"


def connections_line(summary: Summary) -> str:
    """What the switches counted, against the oracle and against the calls that functions recorded."""
    seen = summary["calls_seen"]
    if not summary["connections_hold"]:
        return "Connections counted on the switches: NOT as the oracle says."
    if not summary["connections_exact"]:
        return (
            f"Connections counted on the switches: within the oracle's bounds in every cell; of {seen['calls']} calls "
            f"between functions they saw {seen['connections']} connections, because callers keep them."
        )
    return "Connections counted on the switches: equal to the oracle in every cell."


def number(value: float | None, digits: int = 2) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def interval(low: float | None, high: float | None, digits: int = 2) -> str:
    return "-" if low is None or high is None else f"{low:.{digits}f} … {high:.{digits}f}"

"""Writes the results of a chain-length run, and shows its summary on the terminal.

The files are made in a scratch folder and put in place together; the terminal reads summary.json, so it
shows what a later reader will find.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console
from rich.table import Table

from experiments.base import Outcome
from experiments.chain_plan import ChainConfig
from experiments.chain_results import Analysis
from experiments.load.histogram import write_histogram
from experiments.load.plan import Result
from experiments.report import chain_figures, chain_summary, page
from experiments.rundir import RunFolder, write_json
from testbed.measure.calibration import TrunkTimes

VERDICT_STYLE = {"PASS": "bold green", "DEGRADED": "bold yellow", "INVALID": "bold red"}
MAX_REASONS = 6
Summary = Mapping[str, Any]


def write(run: RunFolder, config: ChainConfig, analysis: Analysis) -> Outcome:
    """Write every result of a run into its folder."""
    manifest = run.manifest()
    summary = chain_summary.summary(config, analysis, manifest)
    with run.making_results() as scratch:
        write_histograms(run.raw, scratch / "hdr")
        write_json(scratch / "calibration.json", calibration_json(analysis))
        write_json(scratch / "fidelity.json", fidelity_json(analysis))
        figures = chain_figures.draw_all(summary, scratch / "figures")
        html = page.chain_page(
            summary, config, manifest, [(scratch / "figures" / name, text) for name, text in figures]
        )
        (scratch / "report.html").write_text(html, encoding="utf-8")
        write_summary_csv(scratch / "summary.csv", summary["rows"])
        write_json(scratch / "summary.json", summary)
    return Outcome(run.path, analysis.verdict, first_reason(summary))


def write_histograms(raw: Path, folder: Path) -> None:
    """One .hlog for each arm, with a tagged histogram for each cell; measured requests only."""
    folder.mkdir()
    requests = pd.read_csv(raw / "requests.csv", keep_default_na=False)
    measured = requests[requests["warmup"] == 0]
    fields = list(Result.__dataclass_fields__)
    for arm, rows in measured.groupby("arm"):
        series = {
            str(cell): [Result(**values) for values in group[fields].to_dict("records")]
            for cell, group in rows.groupby("cell", sort=False)
        }
        write_histogram(folder / f"{arm}.hlog", series)


def write_summary_csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def calibration_json(analysis: Analysis) -> dict[str, Any]:
    """Calibration, and the probes before and after each phase, as medians in ms."""
    return {
        "trunks": chain_summary.calibration_rows(analysis),
        "calibration": {f"{delay_ms:g}": times_json(times) for delay_ms, times in analysis.calibration.items()},
        "probes": [
            {"phase": phase, "moment": moment, **times_json(times)}
            for (phase, moment), times in analysis.probes.items()
        ],
    }  # fmt: skip


def times_json(times: TrunkTimes) -> dict[str, Any]:
    return {
        "local_rtt_ms": round(times.local_rtt_ms, 4),
        "rtt_ms": {f"{a}-{b}": round(rtt_ms, 4) for (a, b), rtt_ms in times.rtt_ms.items()},
        "added_ms": {f"{a}-{b}": round(added_ms, 4) for (a, b), added_ms in times.added_ms.items()},
    }


def fidelity_json(analysis: Analysis) -> dict[str, Any]:
    """The verdict, why, and what was checked cell by cell."""
    return {
        "verdict": analysis.verdict.value,
        "findings": chain_summary.reasons(analysis),
        "cells": [
            {
                "cell": result.cell.name,
                "verdict": result.verdict.value,
                **asdict(result.counts),
                "connections": [{**asdict(pair), "exact": pair.exact} for pair in result.connections],
            }
            for result in analysis.cells
        ],
        "cpu": [{"phase": result.phase.name, **asdict(result.cpu)} for result in analysis.phases],
        "spare_cores": analysis.spare_cores,
    }


def first_reason(summary: Summary) -> str:
    """The gravest finding, with how many more there are."""
    reasons = summary["reasons"]
    if not reasons:
        return "every check holds"
    more = f" (and {len(reasons) - 1} more)" if len(reasons) > 1 else ""
    scope = f"{reasons[0]['scope']}: " if reasons[0]["scope"] else ""
    return f"{scope}{reasons[0]['sentence']}{more}"


def present(run: RunFolder, console: Console) -> None:
    """Print the summary of a processed run."""
    summary = json.loads((run.path / "summary.json").read_text())
    console.print(cells_table(summary))
    if slopes := slopes_table(summary):
        console.print(slopes)
    if summary["parts"]:
        console.print(parts_table(summary))
    console.print(controls_line(summary))
    for row in summary["paper"]:
        console.print(paper_line(row), highlight=False)
    verdict = summary["verdict"]
    console.print(f"\nVerdict: [{VERDICT_STYLE[verdict]}]{verdict}[/]", highlight=False)
    for reason in summary["reasons"][:MAX_REASONS]:
        scope = f"{reason['scope']}: " if reason["scope"] else ""
        console.print(f"  {reason['verdict']}: {scope}{reason['sentence']}", highlight=False, markup=False)
    if len(summary["reasons"]) > MAX_REASONS:
        console.print(f"  … and {len(summary['reasons']) - MAX_REASONS} more in {run.path}/fidelity.json", markup=False)
    console.print(chain_summary.sentence(summary), highlight=False, markup=False)
    console.print(f"Report: {run.path / 'report.html'}", highlight=False, markup=False, soft_wrap=True)


def cells_table(summary: Summary) -> Table:
    """One line a cell."""
    title = f"Chains by gateway and direct: p50 of one request, ms ({summary['datapath']} datapath)"
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False)
    for column in ("placement", "upstream", "delay"):
        table.add_column(column)
    for column in ("length", "gateway", "direct", "saved", "95 % interval", "saved %", "wire model"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("verdict")
    for row in summary["rows"]:
        head = (row["placement"], row["gateway_upstream"], f"{row['delay_ms']:g}", str(row["length"]))
        numbers = (
            number(row["gateway_p50_ms"]), number(row["direct_p50_ms"]), number(row["saved_ms"]),
            interval(row["ci_low_ms"], row["ci_high_ms"]), number(row["saved_pct"], 1), number(row["model_ms"]),
        )  # fmt: skip
        table.add_row(*head, *numbers, f"[{VERDICT_STYLE[row['verdict']]}]{row['verdict']}[/]")
    return table


def slopes_table(summary: Summary) -> Table | None:
    """Saved per removed hop, beside the wire model."""
    if all(row["saved_ms_per_hop"] is None for row in summary["slopes"]):
        return None
    table = Table(
        title="\nSaved per removed hop, ms", title_justify="left", title_style="bold", box=None, pad_edge=False
    )
    for column in ("placement", "upstream", "delay"):
        table.add_column(column)
    for column in ("saved", "95 % interval", "wire model", "R²"):
        table.add_column(column, justify="right", no_wrap=True)
    for row in sorted(
        summary["slopes"], key=lambda row: (row["placement"], row["gateway_upstream"] != "pooled", row["delay_ms"])
    ):
        table.add_row(
            row["placement"], row["gateway_upstream"], f"{row['delay_ms']:g}", number(row["saved_ms_per_hop"]),
            interval(row["ci_low_ms"], row["ci_high_ms"]), number(row["model_ms_per_hop"]), number(row["r_squared"], 3),
        )  # fmt: skip
    return table


def parts_table(summary: Summary) -> Table:
    """Where the saving comes from."""
    table = Table(
        title="\nWhat a removed hop's saving is made of, ms (gateway and set-up inferred from delay 0)",
        title_justify="left", title_style="bold", box=None, pad_edge=False,
    )  # fmt: skip
    for column in ("placement", "upstream", "delay"):
        table.add_column(column)
    for column in ("saved", "wire", "gateway", "set-up", "rest"):
        table.add_column(column, justify="right")
    for row in sorted(
        summary["parts"], key=lambda row: (row["placement"], row["gateway_upstream"] != "pooled", row["delay_ms"])
    ):
        table.add_row(
            row["placement"], row["gateway_upstream"], f"{row['delay_ms']:g}",
            *(number(row[column]) for column in ("saved_ms_per_hop", "wire_ms", "gateway_ms", "setup_ms", "rest_ms")),
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
    exact = "equal to the oracle in every cell" if summary["connections_exact"] else "NOT equal to the oracle"
    return f"\nControls: {'; '.join(parts) or 'none in this run'}. Connections counted on the switches: {exact}."


def paper_line(row: Mapping[str, Any]) -> str:
    """The paper's number beside ours."""
    ours = f"{number(row['ours'], 1)} {row['unit']} [{number(row['low'], 1)}, {number(row['high'], 1)}]"
    other = "" if row["same_application"] else " (another application: for orientation)"
    return f"Paper, {row['what']}: {row['paper']}; here ({row['setting']}): {ours}{other}".replace("[", "\\[")


def number(value: float | None, digits: int = 2) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def interval(low: float | None, high: float | None) -> str:
    return "-" if low is None or high is None else f"{low:.2f} … {high:.2f}"

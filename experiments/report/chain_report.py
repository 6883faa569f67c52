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

from experiments.base import Outcome
from experiments.chain_plan import ChainConfig
from experiments.chain_results import Analysis
from experiments.load.histogram import write_histogram
from experiments.load.plan import Result
from experiments.report import chain_figures, chain_summary, page, terminal
from experiments.rundir import RunFolder, write_json
from testbed.measure.calibration import TrunkTimes

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
        "calibration": {
            f"{placement} {delay_ms:g}": times_json(times)
            for (placement, delay_ms), times in analysis.calibration.items()
        },
        "probes": [
            {"phase": phase, "moment": moment, **times_json(times)}
            for (phase, moment), times in analysis.probes.items()
        ],
    }  # fmt: skip


def times_json(times: TrunkTimes) -> dict[str, Any]:
    return {
        "local_rtt_ms": round(times.local_rtt_ms, 4),
        "rtt_ms": {f"{a}-{b}": round(rtt_ms, 4) for (a, b), rtt_ms in times.rtt_ms.items()},
        "fast_rtt_ms": {f"{a}-{b}": round(fast_ms, 4) for (a, b), fast_ms in times.fast_ms.items()},
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
                "connections": [
                    {**asdict(pair), "exact": pair.exact, "holds": pair.holds} for pair in result.connections
                ],
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
    terminal.print_summary(json.loads((run.path / "summary.json").read_text()), run.path, console)

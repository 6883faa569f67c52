"""report.html: one file with everything in it, that opens offline and reads well on a phone."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2

from experiments.analysis.breakdown import INFERENCE
from experiments.chain_plan import ChainConfig, delay_meaning

FOLDER = Path(__file__).parent


def chain_page(
    summary: Mapping[str, Any],
    config: ChainConfig,
    manifest: Mapping[str, Any],
    figures: Sequence[tuple[Path, str]],
) -> str:
    """The report of a chain-length run. `figures`: path without suffix, and what it shows."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(FOLDER), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True
    )
    environment.filters["number"] = number
    environment.filters["meaning"] = delay_meaning
    return environment.get_template("chain_length.html.jinja").render(
        summary=summary,
        config=config,
        manifest=manifest,
        figures=[{"uri": data_uri(path.with_name(path.name + ".svg")), "text": text} for path, text in figures],
        inference=INFERENCE,
    )


def number(value: float | None, digits: int = 2) -> str:
    """A number as the report prints it; a dash where there is none."""
    return "-" if value is None else f"{value:.{digits}f}"


def data_uri(image: Path) -> str:
    """An SVG image as a data: address."""
    return "data:image/svg+xml;base64," + base64.b64encode(image.read_bytes()).decode()

"""One look for all figures: colours that colour-blind readers tell apart, few lines, room for numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")

from matplotlib.figure import Figure

GATEWAY_COLOUR = "#c8501e"
DIRECT_COLOUR = "#0b6fb0"
MODEL_COLOUR = "#555555"
PART_COLOURS = {"wire": "#8fb8d8", "gateway processing": "#e39a6f", "connection set-up": "#b9a3cf", "rest": "#c9c9c9"}
GOOD_COLOUR, WARN_COLOUR, BAD_COLOUR = "#2e7d4f", "#b57900", "#b3261e"

SETTINGS: Any = {
    "font.family": "DejaVu Sans",
    "font.size": 9.5,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#999999",
    "axes.labelcolor": "#333333",
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.8,
    "xtick.color": "#555555",
    "ytick.color": "#555555",
    "legend.frameon": False,
    "lines.linewidth": 1.8,
    "lines.markersize": 5,
    "figure.dpi": 110,
    "savefig.dpi": 160,
    "savefig.facecolor": "white",
    "svg.hashsalt": "testbed",
}


def save(figure: Figure, folder: Path, name: str) -> None:
    """Write a figure as PNG and SVG."""
    for suffix in ("png", "svg"):
        metadata = {"Date": None} if suffix == "svg" else None  # the same data give the same file
        figure.savefig(folder / f"{name}.{suffix}", bbox_inches="tight", metadata=metadata)

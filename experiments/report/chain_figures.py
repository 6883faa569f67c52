"""Figures of the chain-length experiment, drawn from summary.json alone. INVALID cells are not drawn."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np

from experiments.report import style
from experiments.report.style import DIRECT_COLOUR, GATEWAY_COLOUR, MODEL_COLOUR, PART_COLOURS

from matplotlib.axes import Axes  # isort: skip  (after style has chosen a backend that needs no display)
from matplotlib.figure import Figure  # isort: skip
from matplotlib.lines import Line2D  # isort: skip

Rows = Sequence[Mapping[str, Any]]
PAPER_FIGURES = {0.0: "figure-9c", 0.25: "figure-9d-round-trip", 0.5: "figure-9d"}


def draw_all(summary: Mapping[str, Any], folder: Path) -> list[tuple[str, str]]:
    """Draw every figure into `folder`; (name, what it shows) of each, in reading order."""
    folder.mkdir(exist_ok=True)
    drawn: list[tuple[str, str]] = []
    with mpl.rc_context(style.SETTINGS):
        for delay_ms in sorted({row["delay_ms"] for row in summary["rows"]}):
            name = f"{PAPER_FIGURES.get(delay_ms, 'lengths')}-delay-{delay_ms:g}ms"
            rows = [row for row in summary["rows"] if row["delay_ms"] == delay_ms]
            style.save(times_by_length(rows), folder, name)
            drawn.append((name, f"Time of a request by chain length, {rows[0]['delay_meaning']}"))
        style.save(saved_by_hops(summary), folder, "saved-per-hop")
        drawn.append(("saved-per-hop", "Saved per request over removed hops, with the wire model (dashed)"))
        if summary["parts"]:
            style.save(parts_of_saving(summary["parts"]), folder, "where-it-comes-from")
            drawn.append(("where-it-comes-from", "What the saving of one removed hop is made of"))
        if summary["controls"]:
            style.save(controls(summary["controls"]), folder, "controls")
            drawn.append(("controls", "Controls: paths that are the same must be equivalent within the grey margin"))
    return drawn


def panels(rows: Rows) -> tuple[Figure, list[tuple[Axes, str, str]]]:
    """A figure with a panel for each placement (down) and gateway upstream (across)."""
    placements = list(dict.fromkeys(row["placement"] for row in rows))
    upstreams = sorted({row["gateway_upstream"] for row in rows}, key=lambda upstream: upstream != "pooled")
    figure = Figure(figsize=(0.6 + 3.9 * len(upstreams), 0.7 + 2.7 * len(placements)), layout="constrained")
    axes = figure.subplots(len(placements), len(upstreams), squeeze=False, sharey=True)
    return figure, [
        (axes[down][across], placement, upstream)
        for down, placement in enumerate(placements)
        for across, upstream in enumerate(upstreams)
    ]


def in_panel(rows: Rows, placement: str, upstream: str) -> list[Mapping[str, Any]]:
    return [row for row in rows if row["placement"] == placement and row["gateway_upstream"] == upstream]


def times_by_length(rows: Rows) -> Figure:
    """Figures 9c and 9d: p50 of both routes by chain length."""
    figure, found = panels(rows)
    for axes, placement, upstream in found:
        here = in_panel(rows, placement, upstream)
        valid = [row for row in here if row["saved_ms"] is not None]
        axes.set_title(f"{placement}, {upstream} upstream")
        axes.set_xlabel("functions in the chain")
        axes.set_ylabel("p50 of a request, ms")
        axes.set_xticks([row["length"] for row in here])
        if not valid:
            not_drawn(axes)
            continue
        lengths = [row["length"] for row in valid]
        for column, colour, marker in (("gateway_p50_ms", GATEWAY_COLOUR, "o"), ("direct_p50_ms", DIRECT_COLOUR, "s")):
            axes.plot(lengths, [row[column] for row in valid], color=colour, marker=marker)
        mark_saving(axes, valid[-1])
        axes.margins(x=0.12)
    slowest_ms = max(row[column] or 0.1 for row in rows for column in ("gateway_p50_ms", "direct_p50_ms"))
    found[0][0].set_ylim(0, 1.08 * slowest_ms)
    figure.legend(
        handles=[
            Line2D([], [], color=GATEWAY_COLOUR, marker="o", label="by gateway"),
            Line2D([], [], color=DIRECT_COLOUR, marker="s", label="direct"),
        ],
        loc="outside upper left",
        ncols=2,
    )
    return figure


def mark_saving(axes: Axes, row: Mapping[str, Any]) -> None:
    """An arrow from the gateway's time to the direct one, with the saving and its interval."""
    axes.annotate(
        "", (row["length"], row["direct_p50_ms"]), (row["length"], row["gateway_p50_ms"]),
        arrowprops={"arrowstyle": "->", "color": "#777777", "lw": 1, "shrinkA": 5, "shrinkB": 5},
    )  # fmt: skip
    middle = (row["direct_p50_ms"] + row["gateway_p50_ms"]) / 2
    text = f"{row['saved_ms']:.1f} ms saved\n[{row['ci_low_ms']:.1f}, {row['ci_high_ms']:.1f}]"
    axes.annotate(
        text, (row["length"], middle), xytext=(-8, 0), textcoords="offset points", ha="right", va="center",
        fontsize=8, color="#333333", bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 1.5},
    )  # fmt: skip


def saved_by_hops(summary: Mapping[str, Any]) -> Figure:
    """Measured savings with intervals, and the wire model's line, for each delay."""
    rows = summary["rows"]
    delays = sorted({row["delay_ms"] for row in rows})
    colours = dict(zip(delays, colour_ramp(len(delays)), strict=True))
    figure, found = panels(rows)
    for axes, placement, upstream in found:
        axes.set_title(f"{placement}, {upstream} upstream")
        axes.set_xlabel("hops removed")
        axes.set_ylabel("saved per request, ms")
        axes.axhline(0, color="#999999", linewidth=0.8)
        for delay_ms in delays:
            here = [row for row in in_panel(rows, placement, upstream) if row["delay_ms"] == delay_ms]
            draw_saving(axes, here, colours[delay_ms], slope_text(summary["slopes"], placement, upstream, delay_ms))
        axes.set_xticks(sorted({row["removed_hops"] for row in rows}))
        axes.legend(loc="upper left", fontsize=8)
    return figure


def draw_saving(axes: Axes, rows: Rows, colour: str, label: str) -> None:
    """One delay: points with intervals, and the model dashed."""
    axes.plot(
        [row["removed_hops"] for row in rows], [row["model_ms"] for row in rows],
        color=colour, linestyle=(0, (4, 3)), linewidth=1.1,
    )  # fmt: skip
    valid = [row for row in rows if row["saved_ms"] is not None]
    saved = np.array([row["saved_ms"] for row in valid])
    reach = np.array([[row["saved_ms"] - row["ci_low_ms"], row["ci_high_ms"] - row["saved_ms"]] for row in valid])
    if valid:
        axes.errorbar(
            [row["removed_hops"] for row in valid], saved, yerr=np.abs(reach).T,
            color=colour, marker="o", markersize=4.5, capsize=3, linestyle="none", label=label,
        )  # fmt: skip
    else:
        axes.plot([], [], color=colour, marker="x", linestyle="none", label=f"{label} (INVALID: not drawn)")


def slope_text(slopes: Rows, placement: str, upstream: str, delay_ms: float) -> str:
    """The legend of one delay: its saving per hop."""
    for row in in_panel(slopes, placement, upstream):
        if row["delay_ms"] == delay_ms and row["saved_ms_per_hop"] is not None:
            return (
                f"{delay_ms:g} ms one way: {row['saved_ms_per_hop']:.2f} ms a hop (wire {row['model_ms_per_hop']:.2f})"
            )
    return f"{delay_ms:g} ms one way"


def parts_of_saving(parts: Rows) -> Figure:
    """Stacked bars: wire, gateway processing, connection set-up, rest; the diamond is the measured saving."""
    figure = Figure(figsize=(7.8, 1.1 + 0.42 * len(parts)), layout="constrained")
    axes = figure.subplots()
    ordered = sorted(
        parts, key=lambda part: (part["placement"], part["gateway_upstream"] != "pooled", part["delay_ms"])
    )
    names = [f"{part['placement']}, {part['gateway_upstream']}, {part['delay_ms']:g} ms" for part in ordered]
    columns = {
        "wire": "wire_ms",
        "gateway processing": "gateway_ms",
        "connection set-up": "setup_ms",
        "rest": "rest_ms",
    }
    positions = np.arange(len(ordered))
    right, left = np.zeros(len(ordered)), np.zeros(len(ordered))
    for name, column in columns.items():
        widths = np.array([part[column] or 0.0 for part in ordered])
        begins = np.where(widths >= 0, right, left)
        axes.barh(positions, widths, left=begins, height=0.62, color=PART_COLOURS[name], label=name)
        right, left = right + np.maximum(widths, 0), left + np.minimum(widths, 0)
    measured = [part["saved_ms_per_hop"] for part in ordered]
    axes.plot(measured, positions, "D", color="#222222", markersize=5, label="measured")
    axes.set_yticks(positions, names)
    axes.invert_yaxis()
    axes.grid(axis="x")
    axes.grid(visible=False, axis="y")
    axes.axvline(0, color="#999999", linewidth=0.8)
    axes.set_xlabel("ms saved per removed hop")
    figure.legend(loc="outside upper left", ncols=5, fontsize=8.5)
    return figure


def controls(rows: Rows) -> Figure:
    """Each control's difference with its interval over its margin."""
    figure = Figure(figsize=(7.8, 0.9 + 0.3 * len(rows)), layout="constrained")
    axes = figure.subplots()
    ordered = sorted(rows, key=lambda row: (row["control"], row["cell"]))
    answers = {"equivalent": style.GOOD_COLOUR, "undecided": style.WARN_COLOUR, "different": style.BAD_COLOUR}
    for position, row in enumerate(ordered):
        axes.barh(position, 2 * row["margin_ms"], left=-row["margin_ms"], height=0.62, color="#ececec")
        axes.plot([row["ci_low_ms"], row["ci_high_ms"]], [position] * 2, color=answers[row["answer"]])
        axes.plot(row["difference_ms"], position, "o", color=answers[row["answer"]])
    axes.set_yticks(range(len(ordered)), [control_name(row) for row in ordered])
    widest_ms = max(max(row["margin_ms"], abs(row["ci_low_ms"]), abs(row["ci_high_ms"])) for row in ordered)
    axes.set_xlim(-1.08 * widest_ms, 1.08 * widest_ms)
    axes.invert_yaxis()
    axes.grid(axis="x")
    axes.grid(visible=False, axis="y")
    axes.axvline(0, color=MODEL_COLOUR, linewidth=0.8)
    axes.set_xlabel("difference of two equal paths, ms (interval; margin in grey)")
    return figure


def control_name(row: Mapping[str, Any]) -> str:
    """A control's cell; the control named after its length does not say the length twice."""
    return f"{row['control']}: {row['cell']}" if row["control"] == "A/A" else row["cell"]


def not_drawn(axes: Axes) -> None:
    axes.text(0.5, 0.5, "INVALID: not drawn", transform=axes.transAxes, ha="center", color=style.BAD_COLOUR)


def colour_ramp(count: int) -> list[str]:
    """Colours from light to dark, for delays from short to long."""
    ramp: Callable[[float], Any] = mpl.colormaps["viridis_r"]
    return [mpl.colors.to_hex(ramp(0.25 + 0.6 * index / max(1, count - 1))) for index in range(count)]

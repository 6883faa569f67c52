"""`experiment`: run one experiment from start to printed summary."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from experiments import base
from testbed.commands.common import datapath_option
from testbed.model.errors import UsageError

DEFAULT_EXPERIMENT = "chain-length"


def numbers(kind: type[int] | type[float], what: str) -> Any:
    """A click callback that reads "1,2,5" or "1-8" (whole numbers) into a tuple."""

    def parse(_context: click.Context, _parameter: click.Parameter, text: str | None) -> tuple[int | float, ...] | None:
        if text is None:
            return None
        try:
            return tuple(value for part in text.split(",") for value in expanded(part, kind))
        except ValueError:
            raise UsageError(f"{what} {text!r} is not a list of numbers; write for example 1,2,3 or 1-8") from None

    return parse


def expanded(part: str, kind: type[int] | type[float]) -> list[int | float]:
    """The numbers of one part of a list: "4" or, of whole numbers, "1-8"."""
    if kind is int and "-" in part:
        first, last = part.split("-")
        return list(range(int(first), int(last) + 1))
    return [kind(part)]


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("experiment", metavar="[NAME]", default=DEFAULT_EXPERIMENT)
@click.option("--profile", type=click.Choice([profile.value for profile in base.Profile]), default="smoke",
              show_default=True, help="How much to do.")  # fmt: skip
@datapath_option
@click.option(
    "--delay", "delays_ms", callback=numbers(float, "--delay"), help="One-way trunk delays in ms, e.g. 0,0.5."
)
@click.option("--lengths", callback=numbers(int, "--lengths"), help="Chain lengths, e.g. 1,2,6 or 1-8.")
@click.option("--placement", "placements", multiple=True, type=click.Choice(["node2", "spread"]), help="Repeatable.")
@click.option(
    "--gateway-upstream", "upstreams", multiple=True, type=click.Choice(["pooled", "per-call"]), help="Repeatable."
)
@click.option("--connection", type=click.Choice(["per-call", "keepalive"]),
              help="Of functions' calls, on both routes: new ones (per-call, the default) or kept ones.")  # fmt: skip
@click.option("--repetitions", type=click.IntRange(1), help="Pairs of requests in each cell.")
@click.option("--seed", type=int, default=1, show_default=True, help="Decides every random order.")
@click.option("--plant", help="Build a known effect in, to see it found: extra-1ms-direct, wrong-delay, cpu-hog.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("runs"), show_default=True,
              help="Folder that run directories are made in.")  # fmt: skip
@click.option("--name", "lab_name", default="experiment", show_default=True, help="Name of the lab it starts.")
def command(experiment: str, profile: str, seed: int, out: Path, **choices: Any) -> None:
    """Run an experiment in a lab of its own and print what may be concluded.

    Without a NAME it is a short form of chain-length: what direct calls save on function chains.

    \b
    Examples:
      sudo testbed experiment
      sudo testbed experiment chain-length --profile paper --seed 7
      sudo testbed experiment --lengths 1-4 --delay 0,1 --gateway-upstream per-call
      sudo testbed experiment --connection keepalive
      testbed --lab-kernel experiment            kernel datapath and netem, no root needed
    """
    choices = {name: value or None for name, value in choices.items()}
    options = base.Options(profile=base.Profile(profile), seed=seed, **choices)
    base.run(experiment, options, out, sys.argv, Console())

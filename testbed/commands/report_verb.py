"""`report`: a run's tables, figures and report, made again from its raw data."""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import Console

from experiments import base


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("run", type=click.Path(path_type=Path))
def command(run: Path) -> None:
    """Make the results of RUN, a run directory, again. Nothing is measured; no root is needed.

    \b
    Example:
      testbed report runs/20261123T160000Z-chain-length-1a2b3c
    """
    base.report(run, Console())

"""`clean`: remove what dead labs have left, and caches when asked."""

from __future__ import annotations

import shutil

import click

from testbed.model.checkout import CHECKOUT
from testbed.network.lab import running_labs, sweep


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--caches", is_flag=True, help="Remove built caches (.cache, build) too; `make setup` makes them again.")
def command(caches: bool) -> None:
    """Clear the state of labs whose runner is gone. Running labs are left alone.

    \b
    Example:
      sudo testbed clean
    """
    sweep()
    if caches:
        for folder in (CHECKOUT / ".cache", CHECKOUT / "build"):
            shutil.rmtree(folder, ignore_errors=True)
    running = ", ".join(running_labs())
    click.echo("clean" + (f"; still running: {running}" if running else ""))

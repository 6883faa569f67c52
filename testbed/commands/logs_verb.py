"""`logs`: what a function's instances wrote."""

from __future__ import annotations

import time
from pathlib import Path

import click

from testbed.commands.common import lab_option
from testbed.errors import UsageError
from testbed.network.lab import Lab

POLL_S = 0.2


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("function", metavar="FN[.NS]")
@click.option("--tail", "-t", type=click.IntRange(0), default=20, show_default=True, help="Lines of each instance.")
@click.option("--follow", "-f", is_flag=True, help="Go on printing until Ctrl-C.")
@lab_option
def command(function: str, tail: int, follow: bool, lab_name: str) -> None:
    """Print the last lines of a function's instances. A component's name (gateway, controller, …) works too.

    \b
    Examples:
      sudo testbed logs chain-1.tenant-a --follow
      sudo testbed logs controller
    """
    lab = Lab.attach(lab_name)
    files = log_files(lab.state_folder, function)
    if not files:
        raise UsageError(f"nothing named {function!r} has logged in lab {lab.name!r}; `testbed status` lists functions")
    for path in files:
        for line in path.read_text(errors="replace").splitlines()[-tail:]:
            click.echo(f"{path.stem}  {line}")
    offsets = {path: path.stat().st_size for path in files}
    while follow:
        time.sleep(POLL_S)
        for path in files:
            with path.open("rb") as log:
                log.seek(offsets[path])
                for line in log.read().decode(errors="replace").splitlines():
                    click.echo(f"{path.stem}  {line}")
                offsets[path] = log.tell()


def log_files(state_folder: Path, function: str) -> list[Path]:
    """Log files of a function's instances, or of a component."""
    component = state_folder / "logs" / f"{function}.out"
    if component.exists():
        return [component]
    name, _, namespace = function.partition(".")
    return sorted((state_folder / "functions").glob(f"{name}.{namespace or 'openfaas-fn'}.*.log"))

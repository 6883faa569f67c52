"""What several verbs share: the lab they speak to, and how they print."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

from testbed.model.cluster import DEFAULT_NAMESPACE
from testbed.network.lab import DEFAULT_NAME, Lab
from testbed.platform.client import lab_http
from testbed.platform.client.platform import Platform

lab_option = click.option("--name", "lab_name", default=DEFAULT_NAME, show_default=True, help="Name of the lab.")
token_option = click.option(
    "--token-file", type=click.Path(path_type=Path), envvar="TESTBED_TOKEN_FILE",
    help="Ask as the namespace whose token this file holds (`testbed namespace token`), not as the operator.",
)  # fmt: skip
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON for scripts.")
namespace_option = click.option(
    "--namespace", "-n", default=DEFAULT_NAMESPACE, show_default=True, help="Namespace, that is: the tenant."
)
datapath_option = click.option(
    "--datapath", type=click.Choice(["kernel", "userspace"]), help="OVS datapath; by default what this machine has."
)


MOST_COLUMNS = 10_000
"""The widest table in a file or pipe."""


def platform_of(lab: Lab, token_file: Path | None = None) -> Platform:
    """The lab's control plane. The calling process is in the lab's network from here on.

    It is asked with the credential in `token_file`, or else as the operator.
    """
    lab.enter()
    credential = None if token_file is None else lab_http.read(token_file)
    return Platform(lab, note=lambda sentence: click.echo(sentence, err=True), credential=credential)


def print_json(value: Any) -> None:
    click.echo(json.dumps(value, indent=2))


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """A table on the terminal; numbers stand to the right. In a file or pipe each row stays one line, for grep."""
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False)
    for index, column in enumerate(columns):
        numeric = bool(rows) and all(isinstance(row[index], int | float) for row in rows)
        table.add_column(column, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*[str(cell) for cell in row])
    console = Console(soft_wrap=False)
    if not console.is_terminal:
        as_wide_as_it_likes = console.options.update(max_width=MOST_COLUMNS)
        console.width = max(console.width, Measurement.get(console, as_wide_as_it_likes, table).maximum)
    console.print(table)

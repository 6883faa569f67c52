"""`flows`: the flow tables as they are on the switches, beside what each row is for."""

from __future__ import annotations

from typing import Any

import click

from testbed.commands.common import json_option, lab_option, platform_of, print_json
from testbed.commands.link_verb import node_number
from testbed.network.lab import Lab


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("node", required=False)
@click.option("--explain", is_flag=True, help="Say of each row what it is for.")
@json_option
@lab_option
def command(node: str | None, explain: bool, as_json: bool, lab_name: str) -> None:
    """Show flow rows with their counters, of one node or of all.

    \b
    Examples:
      sudo testbed flows node2 --explain
      sudo testbed flows --json
    """
    lab = Lab.attach(lab_name)
    nodes = [node_number(node)] if node else lab.client.status()["nodes"]
    platform = platform_of(lab)
    tables = {f"node{number}": platform.flows(number) for number in nodes}
    if as_json:
        print_json(tables)
        return
    for name, rows in tables.items():
        click.echo(click.style(f"{name}: {len(rows)} rows", bold=True))
        for row in rows:
            print_row(row, explain)


def print_row(row: dict[str, Any], explain: bool) -> None:
    head = f"  {row['table']:<16} {row['priority']:>4}  {row['packets']:>8}  {row['match']} -> {row['actions']}"
    click.echo(head)
    if explain:
        click.echo(click.style(f"      {row['sentence']}", dim=True))

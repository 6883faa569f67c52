"""`flows`: the flow tables as they are on the switches, beside what each row is for."""

from __future__ import annotations

import itertools
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
    for name, found in tables.items():
        print_node(name, found, explain)


def print_node(name: str, found: dict[str, Any], explain: bool) -> None:
    """A node's rows, table by table, then its groups."""
    rows = found["rows"]
    click.secho(
        f"{name}: {len(rows)} rows, {len(found['groups'])} groups (packets, priority, match -> actions)", bold=True
    )
    for (number, table), members in itertools.groupby(rows, key=lambda row: (row["table"], row["table_name"])):
        click.secho(f"  {number} {table}", fg="cyan")
        for row in members:
            click.echo(
                f"  {row['packets']:>9} {row['priority']:>4}  {row['match'] or '(everything)'} -> {row['actions']}"
            )
            if explain:
                click.secho(f"{'':17}{row['sentence']}", dim=True)
    for group in found["groups"]:
        click.echo(f"  group {group['id']} ({group['object']}): {group['text']}")

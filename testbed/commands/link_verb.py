"""`link`: show and change the trunks between nodes while they carry traffic."""

from __future__ import annotations

import click

from testbed.commands.common import json_option, lab_option, print_json, print_table
from testbed.model.errors import UsageError
from testbed.network.lab import Lab


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def command() -> None:
    """Show and change trunks.

    \b
    Examples:
      sudo testbed link show
      sudo testbed link set node1 node2 --delay 0.5
    """


@command.command()
@lab_option
@json_option
def show(lab_name: str, as_json: bool) -> None:
    """Every trunk, with the settings read back from both of its ends."""
    links = Lab.attach(lab_name).client.links()
    if as_json:
        print_json(links)
        return
    rows = [
        [f"node{link['a']} - node{link['b']}", *(link[name] for name in SETTINGS), readback(link["readback"])]
        for link in links
    ]
    print_table("trunks (each direction)", ["trunk", *SETTINGS, "read back"], rows)


SETTINGS = ("delay_ms", "jitter_ms", "loss_pct", "rate_mbit")


def readback(directions: list[dict[str, float]]) -> str:
    """Whether both directions say the same."""
    return "both alike" if directions[0] == directions[1] else f"differs: {directions}"


@command.command("set")
@click.argument("a")
@click.argument("b")
@click.option("--delay", "delay_ms", type=float, help="One-way delay in ms.")
@click.option("--jitter", "jitter_ms", type=float, help="Jitter in ms.")
@click.option("--loss", "loss_pct", type=float, help="Loss in percent.")
@click.option("--rate", "rate_mbit", type=float, help="Rate in Mbit/s; 0 means unlimited.")
@lab_option
def set_(a: str, b: str, lab_name: str, **settings: float | None) -> None:
    """Change the trunk between nodes A and B, both directions alike."""
    changes = {name: value for name, value in settings.items() if value is not None}
    if not changes:
        raise UsageError("nothing to change: give --delay, --jitter, --loss or --rate")
    Lab.attach(lab_name).client.set_link(node_number(a), node_number(b), **changes)
    click.echo(f"trunk {a} - {b}: " + ", ".join(f"{name} {value:g}" for name, value in changes.items()))


def node_number(name: str) -> int:
    """2 for "node2", "s2" or "2"."""
    digits = name.removeprefix("node").removeprefix("s")
    if not digits.isdigit():
        raise UsageError(f"{name!r} is not a node; write node1, node2, …")
    return int(digits)

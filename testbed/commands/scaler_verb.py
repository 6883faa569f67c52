"""`scaler`: what the scaler decided and why, and by which settings."""

from __future__ import annotations

import json
import time
from typing import Any

import click

from testbed.commands.common import json_option, lab_option, platform_of, print_json
from testbed.network.lab import Lab
from testbed.platform.client import lookup

POLL_S = 0.5


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("function", metavar="[FN[.NS]]", default="")
@click.option("--follow", "-f", is_flag=True, help="Go on printing until Ctrl-C.")
@click.option("--changes", is_flag=True, help="Only decisions that change the number of instances.")
@click.option("--settings", is_flag=True, help="Print the function's settings (or the preset's) instead.")
@click.option("--dry-run", type=click.Choice(["on", "off"]), help="Decide and log, but change nothing; or again do.")
@json_option
@lab_option
def command(
    function: str, follow: bool, changes: bool, settings: bool, dry_run: str | None, as_json: bool, lab_name: str
) -> None:
    """Show the scaler's decisions, all functions' or one's. With --json each has its inputs, one a line.

    \b
    Examples:
      sudo testbed scaler --follow --changes
      sudo testbed scaler chain-2.tenant-a --json
      sudo testbed scaler chain-2.tenant-a --settings
      sudo testbed scaler --dry-run on
    """
    platform = platform_of(Lab.attach(lab_name))
    name = lookup.full_name(function) if function else ""
    if dry_run:
        platform.ask_scaler("PUT", "/dry-run", json={"dry_run": dry_run == "on"})
        click.echo(f"dry run is {dry_run}")
        return
    if settings:
        if name:
            lookup.function_named(platform.state(), name)
        print_json(platform.ask_scaler("GET", "/settings", params={"function": name} if name else {}).json())
        return
    since, first = 0, True
    while True:
        found = platform.ask_scaler("GET", "/decisions", params={"since": since, "function": name}).text.splitlines()
        if first and name and not found:  # one that has gone may still have decisions to show
            lookup.function_named(platform.state(), name)
            click.echo(f"the scaler has not decided anything about {name} yet", err=True)
        first = False
        for decision in map(json.loads, found):
            since = decision["number"]
            if not changes or decision["desired"] != decision["current"]:
                click.echo(json.dumps(decision) if as_json else sentence(decision))
        if not follow:
            return
        time.sleep(POLL_S)


def sentence(decision: dict[str, Any]) -> str:
    """One decision on one line: when, what, from how many to how many, why."""
    change = decision["desired"] != decision["current"]
    numbers = f"{decision['current']} -> {decision['desired']}" if change else f"{decision['current']}"
    done = "" if decision["applied"] or not change else " (dry run)" if decision["dry_run"] else " (not done)"
    reason = "; ".join(filter(None, (decision["reason"], decision["error"])))
    time_of_day = decision["time"][11:23]
    return f"{time_of_day}  {decision['function']}  {decision['by']:<10} {numbers}{done}  {reason}"

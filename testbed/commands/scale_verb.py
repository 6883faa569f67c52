"""`scale`: set how many instances a function has."""

from __future__ import annotations

import click

from testbed.commands.common import lab_option, platform_of
from testbed.network.lab import Lab


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("function", metavar="FN[.NS]")
@click.argument("replicas", type=click.IntRange(0, 100))
@lab_option
def command(function: str, replicas: int, lab_name: str) -> None:
    """Set the number of instances; returns when they are ready or gone.

    \b
    Example:
      sudo testbed scale chain-2.tenant-a 3
    """
    name, _, namespace = function.partition(".")
    platform = platform_of(Lab.attach(lab_name))
    platform.scale(name, namespace or "openfaas-fn", replicas)
    platform.wait_ready()
    click.echo(f"{function} has {replicas} instances")

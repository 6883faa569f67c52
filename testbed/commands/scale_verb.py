"""`scale`: set how many instances a function has."""

from __future__ import annotations

import click

from testbed.commands.common import lab_option, platform_of
from testbed.network.lab import Lab
from testbed.platform.client import lookup


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
    platform = platform_of(Lab.attach(lab_name))
    name, _, namespace = lookup.function_named(platform.state(), function).partition(".")
    platform.scale(name, namespace, replicas)
    platform.wait_ready(namespace=namespace)  # what others' functions do is not waited for
    click.echo(f"{function} has {replicas} instances")

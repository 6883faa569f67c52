"""`remove`: take a namespace, or one function of it, away."""

from __future__ import annotations

import click

from testbed.commands.common import lab_option, platform_of
from testbed.model.errors import UsageError
from testbed.network.lab import Lab
from testbed.platform.client import lookup


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("functions", nargs=-1, metavar="[FN.NS]...")
@click.option("--namespace", "-n", help="Remove everything in this namespace.")
@lab_option
def command(functions: tuple[str, ...], namespace: str | None, lab_name: str) -> None:
    """Remove functions, or a whole namespace. Running requests are let finish.

    \b
    Examples:
      sudo testbed remove --namespace tenant-a
      sudo testbed remove chain-3.tenant-a
    """
    if bool(functions) == bool(namespace):
        raise UsageError("name functions to remove, or one --namespace; not both and not neither")
    platform = platform_of(Lab.attach(lab_name))
    state = platform.state()
    if namespace:
        platform.remove(lookup.namespace_named(state, namespace))
        click.echo(f"namespace {namespace} is removed")
    for name in [lookup.function_named(state, function) for function in functions]:  # all or none
        function, _, where = name.partition(".")
        platform.remove_function(function, where)
        click.echo(f"{name} is being removed")

"""`remove`: take a namespace, or one function of it, away."""

from __future__ import annotations

import click

from testbed.commands.common import lab_option, platform_of
from testbed.errors import UsageError
from testbed.network.lab import Lab


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("names", nargs=-1, metavar="[FN.NS]...")
@click.option("--namespace", "-n", help="Remove everything in this namespace.")
@lab_option
def command(names: tuple[str, ...], namespace: str | None, lab_name: str) -> None:
    """Remove functions, or a whole namespace. Running requests are let finish.

    \b
    Examples:
      sudo testbed remove --namespace tenant-a
      sudo testbed remove chain-3.tenant-a
    """
    if bool(names) == bool(namespace):
        raise UsageError("name functions to remove, or one --namespace; not both and not neither")
    platform = platform_of(Lab.attach(lab_name))
    if namespace:
        platform.remove(namespace)
        click.echo(f"namespace {namespace} is removed")
    for name in names:
        function, _, where = name.partition(".")
        platform.remove_function(function, where or "openfaas-fn")
        click.echo(f"{name} is being removed")

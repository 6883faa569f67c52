"""`deploy`: build the images of a stack.yaml and deploy its functions into a namespace."""

from __future__ import annotations

import os
from pathlib import Path

import click

from testbed.commands.common import lab_option, namespace_option, platform_of
from testbed.model.cluster import Route
from testbed.model.stack.stack_file import load, select
from testbed.network.lab import Lab


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("stack_file", metavar="STACK", type=click.Path(path_type=Path))
@namespace_option
@click.option("--route", type=click.Choice([route.value for route in Route]), default="gateway", show_default=True,
              help="How calls between its functions travel.")  # fmt: skip
@click.option(
    "--placement", type=click.Choice(["node2", "spread", "pack"]), help="Where instances run, for all functions."
)
@click.option("--token", help="Callers by the gateway must present this as their Bearer token; functions read it.")
@click.option("--regex", help="Deploy only the functions whose name matches, as faas-cli's.")
@lab_option
def command(
    stack_file: Path,
    namespace: str,
    route: str,
    placement: str | None,
    token: str | None,
    regex: str | None,
    lab_name: str,
) -> None:
    """Deploy the application of STACK: a stack.yaml, or a folder that holds one.

    \b
    Examples:
      sudo testbed deploy functions/chain/stack.yaml --namespace tenant-a --route direct
      sudo testbed deploy functions/chain/stack.yaml --regex '^chain-[1-3]$'   a chain of length 3
      sudo testbed deploy functions/chain/stack.yaml -n tenant-a --token s3cret
      sudo PAYLOAD_BYTES=4096 testbed deploy functions/chain/stack.yaml
    """
    application = load(stack_file, os.environ)
    left_out: tuple[str, ...] = ()
    if regex:
        application, left_out = select(application, regex)
    lab = Lab.attach(lab_name)
    platform = platform_of(lab)
    platform.deploy(application, namespace, Route(route), placement, token=token)
    click.echo(f"{len(application.functions)} functions of {application.name} are ready in {namespace} ({route} route)")
    if left_out:
        click.echo(f"left out, with the calls to them: {', '.join(left_out)}")

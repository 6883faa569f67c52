"""`namespace`: the tenants of a lab."""

from __future__ import annotations

import click

from testbed.commands.common import json_option, lab_option, platform_of, print_json, print_table
from testbed.model.annotations import GATEWAY_TOKEN, ROUTE_ANNOTATION
from testbed.model.cluster import Route
from testbed.network.lab import Lab


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def command() -> None:
    """List, make and remove namespaces; hand out their credentials.

    \b
    Examples:
      sudo testbed namespace list
      sudo testbed namespace create tenant-a --route direct
      sudo testbed namespace token tenant-a
      sudo testbed namespace remove tenant-a
    """


@command.command("list")
@lab_option
@json_option
def list_namespaces(lab_name: str, as_json: bool) -> None:
    """Every namespace with its route, how many functions it holds, and whether the gateway asks for a token.

    \b
    Example:
      sudo testbed namespace list --json
    """
    platform = platform_of(Lab.attach(lab_name))
    functions = [function.namespace for function in platform.state().functions.values()]
    found = [
        {
            "name": name,
            "route": platform.provider.namespace(name)["annotations"][ROUTE_ANNOTATION],
            "functions": functions.count(name),
            "token": GATEWAY_TOKEN in platform.provider.secrets(name),
        }
        for name in platform.provider.namespaces()
    ]
    if as_json:
        print_json(found)
        return
    rows = [[one["name"], one["route"], one["functions"], "yes" if one["token"] else "no"] for one in found]
    print_table("namespaces", ["name", "route", "functions", "token"], rows)


@command.command()
@click.argument("namespace", metavar="NAME")
@click.option("--route", type=click.Choice([route.value for route in Route]), default="gateway", show_default=True,
              help="How calls between its functions travel.")  # fmt: skip
@lab_option
def create(namespace: str, route: str, lab_name: str) -> None:
    """Make a namespace, or change the route of one that holds no function.

    \b
    Example:
      sudo testbed namespace create tenant-a --route direct
    """
    platform_of(Lab.attach(lab_name)).provider.set_route(namespace, route)
    click.echo(f"namespace {namespace} is there ({route} route)")


@command.command()
@click.argument("namespace", metavar="NAME")
@lab_option
def token(namespace: str, lab_name: str) -> None:
    """Print the credential with which NAME's tenant orders for itself: its own policies, its own state.

    It holds until the namespace is removed. Whoever has it needs no other right on the lab's servers, and gets none.

    \b
    Examples:
      sudo testbed namespace token tenant-a > tenant-a.token
      sudo testbed policy list --token-file tenant-a.token
    """
    click.echo(platform_of(Lab.attach(lab_name)).provider.credential(namespace))


@command.command()
@click.argument("namespace", metavar="NAME")
@lab_option
def remove(namespace: str, lab_name: str) -> None:
    """Remove a namespace with its functions and secrets; returns when their instances are gone.

    \b
    Example:
      sudo testbed namespace remove tenant-a
    """
    platform_of(Lab.attach(lab_name)).remove(namespace)
    click.echo(f"namespace {namespace} is removed")

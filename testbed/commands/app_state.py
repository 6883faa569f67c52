"""`app seed` and `app reset`: what an application's database holds, made the same in each of its namespaces."""

from __future__ import annotations

import click

from testbed.commands.common import lab_option, platform_of
from testbed.network.lab import Lab
from testbed.platform.client import applications, seeding

namespaces_option = click.option(
    "--namespace", "-n", "namespaces", multiple=True, help="Only there; repeatable. By default wherever it is deployed."
)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("name", metavar="APP")
@click.option(
    "--photographers", type=click.IntRange(1, 100_000),
    help="hello_retail: how many photos can be requested before nobody is free.  [default: 100]",
)  # fmt: skip
@namespaces_option
@lab_option
def seed(name: str, photographers: int | None, namespaces: tuple[str, ...], lab_name: str) -> None:
    """Fill an application's database for repeated requests; what was in it goes.

    Every namespace gets the same content, whatever its route.

    \b
    Examples:
      sudo testbed app seed hello_retail --photographers 200
      sudo testbed app seed hello_retail --namespace tenant-a
    """
    application = applications.load(name)
    script = seeding.seed_script(name, {} if photographers is None else {"photographers": photographers})
    lab = Lab.attach(lab_name)
    found = seeding.owners(application, platform_of(lab).state(), namespaces)
    for namespace in found:
        seeding.seed(lab.state_folder, namespace, script)
    click.echo(f"{name} is seeded in {', '.join(found)}")


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("name", metavar="APP")
@namespaces_option
@lab_option
def reset(name: str, namespaces: tuple[str, ...], lab_name: str) -> None:
    """Make an application's database as it was right after its first deployment.

    \b
    Example:
      sudo testbed app reset hello_retail
    """
    application = applications.load(name)
    lab = Lab.attach(lab_name)
    found = seeding.owners(application, platform_of(lab).state(), namespaces)
    for namespace in found:
        seeding.reset(lab.state_folder, namespace)
    click.echo(f"the database of {name} is as at first in {', '.join(found)}")

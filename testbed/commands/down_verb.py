"""`down`: end a running lab."""

import click

from testbed.commands.common import lab_option
from testbed.network.lab import Lab


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@lab_option
def command(lab_name: str) -> None:
    """End a lab; nothing of it remains.

    \b
    Example:
      sudo testbed down
    """
    Lab.attach(lab_name).stop()
    click.echo(f"lab {lab_name!r} is down")

"""`shell`: Mininet's own command line on a running lab."""

from __future__ import annotations

import click

from testbed.commands.common import lab_option
from testbed.network.lab import Lab


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@lab_option
def command(lab_name: str) -> None:
    """Open Mininet's command line: `nodes`, `net`, `dump`, `client ping -c1 10.96.0.12`, `py …`, `exit`.

    \b
    Example:
      sudo testbed shell
    """
    lab = Lab.attach(lab_name)
    from testbed.network.attach import open_shell

    open_shell(lab)

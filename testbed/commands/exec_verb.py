"""`exec`: run a command in the network of a host or a node."""

from __future__ import annotations

import os

import click

from testbed.commands.common import lab_option
from testbed.network.lab import Lab


@click.command(context_settings={"help_option_names": ["-h", "--help"], "ignore_unknown_options": True})
@lab_option
@click.argument("host")
@click.argument("argv", nargs=-1, required=True, type=click.UNPROCESSED, metavar="CMD...")
def command(lab_name: str, host: str, argv: tuple[str, ...]) -> None:
    """Run CMD in HOST: client, gateway, probe2, an instance such as chain-1.tenant-a.1, node2, or root.

    \b
    Examples:
      sudo testbed exec client curl -s http://10.96.0.1:8080/function/chain-1.tenant-a
      sudo testbed exec node2 ovs-ofctl -O OpenFlow13 dump-flows s2
    """
    lab = Lab.attach(lab_name)
    prefix: list[str] = []
    if host.startswith(("node", "s")) and host.removeprefix("node").removeprefix("s").isdigit():
        number = host.removeprefix("node").removeprefix("s")
        prefix = ["env", f"OVS_RUNDIR={lab.state_folder}/ovs/s{number}"]
    line = lab.command(host, [*prefix, *argv])
    os.execvp(line[0], line)

"""`capture`: record packets at a switch port."""

from __future__ import annotations

import os
import re
from pathlib import Path

import click

from testbed.commands.common import lab_option
from testbed.model import addressing
from testbed.model.errors import UsageError
from testbed.network.lab import Lab


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("port")
@click.option("-w", "--write", type=click.Path(path_type=Path), help="Write a pcap file instead of printing.")
@click.option("-c", "--count", type=click.IntRange(1), help="Stop after this many packets.")
@click.argument("filter_expression", nargs=-1, metavar="[FILTER]...")
@lab_option
def command(
    port: str, write: Path | None, count: int | None, filter_expression: tuple[str, ...], lab_name: str
) -> None:
    """Record packets at PORT: a host's name (its switch port), a port such as n2p1, or a trunk end such as t12.

    \b
    Examples:
      sudo testbed capture client -c 20
      sudo testbed capture t12 -w trunk.pcap tcp port 8080
    """
    lab = Lab.attach(lab_name)
    node, interface = port_of(lab, port)
    arguments = ["tcpdump", "-n", "-i", interface, *(["-c", str(count)] if count else [])]
    # -Z: without it tcpdump gives root up and may then not write into the user's folder.
    arguments += ["-Z", "root", "-U", "-w", str(write.absolute())] if write else ["-l"]
    line = lab.command(f"node{node}", [*arguments, *filter_expression])
    os.execvp(line[0], line)


def port_of(lab: Lab, port: str) -> tuple[int, str]:
    """The node and the interface that PORT names."""
    hosts = lab.client.hosts()
    if port in hosts:
        return hosts[port]["node"], addressing.port_name(hosts[port]["eip"])
    match = re.fullmatch(r"n(\d+)p\d+|t(\d)\d", port)
    if not match:
        raise UsageError(f"{port!r} is no host, port or trunk end of lab {lab.name!r}; `testbed status` lists hosts")
    return int(match[1] or match[2]), port

"""`up`: start a lab and keep it until interrupted, or leave it running in the background."""

from __future__ import annotations

import os
import subprocess
import sys

import click

from testbed.commands.common import datapath_option, lab_option
from testbed.model.errors import LabError
from testbed.model.scaling.settings import PRESETS
from testbed.network.lab import Lab, check_machine
from testbed.platform.client.bringup import start_lab

DEFAULT_PORT = 8080


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@lab_option
@datapath_option
@click.option("--delay", "delay_ms", type=float, default=0.0, help="One-way delay of every trunk in ms.  [default: 0]")
@click.option("--nodes", type=click.IntRange(2, 9), default=3, show_default=True, help="Cluster nodes.")
@click.option(
    "--port", type=int, default=DEFAULT_PORT, show_default=True, help="Loopback port for the gateway (0: any)."
)
@click.option("--gateway-upstream", type=click.Choice(["pooled", "per-call"]), default="pooled", show_default=True,
              help="How the gateway connects to functions.")  # fmt: skip
@click.option("--scaler", type=click.Choice(["on", "dry-run", "off"]), default="on", show_default=True,
              help="Whether instances are scaled; dry-run only says what would be done.")  # fmt: skip
@click.option("--scaler-preset", type=click.Choice(sorted(PRESETS)), default="lab", show_default=True,
              help="The scaler's defaults: short periods, or KEDA's own.")  # fmt: skip
@click.option("--detach", "-d", is_flag=True, help="Leave the lab running and return.")
@click.option("--ready-fd", type=int, hidden=True)
def command(
    lab_name: str, datapath: str | None, delay_ms: float, nodes: int, port: int, gateway_upstream: str,
    scaler: str, scaler_preset: str, detach: bool, ready_fd: int | None,
) -> None:  # fmt: skip
    """Start a lab: three nodes, trunks, controller, apiserver and gateway.

    \b
    Examples:
      sudo testbed up                      stays until Ctrl-C
      sudo testbed up --detach --delay 0.5
    """
    if detach:
        check_machine()
        start_detached()
        return
    with start_lab(
        name=lab_name, datapath=datapath, gateway_port=port, nodes=nodes, delay_ms=delay_ms,
        gateway_environment={"gateway_upstream": gateway_upstream}, scaler=scaler, scaler_preset=scaler_preset,
    ) as lab:  # fmt: skip
        click.echo(introduction(lab))
        if ready_fd is None:
            click.echo("Ctrl-C ends it.")
        else:
            leave_terminal(ready_fd)
        lab.wait()
    raise LabError(f"lab {lab_name!r} ended by itself; its log is gone with it, so start it again without --detach")


def introduction(lab: Lab) -> str:
    """What a user needs to know of a lab that has just started."""
    user, password = lab.credentials
    return (
        f"lab {lab.name!r} is up: {lab.datapath} datapath, gateway at {lab.gateway_url} "
        f"(user {user}, password {password})"
    )


def start_detached() -> None:
    """Run this same command line without --detach in a session of its own; return when the lab stands."""
    arguments = [argument for argument in sys.argv[1:] if argument not in ("--detach", "-d")]
    read_end, write_end = os.pipe()
    child = subprocess.Popen(
        [sys.executable, "-m", "testbed.run", *arguments, "--ready-fd", str(write_end)],
        stdin=subprocess.DEVNULL,
        pass_fds=[write_end],
        start_new_session=True,
    )
    os.close(write_end)
    ready = os.read(read_end, 16)
    os.close(read_end)
    if not ready:
        sys.exit(child.wait())


def leave_terminal(ready_fd: int) -> None:
    """Tell the waiting command that the lab stands, and let go of its terminal."""
    sys.stdout.flush()
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    os.write(ready_fd, b"ready\n")
    os.close(ready_fd)

"""`trace`: which rows decide about a packet between two workloads."""

from __future__ import annotations

import click

from testbed.commands.common import json_option, lab_option, platform_of, print_json
from testbed.model.errors import LabError
from testbed.network.lab import Lab
from testbed.network.switching import appctl
from testbed.observe import tracing

DENIED = 1


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("source", metavar="SRC")
@click.argument("target", metavar="DST")
@click.option("--port", type=click.IntRange(1, 65535), help="TCP port that is called; by default DST's own.")
@click.option("--eip", "to_eip", is_flag=True, help="Call DST's endpoint IP, past its vIP.")
@click.option("--source-ip", default="", help="Lie: another source IP than SRC's own.")
@click.option("--source-mac", default="", help="Lie: another source MAC than SRC's own.")
@json_option
@lab_option
def command(
    source: str,
    target: str,
    port: int | None,
    to_eip: bool,
    source_ip: str,
    source_mac: str,
    as_json: bool,
    lab_name: str,
) -> int:
    """Say, table by table, what would become of the first packet of a connection from SRC to DST.

    SRC and DST are a function with its namespace (chain-1.tenant-a), one of its instances
    (chain-1.tenant-a.1), gateway, client or probe2; DST may be an address too. Nothing is sent. Exit code 0:
    the packet arrives, or is held for an instance to come; 1: it is dropped.

    \b
    Examples:
      sudo testbed trace chain-1.tenant-a chain-2.tenant-a
      sudo testbed trace chain-1.tenant-a chain-2.tenant-b --eip
      sudo testbed trace photo-assign.shop mariadb.shop
      sudo testbed trace client gateway --json
    """
    lab = Lab.attach(lab_name)
    platform = platform_of(lab)
    state = platform.state()
    sender = tracing.speaker(state, source)
    address = tracing.destination(state, target, to_eip)
    packet = tracing.first_packet(sender, address, port or tracing.port(state, target), source_ip, source_mac)
    trace = tracing.follow(sender, target, packet, lambda node, flow: ask_switch(lab, node, flow), platform.flows)
    if as_json:
        print_json(trace.to_json())
    else:
        show(trace, packet)
    return 0 if trace.admitted else DENIED


def show(trace: tracing.Trace, packet: tracing.Packet) -> None:
    """The tables, node by node, then the verdict."""
    click.secho(f"{trace.source} at {packet.in_port} → {packet.destination_ip}:{packet.port}", bold=True)
    node = None
    for step in trace.steps:
        if step.node != node:
            node = step.node
            click.secho(f"  node{node}", fg="cyan")
        click.echo(f"  {step.table:>3} {step.name:<15} {step.sentence}")
    click.secho(trace.verdict, fg="green" if trace.admitted else "red", bold=True)


def ask_switch(lab: Lab, node: int, flow: str) -> str:
    """What ofproto/trace prints for a first packet. LabError where the switch does not answer."""
    bridge = f"s{node}"
    process = lab.client.status()["components"].get(bridge, {}).get("pid")
    # Not by the pidfile: it holds a number of the lab's own PID namespace, and OVS removes what looks stale.
    socket = lab.state_folder / "ovs" / bridge / f"ovs-vswitchd.{process}.ctl"
    try:
        return appctl.ask(socket, "ofproto/trace", bridge, flow, *tracing.NEW_CONNECTION)
    except LabError as error:
        raise LabError(f"node{node}'s switch does not trace: {error}; is it running? (testbed status)") from error

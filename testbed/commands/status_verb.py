"""`status`: a running lab's components, hosts and functions."""

from __future__ import annotations

import shlex
from typing import Any

import click

from testbed.commands.common import json_option, lab_option, platform_of, print_json, print_table
from testbed.model.cluster import ClusterState, Phase
from testbed.network.lab import Lab, running_labs


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@lab_option
@json_option
def command(lab_name: str, as_json: bool) -> None:
    """Show a lab: what runs, what is deployed, where.

    \b
    Examples:
      sudo testbed status
      sudo testbed status --json
    """
    lab = Lab.attach(lab_name)
    status = {**lab.client.status(), "gateway_url": lab.gateway_url}
    state = platform_of(lab).state()
    if as_json:
        print_json({**status, "state": state.to_json()})
        return
    click.echo(
        f"lab {lab.name!r}: {lab.datapath} datapath, up {status['uptime_s']:.0f} s, gateway at {lab.gateway_url}; "
        f"labs on this machine: {', '.join(running_labs())}"
    )
    if status["gateway_command"]:
        click.echo(f"gateway program: {shlex.join(status['gateway_command'])}")
    rows = [[name, part["pid"] or "down", part["restarts"]] for name, part in status["components"].items()]
    print_table("components", ["name", "pid", "restarts"], rows)
    spare = ", ".join(f"{count} on node{node}" for node, count in status["prepared"].items())
    click.echo(f"sandboxes prepared: {spare or 'none yet'}")
    print_table("functions", ["function", "route", "ready", "wanted", "vIP", "nodes"], function_rows(state))
    if stores := store_rows(state):
        print_table("stores", ["store", "ready", "vIP and port", "node", "owners"], stores)


def function_rows(state: ClusterState) -> list[list[Any]]:
    """One row a function: name, route, ready and wanted instances, vIP, nodes."""
    rows = []
    for name, function in sorted(state.without_stores().functions.items()):
        instances = [instance for instance in state.instances.values() if instance.function_name == name]
        ready = [instance for instance in instances if instance.phase is Phase.READY]
        nodes = ", ".join(sorted({f"node{instance.node}" for instance in instances}))
        rows.append([name, state.route(function.namespace).value, len(ready), function.replicas, function.vip, nodes])
    return rows


def store_rows(state: ClusterState) -> list[list[Any]]:
    """One row a store: name, ready instances, where it is called, node, the functions that own it."""
    rows = []
    for name, store in sorted(state.functions.items()):
        if not store.store:
            continue
        instances = [instance for instance in state.instances.values() if instance.function_name == name]
        ready = sum(instance.phase is Phase.READY for instance in instances)
        nodes = ", ".join(f"node{instance.node}" for instance in instances)
        rows.append([name, ready, f"{store.vip}:{store.port}", nodes, ", ".join(state.owners(store))])
    return rows

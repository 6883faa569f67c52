"""`app`: the applications under functions/, as they stand there and as a lab runs them."""

from __future__ import annotations

from typing import Any

import click

from testbed.commands.app_common import cluster_of
from testbed.commands.app_matrix import matrix_
from testbed.commands.app_show import show
from testbed.commands.app_state import reset, seed
from testbed.commands.common import json_option, lab_option, print_json, print_table
from testbed.model.application import Application
from testbed.model.cluster import ClusterState
from testbed.platform.client import applications


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def command() -> None:
    """List the applications under functions/, look at one, fill its database.

    \b
    Examples:
      testbed app list
      testbed app show chain --svg chain.svg
      sudo testbed app matrix chain --namespace tenant-a
      sudo testbed app seed hello_retail --photographers 200
    """


command.add_command(show)
command.add_command(matrix_)
command.add_command(seed)
command.add_command(reset)


@command.command("list", context_settings={"help_option_names": ["-h", "--help"]})
@json_option
@lab_option
def list_(as_json: bool, lab_name: str) -> None:
    """Every application: how many functions and calls it has, and which namespaces of the lab hold it.

    \b
    Examples:
      testbed app list
      sudo testbed app list --name lab --json
    """
    platform = cluster_of(lab_name)
    state = platform.state() if platform else None
    found = [summary(applications.load(name), state) for name in applications.names()]
    if as_json:
        print_json(found)
        return
    columns = ["application", "functions", "ingress", "calls", "stores", "deployed in"]
    rows = [[*list(one.values())[:-1], _where(one["deployed_in"])] for one in found]
    print_table("applications" if state else f"applications (no lab {lab_name!r} to look into)", columns, rows)


def summary(application: Application, state: ClusterState | None) -> dict[str, Any]:
    """One application for `list`: counts, and {namespace: route} of where it runs."""
    where = applications.namespaces_with(application, state) if state else []
    return {
        "name": application.name,
        "functions": len(application.functions),
        "ingress": sum(spec.ingress for spec in application.functions),
        "calls": len(application.calls()),
        "stores": len(application.stores()),
        "deployed_in": {namespace: state.route(namespace).value for namespace in where} if state else {},
    }


def _where(deployed_in: dict[str, str]) -> str:
    return ", ".join(f"{namespace} ({route})" for namespace, route in deployed_in.items())

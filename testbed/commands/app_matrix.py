"""`app matrix`: tries which functions of an application reach each other, with real packets."""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable

import click

from testbed.commands.app_common import application_argument
from testbed.commands.common import json_option, lab_option, platform_of, print_json
from testbed.model.application import Application
from testbed.model.cluster import ClusterState
from testbed.model.errors import UsageError
from testbed.network.hosts.attempts import Sockets, try_requests, try_syns
from testbed.network.hosts.frames import in_host
from testbed.network.lab import Lab
from testbed.observe import matrix
from testbed.platform.client import applications

DIFFERS = 1
WAIT_S = 0.9
SECOND_WAIT_S = 4.0
GATEWAY_WAIT_S = 10.0
DELAYS = 6
"""One-way delays that a connection and a short request by way of a third node need at most."""


@click.command("matrix", context_settings={"help_option_names": ["-h", "--help"]})
@application_argument
@click.option("--namespace", "-n", help="Only this namespace's deployment; by default every one that holds NAME.")
@click.option("--csv", "as_csv", is_flag=True, help="Print one line a pair, as CSV.")
@json_option
@lab_option
def matrix_(application: str, namespace: str | None, as_csv: bool, as_json: bool, lab_name: str) -> int:
    """Try every ordered pair of application NAME's functions, and its stores, with real packets.

    From inside each instance a TCP SYN goes to every other function's vIP, past it to an instance's eIP, and to
    the gateway; the switches count those that pass as calls. On the gateway route each function also asks the
    gateway for each other one (/_/health: no handler runs, though the gateway counts an invocation). Every
    function needs a ready instance. Exit code 0: exactly the calls of stack.yaml's call graph pass; 1: something
    differs, as it always does on the gateway route, where the call graph binds nobody.

    \b
    Examples:
      sudo testbed app matrix chain --namespace tenant-a
      sudo testbed app matrix chain --csv > matrix.csv
    """
    found = applications.load(application)
    lab = Lab.attach(lab_name)
    state = platform_of(lab).state()
    matrices = [try_matrix(lab, found, state, one) for one in _namespaces(found, state, namespace)]
    if as_json:
        print_json([
            {"application": one.application, "namespace": one.namespace, "route": one.route.value,
             "agrees": not one.differences(), "differences": one.differences(), "reaches_gateway": dict(one.gateway),
             "pairs": one.rows()}
            for one in matrices
        ])  # fmt: skip
    elif as_csv:
        rows = [row for one in matrices for row in one.rows()]
        writer = csv.DictWriter(sys.stdout, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    else:
        for one in matrices:
            _show(one)
    return DIFFERS if any(one.differences() for one in matrices) else 0


def try_matrix(lab: Lab, application: Application, state: ClusterState, namespace: str) -> matrix.Matrix:
    """The matrix of one namespace; takes a few seconds, because what is out of reach has to be waited for."""
    plan = matrix.Plan(application, state, namespace)
    delay_s = DELAYS * max((link["delay_ms"] for link in lab.client.links()), default=0.0) / 1000

    def run_in(host: str, opens: Callable[[], Sockets]) -> Sockets:
        return in_host(lab.client, host, opens)

    outcomes = try_syns(run_in, plan.attempts(), WAIT_S + delay_s)
    outcomes |= try_syns(run_in, matrix.second_tries(plan.expected(), outcomes), SECOND_WAIT_S + delay_s)
    outcomes |= try_requests(run_in, plan.by_gateway(), GATEWAY_WAIT_S + delay_s)
    return plan.judge(outcomes)


def _namespaces(application: Application, state: ClusterState, namespace: str | None) -> list[str]:
    held = applications.namespaces_with(application, state)
    if not held:
        raise UsageError(f"no namespace of the lab holds {application.name}; deploy it first")
    if namespace is not None and namespace not in held:
        raise UsageError(f"namespace {namespace} does not hold {application.name}; it is in {', '.join(held)}")
    return [namespace] if namespace else held


def _show(found: matrix.Matrix) -> None:
    click.secho(f"{found.application} in {found.namespace}, {found.route.value} route: who reaches whom", bold=True)
    for line in matrix.lines(found):
        click.echo(line)
    click.secho(matrix.KEY, dim=True)
    differences = found.differences()
    click.secho(found.verdict(), fg="red" if differences else "green", bold=True)
    for sentence in differences[1:]:
        click.echo(f"  {sentence}")
    click.echo()

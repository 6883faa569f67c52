"""`app show`: an application's call graph, drawn with what a lab knows of it."""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import Console

from testbed.commands.app_common import application_argument, cluster_of
from testbed.commands.common import json_option, lab_option, print_json
from testbed.model.application import Application
from testbed.model.errors import PlatformError, UsageError
from testbed.observe import callgraph
from testbed.observe.callgraph import CallGraph
from testbed.observe.drawing import svg, tree
from testbed.platform.client import applications
from testbed.platform.client.platform import Platform
from testbed.platform.client.tenant import count_invocations

WIDE = 240


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@application_argument
@click.option("--namespace", "-n", help="Only this namespace's deployment; by default every one that holds NAME.")
@click.option("--svg", "svg_file", metavar="FILE", type=click.Path(path_type=Path, dir_okay=False),
              help="Write the drawing to FILE instead.")  # fmt: skip
@json_option
@lab_option
def show(application: str, namespace: str | None, svg_file: Path | None, as_json: bool, lab_name: str) -> None:
    """Draw the call graph of application NAME: functions, stores, calls.

    For each namespace of the lab that holds it: replicas, vIPs, the connections of each call as the switches
    counted them, and each function's invocations as the gateway counted them. Where no lab runs it, what its
    stack.yaml declares.

    \b
    Examples:
      testbed app show chain
      sudo testbed app show chain --namespace tenant-a --svg chain.svg
      sudo testbed app show chain --json
    """
    found = applications.load(application)
    graphs = graphs_of(found, cluster_of(lab_name), namespace)
    if as_json:
        print_json([graph.to_json() for graph in graphs])
    if svg_file:
        _write(svg_file, svg.draw(graphs))
    if as_json or svg_file:
        return
    console = Console(width=WIDE)  # the terminal folds what is too long; rich would cut it
    for graph in graphs:
        console.print(tree.tree(graph))
        console.print()
    console.print(tree.KEY, style="dim")


def graphs_of(application: Application, platform: Platform | None, namespace: str | None) -> list[CallGraph]:
    """The graph of each namespace that holds the application, or the declared one; UsageError for a wrong namespace."""
    state = platform.state() if platform else None
    held = applications.namespaces_with(application, state) if state else []
    if namespace is not None and namespace not in held:
        raise UsageError(
            f"namespace {namespace} does not hold {application.name}; "
            + (f"it is in {', '.join(held)}" if held else "deploy it there first, or leave --namespace out")
        )
    if platform is None or state is None or not held:
        return [callgraph.declared(application)]
    try:
        counted = platform.counters(exact=True)["calls"]
    except PlatformError:
        counted = None  # without a controller the rest is still worth seeing
    metrics = platform.gateway_metrics()
    invocations = None if metrics is None else {name: count_invocations(metrics, name) for name in state.functions}
    return [
        callgraph.deployed(application, state, one, counted, invocations)
        for one in ([namespace] if namespace else held)
    ]  # fmt: skip


def _write(file: Path, text: str) -> None:
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{file} cannot be written ({error.strerror}); name another file") from None
    click.echo(f"drawn in {file}", err=True)

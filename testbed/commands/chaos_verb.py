"""`chaos`: give a running lab a fault, see what fails meanwhile and how long it takes to recover."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import click

from testbed.chaos import faults
from testbed.chaos.injection import Chaos, Report, Settings
from testbed.chaos.load import PROBE_PAUSE_S, Outcome, Requests
from testbed.commands.common import json_option, lab_option, platform_of, print_json, print_table
from testbed.network.lab import Lab
from testbed.platform.client import lookup

LIST = "list"


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("fault")
@click.argument("target", required=False)
@click.option("--for", "lasts_s", type=click.FloatRange(0, 3600), metavar="SECONDS", help="How long it lasts.")
@click.option("--probe", metavar="FN[.NS]", help="Call this function all the while and count what fails.")
@click.option("--loss", "loss_pct", type=click.FloatRange(0, 100), default=5.0, show_default=True, help="For lossy.")
@click.option(
    "--rate", type=click.FloatRange(1, 20000), default=500.0, show_default=True, help="For flood, per second."
)
@click.option("--clients", type=click.IntRange(1, 512), default=64, show_default=True, help="For overload.")
@lab_option
@json_option
def command(
    fault: str, target: str | None, lasts_s: float | None, probe: str | None, lab_name: str, as_json: bool,
    **settings: Any,
) -> None:  # fmt: skip
    """Do FAULT to TARGET on a running lab, undo it, and report. `chaos list` explains each fault.

    \b
    Examples:
      sudo testbed chaos list
      sudo testbed chaos kill controller --probe chain-1.tenant-a
      sudo testbed chaos down node1-node2 --for 5 --probe chain-1.tenant-a
      sudo testbed chaos flood chain-1.tenant-a --rate 2000
    """
    if fault == LIST:
        explain(as_json)
        return
    chosen = faults.named(fault)
    lab = Lab.attach(lab_name)
    platform = platform_of(lab)
    chaos = Chaos(lab, platform)
    components = lab.client.status()["components"]
    aim = faults.resolve(chosen, target, components, chaos.trunks(), platform.state())
    called = lookup.function_named(platform.state(), probe) if probe else None
    duration_s = lasts_s if lasts_s is not None else chosen.lasts_s or 0.0
    if not as_json:
        click.echo(f"{chosen.name} {aim.name}: {chosen.does}")
        click.echo(f"must hold: {faults.must_hold(chosen, aim)}")
    load = Requests(lab.client, called, pause_s=PROBE_PAUSE_S) if called else None
    with load or nullcontext():
        report = chaos.run(chosen, aim, duration_s, Settings(**settings))
    tell(report, load.outcome if load else None, aim.name, as_json)


def tell(report: Report, probe: Outcome | None, target: str, as_json: bool) -> None:
    """Print what was seen."""
    if as_json:
        seen = {"target": target, "recovered_s": round(report.recovered_s, 3), **report.noted, "drops": report.drops}
        print_json({**seen, "probe": probe.to_json() if probe else None})
        return
    click.echo(f"{target} was well again {report.recovered_s:.2f} s after the fault")
    for name, value in report.noted.items():
        click.echo(f"{name}: {value}")
    if report.drops:
        click.echo("dropped: " + ", ".join(f"{count} {reason}" for reason, count in sorted(report.drops.items())))
    if probe:
        failed = ", ".join(f"{count} {reason}" for reason, count in probe.failures.most_common()) or "none"
        click.echo(
            f"probe: {probe.answered} answered, failed: {failed}; longest time without an answer "
            f"{probe.longest_gap_s * 1000:.0f} ms"
        )


def explain(as_json: bool) -> None:
    """Every fault, and what must hold."""
    if as_json:
        print_json({fault.name: {"targets": fault.targets, "does": fault.does, "lasts_s": fault.lasts_s}
                    for fault in faults.FAULTS.values()})  # fmt: skip
        return
    rows = [
        [fault.name, " or ".join(fault.targets), f"{fault.lasts_s:g} s" if fault.lasts_s else "at once", fault.does]
        for fault in faults.FAULTS.values()
    ]
    print_table("faults", ["fault", "target", "lasts", "what it does"], rows)
    print_table("what must hold", ["when it strikes", "must hold"], faults.expectations())

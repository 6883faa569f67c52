"""`coldstarts`: where the time of the last cold starts went."""

from __future__ import annotations

import click

from testbed.commands.common import json_option, lab_option, platform_of, print_json, print_table
from testbed.network.lab import Lab
from testbed.observe import coldstarts
from testbed.observe.coldstarts import PHASES, ColdStart
from testbed.platform.client import lookup


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("function", required=False, metavar="[FN[.NS]]")
@click.option("--tail", "-t", type=click.IntRange(1), default=20, show_default=True, help="How many starts to list.")
@lab_option
@json_option
def command(function: str | None, tail: int, lab_name: str, as_json: bool) -> None:
    """Show the last starts of instances, phase by phase in ms, and the medians.

    \b
    Examples:
      sudo testbed coldstarts
      sudo testbed coldstarts chain-1.tenant-a --json
    """
    lab = Lab.attach(lab_name)
    platform = platform_of(lab)
    starts = coldstarts.cold_starts(platform.cold_starts(), platform.latencies())
    if function:
        starts = [one for one in starts if one.function == lookup.full_name(function)]
        if not starts:  # one that has gone may still have starts to show
            lookup.function_named(platform.state(), function)
    medians = coldstarts.medians_ms(starts)
    if as_json:
        print_json(
            {"starts": [{**vars(one), "total_ms": one.total_ms} for one in starts[-tail:]], "medians_ms": medians}
        )
        return
    rows = [_row(one) for one in starts[-tail:]]
    if starts:
        rows.append([f"median of {len(starts)}", "", *(_ms(medians.get(name)) for name in (*PHASES, "total"))])
    print_table("cold starts, ms", ["instance", "node", *PHASES, "total"], rows)


def _row(one: ColdStart) -> list[str]:
    phases = [_ms(one.phases_ms.get(name)) for name in PHASES]
    return [one.instance, f"node{one.node}", *phases, _ms(one.total_ms)]


def _ms(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"

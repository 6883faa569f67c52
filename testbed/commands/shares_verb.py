"""`shares`: how a function's invocations were shared among its instances."""

from __future__ import annotations

import time
from dataclasses import asdict

import click

from testbed.commands.common import json_option, lab_option, platform_of, print_json, print_table
from testbed.model.errors import UsageError
from testbed.network.lab import Lab
from testbed.observe.shares import shares
from testbed.platform.client import lookup


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("function", metavar="FN[.NS]")
@click.option("--last", "last_s", type=click.FloatRange(0), help="Only invocations of the last so many seconds.")
@json_option
@lab_option
def command(function: str, last_s: float | None, as_json: bool, lab_name: str) -> None:
    """Count each instance's invocations, from the records of the function servers.

    A caller that keeps its connections stays with the instances it has: compare CONNECTION=per-call and keepalive.

    \b
    Example:
      sudo testbed shares chain-2.tenant-a --last 60
    """
    lab = Lab.attach(lab_name)
    name = lookup.full_name(function)
    since_ns = 0 if last_s is None else time.monotonic_ns() - int(last_s * 1e9)
    found = shares(lab.state_folder / "functions", name, since_ns)
    if not found:
        lookup.function_named(platform_of(lab).state(), name)
        when = f" in the last {last_s:g} s" if last_s else ""
        raise UsageError(f"no instance of {name} has served anything{when}; invoke it first")
    if as_json:
        print_json([asdict(share) for share in found])
        return
    total = sum(share.invocations for share in found)
    rows = [[s.instance, s.invocations, round(100 * s.invocations / total, 1), round(s.served_s, 1)] for s in found]
    print_table(f"{total} invocations of {name}", ["instance", "invocations", "%", "first to last, s"], rows)

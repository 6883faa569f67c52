"""`list`: the experiments and the applications there are."""

from __future__ import annotations

import click

from experiments import base
from testbed.commands.common import json_option, print_json, print_table
from testbed.model.checkout import CHECKOUT


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@json_option
def command(as_json: bool) -> None:
    """Name experiments, with the minutes that each profile takes, and applications.

    \b
    Example:
      testbed list
    """
    experiments = {name: base.get(name) for name in base.names()}
    applications = sorted(str(path.relative_to(CHECKOUT)) for path in (CHECKOUT / "functions").glob("*/stack.yaml"))
    if as_json:
        print_json({
            "experiments": {
                name: {"title": experiment.title, "minutes": {p.value: m for p, m in experiment.minutes.items()}}
                for name, experiment in experiments.items()
            },
            "applications": applications,
        })  # fmt: skip
        return
    profiles = list(base.Profile)
    rows = [
        [name, experiment.title, *(experiment.minutes[profile] for profile in profiles)]
        for name, experiment in experiments.items()
    ]
    print_table("experiments", ["name", "what it measures", *(f"{p.value}, min" for p in profiles)], rows)
    print_table("applications", ["stack"], [[path] for path in applications])

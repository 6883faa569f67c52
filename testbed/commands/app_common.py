"""What the verbs about applications share: the NAME they take, and the lab they look into."""

from __future__ import annotations

import os

import click
from click.shell_completion import CompletionItem

from testbed.commands.common import platform_of
from testbed.network.lab import Lab, running_labs
from testbed.platform.client import applications
from testbed.platform.client.platform import Platform


def _complete(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    return [CompletionItem(name) for name in applications.names() if name.startswith(incomplete)]


application_argument = click.argument("application", metavar="NAME", shell_complete=_complete)
"""The folder of an application under functions/."""


def cluster_of(lab_name: str) -> Platform | None:
    """The lab of this name; None when none runs, or when this user may not look into it."""
    if lab_name not in running_labs() or os.geteuid() != 0:
        return None
    return platform_of(Lab.attach(lab_name))

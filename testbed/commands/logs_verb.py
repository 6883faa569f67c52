"""`logs`: what a function's instances wrote, through the apiserver; or what a component wrote."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from testbed.commands.common import json_option, lab_option, platform_of
from testbed.model import durations
from testbed.model.errors import PlatformError, UsageError
from testbed.network.lab import Lab
from testbed.platform.client import lookup
from testbed.platform.client.platform import Platform
from testbed.platform.common.function_logs import format_time, parse_time

POLL_S = 0.2


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("function", metavar="FN[.NS]")
@click.option(
    "--tail", "-t", type=click.IntRange(0), default=20, show_default=True, help="Lines of each instance; 0: all."
)
@click.option(
    "--since", help="Only what is newer: an age such as 90s or 1h30m, or a time such as 2026-05-01T12:00:00Z."
)
@click.option("--instance", help="Only this instance, e.g. chain-1.tenant-a.1; it may be gone already.")
@click.option("--follow", "-f", is_flag=True, help="Go on printing until Ctrl-C.")
@lab_option
@json_option
def command(
    function: str, tail: int, since: str | None, instance: str | None, follow: bool, lab_name: str, as_json: bool
) -> None:
    """Print the last lines of a function's instances. A component's name (gateway, controller, …) works too.

    \b
    Examples:
      sudo testbed logs chain-1.tenant-a --follow
      sudo testbed logs chain-1.tenant-a --since 10m --tail 1000
      sudo testbed logs controller
    """
    lab = Lab.attach(lab_name)
    component = lab.state_folder / "logs" / f"{function}.out"
    if component.exists():
        _print_component(component, tail, follow)
        return
    query = {"tail": str(tail)} if tail else {}
    if since:
        query["since"] = moment(since)
    if instance:
        query["instance"] = instance
    if follow:
        query["follow"] = "true"
    name, _, namespace = lookup.full_name(function).partition(".")
    platform = platform_of(lab)
    for message in _messages(platform, name, namespace, query):
        if as_json:
            click.echo(json.dumps(message))
        else:
            click.echo(f"{message['timestamp']}  {message['instance']}  {message['text']}")


def _messages(platform: Platform, name: str, namespace: str, query: dict[str, str]) -> Iterator[dict[str, Any]]:
    """The log; where there is none, because there is no such function, that is said first."""
    try:
        yield from platform.provider.logs(name, namespace, **query)
    except PlatformError:
        lookup.function_named(platform.state(), f"{name}.{namespace}")
        raise


def moment(since: str) -> str:
    """The time that `since` means, as RFC 3339; UsageError when it is neither an age nor a time."""
    try:
        age_s = durations.go_duration_s(since)
    except ValueError:
        pass  # then it is a time
    else:
        return f"{datetime.fromtimestamp(time.time() - age_s, UTC):%Y-%m-%dT%H:%M:%SZ}"
    try:
        return format_time(parse_time(since))
    except ValueError:
        raise UsageError(
            f'--since "{since}" is neither an age such as 90s or 1h30m nor a time such as 2026-05-01T12:00:00Z'
        ) from None


def _print_component(file: Path, tail: int, follow: bool) -> None:
    written = file.read_bytes()
    for line in written.decode(errors="replace").splitlines()[-tail:]:
        click.echo(f"{file.stem}  {line}")
    with file.open("rb") as log:
        log.seek(len(written))
        while follow:
            time.sleep(POLL_S)
            for line in log.read().decode(errors="replace").splitlines():
                click.echo(f"{file.stem}  {line}")

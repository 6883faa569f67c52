"""`completion`: shell code that completes verbs and options."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from testbed.model.errors import UsageError


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def command(shell: str) -> None:
    """Print the completion code of a shell.

    \b
    Example:
      eval "$(testbed completion bash)"
    """
    from testbed.commands.main import cli

    completion = get_completion_class(shell)
    if completion is None:
        raise UsageError(f"there is no completion for {shell}")
    click.echo(completion(cli, {}, "testbed", "_TESTBED_COMPLETE").source())

"""`secret`: the secrets of a namespace. Functions that name one read it from /var/openfaas/secrets/NAME."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from testbed.commands.common import (
    json_option,
    lab_option,
    namespace_option,
    platform_of,
    print_json,
    print_table,
)
from testbed.model.errors import UsageError
from testbed.network.lab import Lab

literal_option = click.option("--from-literal", "literal", help="The value itself; others may see it in `ps`.")
file_option = click.option("--from-file", "file", help='A file with the value; "-" reads standard input.')
trim_option = click.option(
    "--trim/--no-trim", default=True, show_default=True, help="Take white space at both ends of a file off."
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def command() -> None:
    """Make, list, change and remove secrets. No command shows a value.

    \b
    Examples:
      sudo testbed secret create db-password --namespace tenant-a --from-file password.txt
      sudo testbed secret list --namespace tenant-a
      sudo testbed secret update db-password --namespace tenant-a --from-literal other
      sudo testbed secret remove db-password --namespace tenant-a
    """


@command.command()
@click.argument("secret", metavar="NAME")
@namespace_option
@literal_option
@file_option
@trim_option
@lab_option
def create(secret: str, namespace: str, literal: str | None, file: str | None, trim: bool, lab_name: str) -> None:
    """Make a secret.

    \b
    Example:
      sudo testbed secret create db-password -n tenant-a --from-literal hunter2
    """
    value = read_value(literal, file, trim)
    platform_of(Lab.attach(lab_name)).provider.create_secret(secret, namespace, value)
    click.echo(f"secret {secret} is in namespace {namespace}; name it under a function's secrets to use it")


@command.command()
@click.argument("secret", metavar="NAME")
@namespace_option
@literal_option
@file_option
@trim_option
@lab_option
def update(secret: str, namespace: str, literal: str | None, file: str | None, trim: bool, lab_name: str) -> None:
    """Give a secret another value. Instances of the functions that read it are replaced, without a gap.

    \b
    Example:
      openssl rand -hex 16 | sudo testbed secret update gateway-token -n tenant-a --from-file -
    """
    value = read_value(literal, file, trim)
    platform_of(Lab.attach(lab_name)).provider.update_secret(secret, namespace, value)
    click.echo(f"secret {secret} of namespace {namespace} has another value; instances that read it are replaced")


@command.command("list")
@namespace_option
@lab_option
@json_option
def list_secrets(namespace: str, lab_name: str, as_json: bool) -> None:
    """Name the secrets of a namespace.

    \b
    Example:
      sudo testbed secret list -n tenant-a --json
    """
    names = platform_of(Lab.attach(lab_name)).provider.secrets(namespace)
    if as_json:
        print_json([{"name": name, "namespace": namespace} for name in names])
        return
    print_table(f"secrets of {namespace}", ["name"], [[name] for name in names])


@command.command()
@click.argument("secret", metavar="NAME")
@namespace_option
@lab_option
def remove(secret: str, namespace: str, lab_name: str) -> None:
    """Remove a secret. Instances that run keep it; a function that still names it starts no others.

    \b
    Example:
      sudo testbed secret remove db-password -n tenant-a
    """
    platform_of(Lab.attach(lab_name)).provider.remove_secret(secret, namespace)
    click.echo(f"secret {secret} of namespace {namespace} is removed")


def read_value(literal: str | None, file: str | None, trim: bool) -> bytes:
    """The value that the options give; UsageError unless exactly one does."""
    if (literal is None) == (file is None):
        raise UsageError("give the value by --from-literal or by --from-file; not by both and not by neither")
    if literal is not None:
        return literal.encode()
    try:
        value = sys.stdin.buffer.read() if file == "-" else Path(file or "").read_bytes()
    except OSError as error:
        raise UsageError(f"{file} cannot be read ({error.strerror}); name a file with the secret's value") from None
    return value.strip() if trim else value

"""`invoke`: call a function through the gateway, as a user of the platform would."""

from __future__ import annotations

import sys
from http import HTTPStatus

import click
import requests

from testbed.commands.common import lab_option, platform_of
from testbed.model.cluster import ClusterState
from testbed.model.errors import PlatformError
from testbed.network.lab import Lab
from testbed.platform.client import lookup

UNKNOWN_FUNCTION = "error finding function"
"""How OpenFaaS's gateway begins its answer for a function that it does not find."""


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("function", metavar="FN[.NS]")
@click.option("--data", "-d", help='Request body ("-" reads standard input); makes it a POST.')
@click.option("--query", "-q", default="", help="Query string, e.g. length=3.")
@click.option("--verbose", "-v", is_flag=True, help="Print status and headers too.")
@lab_option
def command(function: str, data: str | None, query: str, verbose: bool, lab_name: str) -> None:
    """Call a function and print its answer. Exit code 5 when the answer is an error.

    \b
    Examples:
      sudo testbed invoke chain-1.tenant-a
      echo '{}' | sudo testbed invoke chain-1.tenant-a --data -
    """
    lab = Lab.attach(lab_name)
    body = sys.stdin.buffer.read() if data == "-" else data.encode() if data is not None else None
    url = f"{lab.gateway_url}/function/{function}" + (f"?{query}" if query else "")
    session = requests.Session()
    session.trust_env = False  # a proxy of the machine's is no way to the lab
    try:
        answer = session.request("GET" if body is None else "POST", url, data=body, timeout=120)
    except requests.RequestException as error:
        raise PlatformError(
            f"the gateway at {lab.gateway_url} does not answer ({error}); see `testbed status`"
        ) from None
    if verbose:
        click.echo(f"HTTP {answer.status_code}", err=True)
        for name, value in answer.headers.items():
            click.echo(f"{name}: {value}", err=True)
    if answer.status_code == HTTPStatus.NOT_FOUND and answer.text.startswith(UNKNOWN_FUNCTION):
        raise _unreachable(platform_of(lab).state(), lookup.full_name(function.partition("/")[0]))
    if not answer.ok:
        raise PlatformError(f"{function} answered {answer.status_code}: {answer.text.strip() or '(empty)'}")
    sys.stdout.buffer.write(answer.content)
    if not answer.content.endswith(b"\n"):
        click.echo()


def _unreachable(state: ClusterState, function: str) -> PlatformError:
    """Why the gateway does not find a function. UsageError when nobody has this name."""
    lookup.function_named(state, function)
    return PlatformError(
        f"the gateway knows no way to {function}: on the direct route it reaches ingress functions only; invoke one "
        "that calls it (`testbed app show` draws who does)"
    )

"""`policy`: a provider's own rules about calls, beside the call graph."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from testbed.commands.common import json_option, lab_option, platform_of, print_json, print_table, token_option
from testbed.network.lab import Lab

KINDS = ("allow", "deny", "rate-limit", "mirror")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def command() -> None:
    """Add, list and remove a provider's own rules.

    \b
    Examples:
      sudo testbed policy add open-3 allow chain-1 chain-3 --namespace tenant-a
      sudo testbed policy add shut deny chain-1 chain-2 --namespace tenant-a
      sudo testbed policy add calm rate-limit '*' chain-2 --namespace tenant-a --connections-per-s 20
      sudo testbed policy add tap mirror chain-1 chain-2 --namespace tenant-a --mirror-to probe2
      sudo testbed policy list
      sudo testbed policy remove shut
    """


@command.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("name")
@click.argument("kind", type=click.Choice(KINDS))
@click.argument("source", metavar="FROM", default="*")
@click.argument("target", metavar="TO", default="*")
@click.option(
    "--namespace",
    "-n",
    default="",
    help="The tenant that the rule is about; not needed with --operator or --token-file.",
)
@click.option("--connections-per-s", type=int, help="rate-limit: new connections a second, on each node.")
@click.option("--kbit-per-s", type=int, help="rate-limit: of all packets, both directions, on each node.")
@click.option("--mirror-to", help="mirror: probe (of the caller's node), probe1, probe2, … or client.")
@click.option("--operator", is_flag=True, help="Mean to reach beyond one namespace: other tenants, gateway, client.")
@json_option
@token_option
@lab_option
def add(
    name: str, kind: str, source: str, target: str, namespace: str, connections_per_s: int | None,
    kbit_per_s: int | None, mirror_to: str | None, operator: bool, as_json: bool, token_file: Path | None,
    lab_name: str,
) -> None:  # fmt: skip
    """Add a rule of KIND about calls FROM one function TO another ("*": all of the namespace).

    It is in force on every switch when this says so, and stays until it is removed.

    \b
    Examples:
      sudo testbed policy add shut deny chain-1 chain-2 --namespace tenant-a
      sudo testbed policy add no-way-in deny gateway chain-1.tenant-a --operator
      sudo testbed policy add shut deny chain-1 chain-2 --token-file tenant-a.token
    """
    rates = {"connections_per_s": connections_per_s, "kbit_per_s": kbit_per_s}
    given = {key: value for key, value in rates.items() if value is not None}
    body: dict[str, Any] = {
        "name": name,
        "kind": kind,
        **({"namespace": namespace} if namespace else {}),
        "from": source,
        "to": target,
        **({"rate": given} if given else {}),
        **({"mirror_to": mirror_to} if mirror_to is not None else {}),
        "operator": operator,
    }
    policy = platform_of(Lab.attach(lab_name), token_file).add_policy(body)
    if as_json:
        print_json(policy)
        return
    click.echo(f"policy {name}: {policy['state']}")


@command.command("list", context_settings={"help_option_names": ["-h", "--help"]})
@json_option
@token_option
@lab_option
def list_(as_json: bool, token_file: Path | None, lab_name: str) -> None:
    """Every rule, what it does now and what it has counted."""
    policies = platform_of(Lab.attach(lab_name), token_file).policies()
    if as_json:
        print_json(policies)
        return
    columns = ["name", "kind", "from → to", "details", "hits", "dropped", "state"]
    print_table("policies", columns, [row(policy) for policy in policies])


def row(policy: dict[str, Any]) -> list[Any]:
    """A policy's line in the table."""
    details = [f"{rate} {unit}" for unit, rate in policy.get("rate", {}).items()]
    details += [f"to {policy['mirror_to']}"] if "mirror_to" in policy else []
    details += ["operator"] if policy["operator"] else []
    dropped = policy.get("dropped", policy["hits"] if policy["kind"] == "deny" else 0)
    ends = f"{policy['from']} → {policy['to']}"
    return [policy["name"], policy["kind"], ends, ", ".join(details), policy["hits"], dropped, policy["state"]]


@command.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("name")
@token_option
@lab_option
def remove(name: str, token_file: Path | None, lab_name: str) -> None:
    """Remove the rule NAME; it is gone from every switch when this says so."""
    state = platform_of(Lab.attach(lab_name), token_file).remove_policy(name)
    click.echo(f"policy {name} is removed" if state is None else f"policy {name}: {state}")

"""`describe`: one function as faas-cli shows it, with what only this testbed knows of it; or a store."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from testbed.commands.common import json_option, lab_option, platform_of, print_json, print_table
from testbed.model import datastores
from testbed.model.cluster import ClusterState, Function, Phase
from testbed.model.errors import PlatformError
from testbed.network.lab import Lab
from testbed.platform.client import lookup
from testbed.platform.client.platform import Platform

_STEPS = ("sandbox", "process", "ready")
"""Times of an instance's start that are shown, in ms since it was decided on."""


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("function", metavar="FN[.NS]")
@lab_option
@json_option
def command(function: str, lab_name: str, as_json: bool) -> None:
    """Show a function: status, replicas, invocations, image, addresses, limits, secrets' names, instances, calls.
    Or a store: what it is, its address, its owners, its instance, calls.

    \b
    Examples:
      sudo testbed describe chain-1.tenant-a
      sudo testbed describe chain-1.tenant-a --json
      sudo testbed describe mariadb.shop
    """
    lab = Lab.attach(lab_name)
    platform = platform_of(lab)
    name, _, namespace = lookup.deployed(platform.state(), function).partition(".")
    found = description(platform, name, namespace, lab.gateway_url)
    if as_json:
        print_json(found)
        return
    instances, calls = found.pop("instances"), found.pop("calls")
    for key, value in found.items():
        click.echo(f"{key.replace('_', ' ') + ':':<20} {_text(value)}")
    columns = ["instance", "node", "eIP", "phase", *(f"{step}, ms" for step in _STEPS), "why not ready"]
    rows = [
        [*(one[key] for key in ("id", "node", "eip", "phase")), *(one[f"{s}_ms"] for s in _STEPS), one["reason"]]
        for one in instances
    ]
    print_table("instances, with the times of their start", columns, rows)
    print_table("calls, counted by switches", ["caller", "callee", "calls"],
                [[call["caller"], call["callee"], call["packets"]] for call in calls])  # fmt: skip


def description(platform: Platform, name: str, namespace: str, gateway_url: str) -> dict[str, Any]:
    """All that is known of a function or store; of secrets, the names."""
    full_name = f"{name}.{namespace}"
    state = platform.state()
    if state.functions[full_name].store:
        return _store(platform, state, state.functions[full_name])
    status = platform.provider.function(name, namespace)
    function = state.functions[full_name]
    ids = [one.id for one in state.instances.values() if one.function_name == full_name]
    instances = [one for one in map(platform.provider.instance, ids) if one]
    ready = status["availableReplicas"] > 0
    return {
        "name": name,
        "namespace": namespace,
        "status": "Ready" if ready else "Not Ready",
        "replicas": status["replicas"],
        "available_replicas": status["availableReplicas"],
        "invocations": platform.invocations(full_name),
        "image": status["image"],
        "function_process": status.get("envProcess", ""),
        "url": f"{gateway_url}/function/{full_name}" if function.ingress else "",
        "route": state.route(namespace).value,
        "vip": function.vip,
        "revision": function.revision,
        "created_at": status["createdAt"],
        "labels": status["labels"],
        "annotations": status["annotations"],
        "constraints": status.get("constraints", []),
        "environment": status["envVars"],
        "secrets": status.get("secrets", []),
        "requests": status.get("requests", {}),
        "limits": status.get("limits", {}),
        "usage": status.get("usage"),
        "instances": [_instance(one) for one in instances],
        "calls": _calls(platform, full_name),
    }


def _store(platform: Platform, state: ClusterState, store: Function) -> dict[str, Any]:
    ids = [one.id for one in state.instances.values() if one.function_name == store.full_name]
    instances = [one for one in map(platform.provider.instance, ids) if one]
    return {
        "name": store.name,
        "namespace": store.namespace,
        "store": datastores.KINDS[store.name].what,
        "status": "Ready" if any(one["phase"] == Phase.READY.value for one in instances) else "Not Ready",
        "vip": store.vip,
        "port": store.port,
        "owners": state.owners(store),
        "secrets": list(store.secrets),
        "data": str(datastores.folder(platform.state_folder, store.namespace, store.name)),
        "instances": [_instance(one) for one in instances],
        "calls": _calls(platform, store.full_name),
    }


def _instance(one: Mapping[str, Any]) -> dict[str, Any]:
    timings = one["timings"]
    decided_ns = timings.get("decided_ns")
    steps = {
        f"{step}_ms": round((timings[f"{step}_ns"] - decided_ns) / 1e6, 1)
        if decided_ns is not None and f"{step}_ns" in timings
        else ""
        for step in _STEPS
    }
    known = {"id": one["id"], "node": f"node{one['node']}", "eip": one["eip"], "phase": one["phase"]}
    return {**known, **steps, "reason": one.get("reason", "")}


def _calls(platform: Platform, full_name: str) -> list[dict[str, Any]]:
    """What the switches have counted from and to the function, all nodes together; nothing without a controller."""
    try:
        counted = platform.counters(exact=True)["calls"]
    except PlatformError:
        return []
    totals: dict[tuple[str, str], int] = {}
    for call in counted:
        if full_name in (call["caller"], call["callee"]):
            key = call["caller"], call["callee"]
            totals[key] = totals.get(key, 0) + call["packets"]
    return [{"caller": caller, "callee": callee, "packets": n} for (caller, callee), n in totals.items()]


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key}={one}" for key, one in value.items()) or "none"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return "not known" if value is None else str(value) or "none"

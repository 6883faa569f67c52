"""What the node agent does differently for stores, and for the functions that own them.

A store's instance runs a module of this package on the data folder of its namespace; a function that owns stores
sees their names in an /etc/hosts of its own. Starting and supervising is the same for all (`keeper`).
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from testbed.model import datastores
from testbed.model.checkout import CHECKOUT
from testbed.model.cluster import ClusterState, Function, Phase
from testbed.model.errors import LabError
from testbed.model.rewrite import CalleeMissing
from testbed.network.process.mounts import HOSTS_FILE


class StoreNotReady(CalleeMissing):
    """A store that the function owns has no ready instance yet."""


def is_store(instance_id: str) -> bool:
    """Whether this is a store's instance. No function can have a store's name."""
    return instance_id.partition(".")[0] in datastores.KINDS


def command_line(function: Function, state_folder: Path) -> tuple[str, ...]:
    """How a store's process is started."""
    data = datastores.folder(state_folder, function.namespace, function.name)
    module = f"testbed.platform.datastores.{function.name}"
    line = (sys.executable, "-m", module, "--data", str(data), "--port", str(function.port))
    script = datastores.script(state_folder, function.namespace, function.name)
    return (*line, "--script", str(script)) if script.is_file() else line


def environment() -> dict[str, str]:
    """What a store's process needs to find this package."""
    return {"PYTHONPATH": str(CHECKOUT), "PYTHONUNBUFFERED": "1"}


def remove_data(state_folder: Path, instance_id: str) -> None:
    """Where this was a store's instance, the store is gone for good: so is its data. LabError when that stays."""
    name, namespace, _ = instance_id.split(".")
    if name not in datastores.KINDS:
        return
    data = datastores.folder(state_folder, namespace, name)
    for folder in (data, data.with_name(f".{data.name}.new")):
        try:
            shutil.rmtree(folder)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise LabError(f"the data of store {name}.{namespace} in {folder} stays: {error.strerror}") from error


def hosts_text(function: Function, state: ClusterState, present: str, own_line: str) -> str:
    """/etc/hosts as the function is to see it: what is there, its stores, itself. Raises StoreNotReady."""
    lines = [f"{own_line}\n"]
    for name in function.stores:
        full_name = f"{name}.{function.namespace}"
        store = state.functions.get(full_name)
        instances = [one for one in state.instances.values() if one.function_name == full_name]
        if store is None or not any(one.phase is Phase.READY for one in instances):
            raise StoreNotReady(f"the store {full_name} is not ready yet")
        lines.append(f"{store.vip}\t{name} {full_name}\n")
    return f"{present.rstrip()}\n{''.join(lines)}"


def hosts_file(function: Function, eip: str, state: ClusterState, file: Path) -> Path | None:
    """Write `file` for a function that owns stores; None for one that owns none. Raises StoreNotReady."""
    if not function.stores:
        return None
    # A mail client asks for the name of its own machine, and no DNS server is there to answer.
    text = hosts_text(function, state, HOSTS_FILE.read_text(), f"{eip}\t{os.uname().nodename}")
    fresh = file.with_name(f"{file.name}.{os.getpid()}")
    fresh.write_text(text)
    fresh.replace(file)
    return file

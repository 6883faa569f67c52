"""What the node agent does differently for stores, and for the functions that own them.

A store's instance runs a module of this package on a data folder of its own; a function that owns stores finds their
names in its /etc/hosts. Starting and supervising is the same for all (`keeper`).
"""

from __future__ import annotations

from pathlib import Path

from testbed.model import datastores
from testbed.model.cluster import ClusterState, Function, Phase
from testbed.model.errors import LabError
from testbed.model.rewrite import CalleeMissing
from testbed.network.process import clearing, skeleton
from testbed.network.process.place import give

SCRIPT = "store.sql"
"""The file below /run of a store's place that says what is put into it when it is made."""


class StoreNotReady(CalleeMissing):
    """A store that the function owns has no ready instance yet."""


def is_store(instance_id: str) -> bool:
    """Whether this is a store's instance. No function can have a store's name."""
    return instance_id.partition(".")[0] in datastores.KINDS


def command_line(function: Function, has_script: bool) -> tuple[str, ...]:
    """How a store's process is started, as paths are in its place."""
    module = f"testbed.platform.datastores.{function.name}"
    line = (str(skeleton.PYTHON), "-m", module, "--data", str(skeleton.DATA), "--port", str(function.port))
    return (*line, "--script", f"/run/{SCRIPT}") if has_script else line


def environment() -> dict[str, str]:
    """What a store's process needs to find this package."""
    return {"PYTHONPATH": str(skeleton.PACKAGES), "PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": "1"}


def provide_data(state_folder: Path, function: Function, user_id: int) -> Path:
    """The store's data folder, there and its user's."""
    folder = datastores.folder(state_folder, function.namespace, function.name)
    folder.mkdir(parents=True, exist_ok=True)
    if folder.stat().st_uid != user_id:
        give(folder, user_id)
        folder.chmod(0o700)
    return folder


def remove_data(state_folder: Path, instance_id: str) -> None:
    """Where this was a store's instance, the store is gone for good: so is its data. LabError when that stays."""
    name, namespace, _ = instance_id.split(".")
    if name not in datastores.KINDS:
        return
    data = datastores.folder(state_folder, namespace, name)
    if stays := clearing.remove(data):
        raise LabError(f"the data of store {name}.{namespace} in {data} stays: {stays}")


def names(function: Function, state: ClusterState) -> tuple[str, ...]:
    """The lines of /etc/hosts by which a function finds its stores. Raises StoreNotReady."""
    lines = []
    for name in function.stores:
        full_name = f"{name}.{function.namespace}"
        store = state.functions.get(full_name)
        instances = [one for one in state.instances.values() if one.function_name == full_name]
        if store is None or not any(one.phase is Phase.READY for one in instances):
            raise StoreNotReady(f"the store {full_name} is not ready yet")
        lines.append(f"{store.vip}\t{name} {full_name}")
    return tuple(lines)

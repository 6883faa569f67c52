"""What an instance is started with: command, environment, limits, its place, and where its output goes.

Values from the cluster's state and the function's image; `function_process` starts it, `keeper` says when.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from testbed.model import addressing, datastores, rewrite
from testbed.model.addressing import FUNCTION_PORT
from testbed.model.cluster import ClusterState, Function, Instance
from testbed.model.errors import LabError
from testbed.model.quantities import parse_limits
from testbed.model.stack.callees import GATEWAY_NAMES
from testbed.network.process.cgroups import Cgroups
from testbed.network.process.place import LARGEST_FILES_BYTES, Access, Grounds, Place
from testbed.platform.agent import stores
from testbed.platform.agent.control_plane import ControlPlane
from testbed.platform.agent.function_process import Launch
from testbed.platform.images import build


class Sandboxes(Protocol):
    """The part of the lab's client that an agent needs."""

    def add_host(self, name: str, node: int, eip: str) -> None: ...
    def delete_host(self, name: str) -> None: ...
    def has_host(self, name: str) -> bool: ...
    def netns(self, name: str) -> int: ...


@dataclass(frozen=True)
class NodeServices:
    """What all keepers of a node share. `state` gives the cluster as the agent knows it now."""

    lab_name: str
    lab: Sandboxes
    control: ControlPlane
    state: Callable[[], ClusterState]
    images: Path
    logs: Path
    pids: Path
    cgroups: Cgroups

    @property
    def state_folder(self) -> Path:
        """The lab's, where stores keep their data."""
        return self.images.parent

    def pid_file(self, instance_id: str) -> Path:
        return self.pids / f"{instance_id}.pid"

    @property
    def grounds(self) -> Grounds:
        return Grounds.of_lab(self.state_folder)

    def log_file(self, instance_id: str) -> Path:
        return self.logs / f"{instance_id}.log"


GATEWAY_LINE = f"{addressing.vip(addressing.GATEWAY_ID)}\t{' '.join(GATEWAY_NAMES)}"
"""Where a function's /etc/hosts says that the gateway is."""


def group_of(instance_id: str) -> str:
    """The instance's cgroup among the lab's; what stores use is no function's."""
    kind = "stores" if stores.is_store(instance_id) else "functions"
    return f"{kind}/{instance_id}"


def launch_of(instance: Instance, services: NodeServices) -> Launch:
    """How the instance is started, with its cgroup made.

    Raises CalleeMissing while a callee is not deployed or a store not ready, LabError when limits cannot be
    enforced, Away.
    """
    state = services.state()
    function = state.functions.get(instance.function_name)
    if function is None:
        raise LabError(f"function {instance.function_name} is not known; instance {instance.id} cannot start")
    if function.store:
        return _launch_of_store(instance, function, services)
    store_lines = stores.names(function, state)
    folder = build.folder_of(services.images, function.image, function.build)
    fprocess = function.environment.get("fprocess") or build.read_template(folder).fprocess
    vips = {one.name: one.vip for one in state.functions.values() if one.namespace == instance.namespace}
    values = rewrite.environment(function.environment, instance.namespace, state.route(instance.namespace), vips)
    environment = {
        "mode": "http",
        "HOSTNAME": instance.id,
        **values,
        "fprocess": fprocess,
        "port": str(FUNCTION_PORT),
        "FUNCTION_NAME": instance.function,
        "FUNCTION_NAMESPACE": instance.namespace,
    }
    limits = parse_limits(function.limits)
    services.cgroups.make(group_of(instance.id), limits.memory_bytes, limits.cpu_cores)
    place = Place(
        instance.id,
        addressing.user_id(services.lab_name, instance.eip),
        instance.eip,
        folder,
        Access.READ if function.read_only_root_filesystem else Access.COPY,
        names=(GATEWAY_LINE, *store_lines),
        secrets=services.control.secrets(instance.id) if function.secrets else {},
        group=group_of(instance.id),
        # Files are memory: a full disk is to be told from a process that is killed for its memory.
        files_bytes=min(limits.memory_bytes // 2, LARGEST_FILES_BYTES) if limits.memory_bytes else LARGEST_FILES_BYTES,
    )
    try:
        argv = tuple(shlex.split(fprocess))
    except ValueError as error:
        raise LabError(f"the command {fprocess!r} of {instance.function_name} cannot be split ({error})") from None
    return _launch(place, argv, environment, services)


def _launch_of_store(instance: Instance, store: Function, services: NodeServices) -> Launch:
    """A store's process: a module of this package on the store's data folder."""
    services.cgroups.make(group_of(instance.id))
    user_id = addressing.user_id(services.lab_name, instance.eip)
    script = datastores.script(services.state_folder, store.namespace, store.name)
    place = Place(
        instance.id,
        user_id,
        instance.eip,
        secrets=services.control.secrets(instance.id) if store.secrets else {},
        files={stores.SCRIPT: script.read_bytes()} if script.is_file() else {},
        data=stores.provide_data(services.state_folder, store, user_id),
        group=group_of(instance.id),
    )
    return _launch(place, stores.command_line(store, bool(place.files)), stores.environment(), services)


def _launch(place: Place, argv: tuple[str, ...], environment: dict[str, str], services: NodeServices) -> Launch:
    return Launch(place, argv, environment, services.log_file(place.name), services.pid_file(place.name))


def note(log_file: Path, what: str) -> None:
    """Add a line of the agent's own to an instance's output, with the time in front."""
    now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    with log_file.open("a") as log:
        log.write(f"{now} {what}\n")

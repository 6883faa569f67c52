"""The node agent: runs the instances that the apiserver wants on one node.

It stands for the kubelet. It follows the apiserver's watch, has one keeper (`keeper`) for
each instance of its node, and clears away what an earlier agent left. It decides neither how many
instances there are nor where. Run as `python -m testbed.platform.agent.process --node N --apiserver URL
--controller URL --lab-socket PATH --images DIR --logs DIR`; TESTBED_STATE is the lab's state folder and
TESTBED_LAB its name.
"""

from __future__ import annotations

import argparse
import logging
import os
import threading
import time
from pathlib import Path

from testbed.model.cluster import ClusterState, Instance
from testbed.model.errors import LabError
from testbed.model.watch import Decoder, Event
from testbed.network.daemon_client import LabClient
from testbed.network.process.cgroups import Cgroups
from testbed.platform.agent import stores
from testbed.platform.agent.control_plane import Away, ControlPlane
from testbed.platform.agent.function_process import FunctionProcess, remove_files
from testbed.platform.agent.keeper import InstanceKeeper
from testbed.platform.agent.launch import NodeServices, Sandboxes, group_of
from testbed.platform.agent.rotation import LogRotation
from testbed.platform.common.identity import own_credential

log = logging.getLogger("agent")


class Agent:
    """The instances of one node. `follow` is its main loop."""

    def __init__(
        self,
        node: int,
        lab_name: str,
        lab: Sandboxes,
        control: ControlPlane,
        images: Path,
        logs: Path,
        pids: Path,
        cgroups: Cgroups,
    ) -> None:
        self._node = node
        self._control = control
        self._state = ClusterState()
        self._keepers: dict[str, InstanceKeeper] = {}
        self._lock = threading.Lock()
        self._cleared = False
        pids.mkdir(parents=True, exist_ok=True)
        self._services = NodeServices(lab_name, lab, control, lambda: self._state, images, logs, pids, cgroups)

    def follow(self) -> None:
        """Follow the apiserver for ever; when it is away, what runs goes on running."""
        LogRotation(self._logs).start()
        decoder, said = Decoder(), False
        while True:
            problem: Away | None = None
            try:
                for event in self._control.watch(decoder):
                    self.handle(event)
            except Away as error:
                problem = error
            said = said and not decoder.heard
            if problem and not said:
                said = True  # once in an outage
                log.warning("%s; instances run on", problem)
            time.sleep(decoder.next_pause_s())

    def handle(self, event: Event) -> None:
        """One event of the watch."""
        self._state = self._state.apply(event)
        if event["type"] == "SNAPSHOT" or event["kind"] == "instance":
            self._reconcile()
        else:
            self._wake_waiting()
        if not self._cleared:
            self._cleared = True
            self._clear_left_overs()

    def _reconcile(self) -> None:
        """A keeper for every instance of this node, and each told what the apiserver says."""
        wanted = {one.id: one for one in self._state.instances.values() if one.node == self._node}
        with self._lock:
            for instance_id, instance in wanted.items():
                if instance_id in self._keepers:
                    self._keepers[instance_id].update(instance, self._state.version)
                else:
                    self._keep(instance)
            for instance_id, keeper in self._keepers.items():
                if instance_id not in wanted:
                    keeper.forget()
        self._wake_waiting()

    def _keep(self, instance: Instance) -> None:
        keeper = InstanceKeeper(instance, self._state.version, self._services, self._finished)
        self._keepers[instance.id] = keeper
        keeper.start()

    def _logs(self) -> list[Path]:
        with self._lock:
            return [self._services.log_file(instance_id) for instance_id in self._keepers]

    def _finished(self, instance_id: str) -> None:
        with self._lock:
            del self._keepers[instance_id]

    def _wake_waiting(self) -> None:
        with self._lock:
            for keeper in self._keepers.values():
                if keeper.waits_for_callee:
                    keeper.wake()

    def _clear_left_overs(self) -> None:
        """Processes and sandboxes that an earlier agent started for instances that exist no more."""
        for pid_file in self._services.pids.glob("*.pid"):
            instance_id = pid_file.stem
            if instance_id in self._state.instances:
                continue
            process = FunctionProcess.adopt(pid_file, instance_id)
            if process:
                log.info("%s was left by an earlier agent; it is stopped", instance_id)
                process.stop(0.0)
                process.close()
            try:
                if self._services.lab.has_host(instance_id):
                    self._services.lab.delete_host(instance_id)
                stores.remove_data(self._services.state_folder, instance_id)
            except LabError as error:
                log.warning("something of %s stays: %s", instance_id, error)
                continue
            self._services.cgroups.remove(group_of(instance_id))
            remove_files(pid_file)


def main() -> None:
    parser = argparse.ArgumentParser(prog="testbed.platform.agent.process", description=__doc__)
    parser.add_argument("--node", type=int, required=True)
    parser.add_argument("--apiserver", required=True, metavar="URL")
    parser.add_argument("--controller", required=True, metavar="URL")
    parser.add_argument("--lab-socket", type=Path, required=True)
    parser.add_argument("--images", type=Path, required=True, help="folder of built images")
    parser.add_argument("--logs", type=Path, required=True, help="folder for the instances' output")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    state = Path(os.environ.get("TESTBED_STATE", ".")).resolve()
    lab_name = os.environ["TESTBED_LAB"]
    Agent(
        arguments.node,
        lab_name,
        LabClient(arguments.lab_socket),
        ControlPlane(arguments.apiserver, arguments.controller, own_credential()),
        arguments.images,
        arguments.logs,
        state / "agents" / f"node{arguments.node}",
        Cgroups.of_lab(lab_name),
    ).follow()


if __name__ == "__main__":
    main()

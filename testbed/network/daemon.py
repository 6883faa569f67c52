"""The lab's daemon: builds the cluster inside the lab's namespaces, runs the control plane, answers clients.

`python -m testbed.network.daemon CONFIG.json` is the first process of the lab's PID namespace. It forks:
the first process only reaps and ends with the lab; its child is the daemon.
"""

from __future__ import annotations

import os
import resource
import signal
import socketserver
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol, cast

from testbed.model import addressing
from testbed.model.cluster import Host, Role
from testbed.model.errors import LabError, TestbedError
from testbed.model.stack.callees import GATEWAY_NAMES
from testbed.network import protocol
from testbed.network.config import LabConfig
from testbed.network.process import names
from testbed.network.process.cgroups import Cgroups
from testbed.network.process.namespaces import listens
from testbed.network.process.place import Grounds

PROBE = "probe{node}"
CONTROLLER_START_S = 30.0
OPEN_FILES = 16_384
"""For each process of the lab: an instance holds three descriptors of its node's agent, one of its switch and one of
the daemon, and a shell usually allows 1024. (Mininet would allow a million, and a program that closes all possible
descriptors when it forks would take seconds.)"""


def static_hosts(nodes: tuple[int, ...]) -> list[Host]:
    """The hosts every lab has: the gateway and the client on the first node, a probe on each."""
    hosts = [
        Host("gateway", Role.GATEWAY, addressing.GATEWAY_ID, nodes[0], addressing.eip(nodes[0], 1)),
        Host("client", Role.CLIENT, addressing.CLIENT_ID, nodes[0], addressing.eip(nodes[0], 2)),
    ]
    for node in nodes:
        index = 3 if node == nodes[0] else 1
        hosts.append(
            Host(
                PROBE.format(node=node), Role.PROBE, addressing.FIRST_PROBE_ID + node, node, addressing.eip(node, index)
            )
        )
    return hosts


class Operations(Protocol):
    """What the daemon can be asked to do."""

    def perform(self, operation: str, arguments: dict[str, Any]) -> tuple[Any, tuple[int, ...]]: ...


class Daemon:
    """A lab from the inside."""

    def __init__(self, config: LabConfig) -> None:
        from testbed.network.cluster import Cluster
        from testbed.network.components import Components
        from testbed.network.process.supervisor import Supervisor

        self.config = config
        self.started_monotonic_s = time.monotonic()
        logs = config.state_folder / "logs"
        cgroups = Cgroups.of_lab(config.name)
        self.supervisor = Supervisor(logs, config.state_folder, cgroups)
        components = Components(config, self.supervisor, static_hosts(config.nodes))
        self.cluster = Cluster(config.datapath, config.state_folder, self.supervisor, cgroups)
        components.start_control_plane()
        self._log("control plane started")
        with ThreadPoolExecutor(1) as beside:  # mostly reading, while the switches' programs begin
            grounds = beside.submit(self._make_grounds, cgroups)
            self.cluster.build(config.nodes)
            grounds.result()
        self._log("nodes and trunks stand")
        with ThreadPoolExecutor() as pool:
            list(
                pool.map(lambda host: self.cluster.add_host(host.name, host.node, host.eip), static_hosts(config.nodes))
            )
        if config.delay_ms:
            for a, b in self.cluster.trunks:
                self.cluster.set_link(a, b, {"delay_ms": config.delay_ms})
        self.cluster.join_host_to_management("gateway", addressing.GATEWAY_MANAGEMENT_IP)
        components.start_gateway(self.cluster.pid("gateway"))
        self._log("hosts stand, gateway started")
        self._await_controller()
        self.cluster.connect_controller()
        self._log("switches pointed at the controller")
        self.cluster.pool.keep_filled(config.nodes[1:])

    def _make_grounds(self, cgroups: Cgroups) -> None:
        """Where functions, stores and gateways are kept. LabError on a machine on which they cannot be."""
        grounds = Grounds.of_lab(self.config.state_folder)
        grounds.prepare(cgroups.shown_names)
        nobodys = addressing.eip(self.config.nodes[0], addressing.LAST_ID)
        grounds.try_out(self.config.state_folder / "images", addressing.user_id(self.config.name, nobodys))
        self._log("places can be made")

    def _await_controller(self) -> None:
        """Wait until the controller listens; if it never does, the switches will find it when it comes."""
        deadline = time.monotonic() + CONTROLLER_START_S
        while not listens(addressing.OPENFLOW_PORT) and time.monotonic() < deadline:
            time.sleep(0.01)

    def _log(self, what: str) -> None:
        print(f"{time.monotonic() - self.started_monotonic_s:7.3f} s  {what}", flush=True)

    def perform(self, operation: str, arguments: dict[str, Any]) -> tuple[Any, tuple[int, ...]]:
        """The result of one operation and the descriptors that go with it."""
        cluster = self.cluster
        match operation:
            case "status":
                return self._status(), ()
            case "netns":
                return None, (cluster.netns(arguments["name"]),)
            case "add_host":
                cluster.add_host(**arguments)
            case "refill":
                cluster.pool.allow_refill(arguments["allowed"])
            case "set_link":
                cluster.set_link(arguments["a"], arguments["b"], arguments["settings"])
            case "restart" | "keep_away":
                getattr(self.supervisor, operation)(**arguments)
            case "delete_host" | "has_host" | "hosts" | "pid" | "links":
                return getattr(cluster, operation)(**arguments), ()
            case _:
                raise LabError(
                    f"the lab's daemon knows no operation {operation!r}; client and daemon differ in version"
                )
        return None, ()

    def _status(self) -> dict[str, Any]:
        return {
            "name": self.config.name,
            "phase": "ready",
            "datapath": self.config.datapath,
            "nodes": list(self.config.nodes),
            "gateway_command": list(self.config.gateway_command),
            "uptime_s": round(time.monotonic() - self.started_monotonic_s, 3),
            "components": self.supervisor.describe(),
            "hosts": self.cluster.hosts(),
            "prepared": self.cluster.pool.counts(),
        }


class _Starting:
    """Answers while the lab is being built, and keeps the reason when that fails."""

    def __init__(self, config: LabConfig) -> None:
        self.config = config
        self.failure: str | None = None

    def perform(self, operation: str, arguments: dict[str, Any]) -> tuple[Any, tuple[int, ...]]:
        if operation == "status":
            phase = "failed" if self.failure else "starting"
            return {"name": self.config.name, "phase": phase, "reason": self.failure}, ()
        raise LabError("the lab is still starting; wait for `testbed status` to say ready")


class _Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    request_queue_size = 128
    operations: Operations


class _Handler(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        try:
            request, _ = protocol.receive(self.request)
        except ConnectionError:
            return
        fds: tuple[int, ...] = ()
        try:
            result, fds = cast(_Server, self.server).operations.perform(request["operation"], request["arguments"])
            protocol.send(self.request, {"result": result}, fds)
        except TestbedError as error:
            protocol.send(self.request, {"error": str(error), "kind": type(error).__name__})
        except BrokenPipeError:
            pass  # the client has gone; what it asked for is done
        finally:
            for fd in fds:
                os.close(fd)


def serve(config: LabConfig) -> None:
    """Build the lab and answer clients until killed."""
    starting = _Starting(config)
    server = _Server(str(config.state_folder / "lab.sock"), _Handler)
    (config.state_folder / "lab.sock").chmod(0o600)  # whoever may connect may do everything
    server.operations = starting
    threading.Thread(target=server.serve_forever, name="answers", daemon=True).start()
    try:
        server.operations = Daemon(config)
    except TestbedError as error:
        starting.failure = str(error)
    signal.pause()


def prepare_mounts(config: LabConfig) -> None:
    """Give the lab names of its own, among them that of the gateway."""
    gateway = f"{addressing.vip(addressing.GATEWAY_ID)} {' '.join(GATEWAY_NAMES)}"
    machine = f"127.0.1.1 {os.uname().nodename}"  # as Debian does
    names.provide(config.state_folder / "names", f"127.0.0.1 localhost\n{machine}\n{gateway}\n")


def allow_open_files(count: int) -> None:
    """Let this process, and those that it starts, have so many open files, as far as the machine allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count if hard == resource.RLIM_INFINITY else min(count, hard)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def be_init(child: int) -> int:
    """Reap every process of the lab's PID namespace until the daemon ends; returns its exit code."""
    while True:
        pid, status = os.wait()
        if pid == child:
            return os.waitstatus_to_exitcode(status)


def main() -> None:
    config = LabConfig.load(Path(sys.argv[1]))
    allow_open_files(OPEN_FILES)
    child = os.fork()
    if child:
        if config.listen_fd is not None:
            os.close(config.listen_fd)
        sys.exit(be_init(child))
    os.setsid()
    if config.listen_fd is not None:
        os.set_inheritable(config.listen_fd, False)
    prepare_mounts(config)
    serve(config)


if __name__ == "__main__":
    main()

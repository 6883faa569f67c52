"""What the subjects that need a lab share: a lab of their own, a chain deployed in it, the processes behind it."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from testbed.model import addressing
from testbed.model.application import Application
from testbed.model.checkout import CHECKOUT
from testbed.model.cluster import ClusterState, Instance, Phase
from testbed.model.errors import LabError
from testbed.model.stack import stack_file
from testbed.network.lab import Lab
from testbed.network.process.namespaces import call_within
from testbed.platform.client.bringup import start_lab

T = TypeVar("T")
HEALTH = "/_/health"
CALL_TIMEOUT_S = 5.0
CHAIN = CHECKOUT / "functions" / "chain" / "stack.yaml"


@contextmanager
def fresh_lab() -> Iterator[Lab]:
    """A lab of this process's own, which this thread is inside of for the block."""
    with start_lab(name=f"bench-{os.getpid()}") as lab, lab.inside():
        yield lab


def chain(length: int, environment: Mapping[str, str] | None = None) -> Application:
    """The first `length` functions of the chain."""
    loaded = stack_file.load(CHAIN, dict(environment or {}))
    names = "|".join(str(n) for n in range(1, length + 1))
    return stack_file.select(loaded, f"^chain-({names})$")[0]


def instance_of(state: ClusterState, function: str, namespace: str) -> Instance:
    """The first ready instance of a function, whatever else drains. LabError when there is none."""
    for instance in state.instances.values():
        if (instance.function, instance.namespace) == (function, namespace) and instance.phase is Phase.READY:
            return instance
    raise LabError(f"{function}.{namespace} has no instance that is ready; see `testbed list`")


def in_host(lab: Lab, host: str, function: Callable[[], T]) -> T:
    """The result of `function()` with sockets that belong to `host`."""
    namespace = lab.client.netns(host)
    try:
        return call_within(namespace, function)
    finally:
        os.close(namespace)


def call_ms(address: str, path: str = HEALTH, local_port: int = 0, timeout_s: float = CALL_TIMEOUT_S) -> float:
    """One call on a new connection, until the answer is whole, in ms; OSError when there is none, or not 200."""
    request = f"GET {path} HTTP/1.1\r\nHost: b\r\nConnection: close\r\n\r\n".encode()
    started = time.perf_counter()
    target = (address, addressing.FUNCTION_PORT)
    with socket.create_connection(target, timeout=timeout_s, source_address=("", local_port)) as connection:
        connection.sendall(request)
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
    if not answer.startswith(b"HTTP/1.1 200"):
        raise OSError(f"{address}{path} answered {answer[:60]!r}")
    return 1000 * (time.perf_counter() - started)


def component_pid(lab: Lab, name: str) -> int:
    """A component's process as this machine numbers it. LabError when it does not run."""
    inner = lab.client.status()["components"].get(name, {}).get("pid")
    level = len(_pids(Path(f"/proc/{lab.init_pid}"))) - 1
    for folder in Path("/proc").glob("[0-9]*") if inner else ():
        try:
            if _pids(folder)[level:][:1] == [inner] and _is_in_lab(folder, lab):
                return int(folder.name)
        except OSError:  # it has ended meanwhile
            continue
    raise LabError(f"the lab's {name} does not run; see {lab.state_folder}/logs/{name}.out")


def _pids(folder: Path) -> list[int]:
    """A process's number in this PID namespace and in each below it that it is in."""
    line = next(line for line in (folder / "status").read_text().splitlines() if line.startswith("NSpid:"))
    return [int(word) for word in line.split()[1:]]


def _is_in_lab(folder: Path, lab: Lab) -> bool:
    """Whether it is in the lab's PID namespace, or was started there in one below."""
    lab_namespace = Path(f"/proc/{lab.init_pid}/ns/pid").readlink()
    while (folder / "ns" / "pid").readlink() != lab_namespace:
        status = (folder / "status").read_text()
        parent = next(line for line in status.splitlines() if line.startswith("PPid:")).split()[1]
        if parent == "0":
            return False
        folder = Path("/proc", parent)
    return True

"""What a lab costs: its start, a sandbox, a change's way into the switches, and the pipeline on a call.

`python -m bench.lab`, as root. The pipeline is compared with plain forwarding rows between the same two hosts,
call by call in turn.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median, quantiles

import requests

from testbed import addressing, stack
from testbed.model import ClusterState, Instance, Route
from testbed.network.lab import CHECKOUT, Lab
from testbed.network.namespace import call_within
from testbed.platform.bringup import start_lab
from testbed.platform.client import Platform

STARTS, SANDBOXES, CHANGES, CALLS = 3, 15, 100, 1500
SETTLE_S = 0.05
PLAIN_PRIORITY = 300
"""Above every row of the pipeline's first table."""
PIPELINE_PORTS, PLAIN_PORTS, PORTS_MASK = 0x4000, 0x8000, 0xC000
"""First local ports of the two kinds of call: answers look alike otherwise, and only some may pass conntrack by."""


@dataclass(frozen=True)
class Result:
    """One budget: what was measured, in which unit, against which limit."""

    what: str
    measured: float
    budget: float
    unit: str

    def __str__(self) -> str:
        verdict = "kept" if self.measured <= self.budget else "MISSED"
        return f"{self.what:<64} {self.measured:>9.2f} {self.unit:<3} budget {self.budget:>6.1f}  {verdict}"


def elapsed_s(action: Callable[[], object]) -> float:
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def add_sandboxes(lab: Lab) -> list[float]:
    """Milliseconds that each of SANDBOXES hosts took, from the request to its answer."""
    return [
        1000 * elapsed_s(lambda n=n: lab.client.add_host(f"bench{n}", 3, addressing.eip(3, 1000 + n)))  # type: ignore[misc]
        for n in range(SANDBOXES)
    ]


def start_with_hosts() -> tuple[float, list[float]]:
    """Seconds until a lab of three nodes with 20 hosts takes deployments, and each sandbox's milliseconds."""
    started = time.perf_counter()
    with start_lab(name=f"bench-{os.getpid()}") as lab:
        sandboxes = add_sandboxes(lab)
        return time.perf_counter() - started, sandboxes


def instance_of(state: ClusterState, function: str) -> Instance:
    return next(instance for instance in state.instances.values() if instance.function == function)


def change_latencies_ms(platform: Platform) -> list[float]:
    """Event at the controller to the last barrier, of CHANGES changes of one instance's readiness."""
    instance = instance_of(platform.state(), "chain-2")
    url = f"{addressing.APISERVER_URL}/instances/{instance.id}/phase"
    latencies = []
    for n in range(CHANGES):
        requests.put(url, json={"phase": "NotReady" if n % 2 == 0 else "Ready"}, timeout=5).raise_for_status()
        version = platform.state().version
        time.sleep(SETTLE_S)  # questions would compete with the change for the controller's one thread
        while platform.applied() < version:
            time.sleep(0.002)
        last = requests.get(f"{addressing.CONTROLLER_URL}/latency", timeout=5).json()[-1]
        latencies.append(sum(last[part] for part in ("generate_ms", "translate_ms", "install_ms")))
    return latencies


def add_plain_rows(lab: Lab, a: Instance, b: Instance) -> None:
    """Rows that carry a's calls to b's eIP, and the answers, past the pipeline: those from PLAIN_PORTS."""
    for source, target, port in ((a, b, "tp_src"), (b, a, "tp_dst")):
        row = (
            f"table=0,priority={PLAIN_PRIORITY},tcp,in_port={addressing.port_name(source.eip)},nw_dst={target.eip}"
            f",{port}={PLAIN_PORTS:#x}/{PORTS_MASK:#x}"
            f",actions=mod_dl_dst:{addressing.mac(target.eip)},output:{addressing.port_name(target.eip)}"
        )
        command = ["env", f"OVS_RUNDIR={lab.state_folder}/ovs/s{a.node}", "ovs-ofctl", "-O", "OpenFlow13"]
        subprocess.run(lab.command(f"node{a.node}", [*command, "add-flow", f"s{a.node}", row]), check=True)


def call_ms(address: str, port: int) -> float:
    """One call on a new connection from a local port, until the answer is whole."""
    started = time.perf_counter()
    target = (address, addressing.FUNCTION_PORT)
    with socket.create_connection(target, timeout=5, source_address=("", port)) as connection:
        connection.sendall(b"GET /_/health HTTP/1.1\r\nHost: b\r\nConnection: close\r\n\r\n")
        while connection.recv(65536):
            pass
    return 1000 * (time.perf_counter() - started)


def pipeline_over_plain_pct(lab: Lab, platform: Platform) -> float:
    """How much longer, in percent of p50, a call through the whole pipeline takes than one over plain rows."""
    state = platform.state()
    caller, callee = instance_of(state, "chain-1"), instance_of(state, "chain-2")
    add_plain_rows(lab, caller, callee)
    vip = state.functions[callee.function_name].vip

    def in_turn() -> list[tuple[float, float]]:
        return [(call_ms(vip, PIPELINE_PORTS + n), call_ms(callee.eip, PLAIN_PORTS + n)) for n in range(CALLS)]

    namespace = lab.client.netns(caller.id)
    pairs = call_within(namespace, in_turn)
    os.close(namespace)
    through, plain = (median(values) for values in zip(*pairs, strict=True))
    print(f"a call: {through:.3f} ms through the pipeline, {plain:.3f} ms over plain rows (p50 of {CALLS})")
    return 100 * (through / plain - 1)


def main() -> int:
    starts, sandboxes = zip(*(start_with_hosts() for _ in range(STARTS)), strict=True)
    with start_lab(name=f"bench-{os.getpid()}") as lab:
        lab.enter()
        platform = Platform(lab)
        application, _ = stack.select(stack.load(CHECKOUT / "functions/chain/stack.yaml", {}), "^chain-[12]$")
        platform.deploy(application, "bench", Route.DIRECT, "node2")
        changes = change_latencies_ms(platform)
        platform.wait_ready()
        added_pct = pipeline_over_plain_pct(lab, platform)
        datapath = lab.datapath
    results = [
        Result(f"lab ready, three nodes and 20 hosts ({datapath} datapath)", median(starts), 2.0, "s"),
        Result("one more sandbox, p50", median([ms for each in sandboxes for ms in each]), 15.0, "ms"),
        Result("one instance's change: event to barrier of every switch, p50", median(changes), 2.0, "ms"),
        Result("the same, p99", quantiles(changes, n=100)[98], 5.0, "ms"),
        Result("pipeline over plain rows, added p50 of a call", added_pct, 5.0, "%"),
    ]
    print(*results, sep="\n")
    return 0 if all(result.measured <= result.budget for result in results) else 1


if __name__ == "__main__":
    sys.exit(main())

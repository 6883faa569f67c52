"""The effects of the chain-length experiment: a lab, three deployments, and the few things done to them.

Everything that touches the lab, the platform or the gateway goes through here; what is done when, and
what it means, is decided elsewhere.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import requests
from prometheus_client.parser import text_string_to_metric_families

from experiments.chain_plan import ARMS, DIRECT_ARM, ChainConfig
from experiments.load.client import Driver
from testbed.measure.calibration import TrunkProbe
from testbed.measure.cpu import CpuMeter
from testbed.model import addressing
from testbed.model.application import Application
from testbed.model.checkout import FUNCTIONS
from testbed.model.cluster import ClusterState
from testbed.model.errors import LabError
from testbed.model.stack import stack_file
from testbed.network.lab import Lab
from testbed.network.switching import appctl
from testbed.platform.client.bringup import start_lab
from testbed.platform.client.platform import Platform

STACK_FILE = FUNCTIONS / "chain" / "stack.yaml"
CONNECTIONS_METRIC = "testbed_gateway_upstream_connections"
GATEWAY_BACK_TIMEOUT_S = 15.0
WRONG_DELAY_MS = 1.0
PLANTED_SERVICE_MS = "1"

Pair = tuple[str, str]


@dataclass
class ChainSession:
    """A lab with the chain deployed, ready to be measured."""

    config: ChainConfig
    lab: Lab
    platform: Platform
    driver: Driver
    probe: TrunkProbe
    cpu: CpuMeter

    def __post_init__(self) -> None:
        self._http = requests.Session()
        self._http.trust_env = False  # a proxy of the machine's is no way into the lab

    def deploy(self, placement: str) -> dict[str, int]:
        """Deploy every arm with this placement; returns the node of each function of the chain.

        Raises:
            LabError: the arms do not share one function-to-node map.
        """
        for arm in ARMS:
            self.platform.deploy(self._application(arm.namespace), arm.namespace, arm.route, placement)
        self.platform.wait_ready()
        return common_placement(self.platform.state())

    def remove(self) -> None:
        """Remove every arm and wait until its instances are gone."""
        for arm in ARMS:
            self.platform.remove(arm.namespace)

    def _application(self, namespace: str) -> Application:
        names = "|".join(f"chain-{position}" for position in range(1, self.config.longest + 1))
        environment = {**os.environ, "CONNECTION": self.config.connection, "CHAIN_SHAPE": "nested", "SERVICE_MS": "0"}
        application, _ = stack_file.select(stack_file.load(STACK_FILE, environment), f"^({names})$")
        if self.config.plant == "extra-1ms-direct" and namespace == DIRECT_ARM.namespace:
            return slower_first_function(application)
        return application

    def set_delay(self, delay_ms: float) -> None:
        """Set the one-way delay of every trunk."""
        for link in self.lab.client.links():
            self.lab.client.set_link(link["a"], link["b"], delay_ms=delay_ms)

    def plant_wrong_delay(self, delay_ms: float) -> None:
        """Give one trunk another delay than planned."""
        self.lab.client.set_link(1, 2, delay_ms=delay_ms + WRONG_DELAY_MS)

    def read_delays(self) -> dict[str, float]:
        """One-way delay in ms read back from each direction of each trunk ("1-2", "2-1", …)."""
        return {name: delay_ms for link in self.lab.client.links() for name, delay_ms in read_back(link).items()}

    def set_upstream(self, upstream: str) -> None:
        """Restart the gateway with this upstream setting and wait until it forwards requests again."""
        self.lab.client.restart("gateway", {"gateway_upstream": upstream})
        deadline_s = time.monotonic() + GATEWAY_BACK_TIMEOUT_S
        while not self._gateway_knows_functions():
            if time.monotonic() > deadline_s:
                raise LabError("the gateway did not come back after its restart; see `testbed logs gateway`")
            time.sleep(0.05)

    def _gateway_knows_functions(self) -> bool:
        """The gateway learns functions after it listens: ask it for one, from this machine's side."""
        namespace = ARMS[-1].namespace
        try:
            answer = self._http.get(
                f"http://{addressing.GATEWAY_MANAGEMENT_IP}:{addressing.FUNCTION_PORT}/function/chain-1.{namespace}",
                params={"length": 1},
                timeout=2,
            )
        except requests.RequestException:
            return False
        return answer.ok

    def caller_connections(self) -> dict[Pair, int]:
        """Connections by (caller, callee) that the switches' policy rows have counted, over all nodes."""
        return sum_calls(self.platform.counters()["calls"])

    def gateway_connections(self) -> dict[Pair, int]:
        """Connections to functions that the gateway says it has opened since it started."""
        text = self.platform.gateway_metrics()
        if text is None:
            raise LabError("the gateway does not tell its metrics; see `testbed logs gateway`")
        return parse_gateway_connections(text)

    def digests(self) -> dict[str, Any]:
        """Flow digests of the switches, read now, beside those that the generator wants."""
        return self.platform.switches()

    def lost_upcalls(self) -> int | None:
        """Packets that the switches have lost to full upcall queues; None where a switch does not say."""
        counts = [ask_lost_upcalls(socket) for socket in appctl.sockets(self.lab.state_folder)]
        return None if None in counts else sum(count or 0 for count in counts)

    def invocation_logs(self) -> list[Path]:
        """The functions' own logs."""
        return sorted((self.lab.state_folder / "functions").glob("chain-*.log"))


@contextmanager
def open_session(config: ChainConfig, say: Callable[[str], None]) -> Iterator[ChainSession]:
    """Start a lab and what measures it; everything ends with the context.

    The calling thread is in the lab's network meanwhile.
    """
    with ExitStack() as cleanup:
        say("starting the lab")
        lab = start_lab(name=config.lab_name, datapath=config.datapath)
        cleanup.callback(lab.stop)
        cleanup.enter_context(lab.inside())
        lab.client.allow_refill(False)  # sandboxes prepared during a measurement would disturb it
        nodes = lab.client.status()["nodes"]
        probe = cleanup.enter_context(TrunkProbe(lab.client, nodes))
        driver = Driver(partial(lab.popen, "client"), lab.state_folder / "driver")
        cleanup.callback(driver.close)
        yield ChainSession(config, lab, Platform(lab), driver, probe, CpuMeter(lab.init_pid))


@contextmanager
def cpu_hogs(wanted: bool) -> Iterator[list[subprocess.Popen[bytes]]]:
    """As many busy processes outside the lab as there are CPUs, while the block runs; none unless wanted."""
    hogs: list[subprocess.Popen[bytes]] = []
    try:
        if wanted:
            hogs = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(os.cpu_count() or 1)]
        yield hogs
    finally:
        for hog in hogs:
            hog.kill()
            hog.wait()


def slower_first_function(application: Application) -> Application:
    """The application, its first function serving a millisecond longer."""
    first, *others = application.functions
    slower = replace(first, environment={**first.environment, "SERVICE_MS": PLANTED_SERVICE_MS})
    return replace(application, functions=(slower, *others))


def common_placement(state: ClusterState) -> dict[str, int]:
    """The node of each function of the chain, which must be the same in every arm.

    Raises:
        LabError: a function runs on different nodes in different arms; the comparison would not be of routes.
    """
    namespaces = {arm.namespace for arm in ARMS}
    placement: dict[str, set[int]] = {}
    for instance in state.instances.values():
        if instance.namespace in namespaces:
            placement.setdefault(instance.function, set()).add(instance.node)
    for function, nodes in placement.items():
        if len(nodes) > 1:
            raise LabError(f"{function} runs on nodes {sorted(nodes)} in different arms; they must share one placement")
    return {function: next(iter(nodes)) for function, nodes in sorted(placement.items())}


def sum_calls(calls: Sequence[Mapping[str, Any]]) -> dict[Pair, int]:
    """The controller's call counters, summed over nodes."""
    total: dict[Pair, int] = {}
    for call in calls:
        key = (call["caller"], call["callee"])
        total[key] = total.get(key, 0) + call["packets"]
    return total


def ask_lost_upcalls(control_socket: Path) -> int | None:
    """The lost upcalls of one switch daemon; None when it gives no answer, as one that was replaced."""
    try:
        return parse_lost_upcalls(appctl.ask(control_socket, "dpctl/show"))
    except LabError:
        return None


def parse_lost_upcalls(text: str) -> int | None:
    """The sum of "lost:" over the datapaths that `dpctl/show` lists; None when it lists none."""
    counts = re.findall(r"\blost:(\d+)", text)
    return sum(map(int, counts)) if counts else None


def parse_gateway_connections(metrics: str) -> dict[Pair, int]:
    """Connections that the gateway opened to each function, from its metrics."""
    return {
        ("gateway", sample.labels["function_name"]): int(sample.value)
        for family in text_string_to_metric_families(metrics)
        for sample in family.samples
        if sample.name == f"{CONNECTIONS_METRIC}_total"
    }


def read_back(link: Mapping[str, Any]) -> dict[str, float]:
    """The one-way delays that a trunk reports, by direction ("1-2", "2-1")."""
    there, back = link["readback"]
    return {f"{link['a']}-{link['b']}": float(there["delay_ms"]), f"{link['b']}-{link['a']}": float(back["delay_ms"])}

"""A lab of 500 functions: exactly the calls of its call graph pass, whoever else tries at the same time."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.rigs import crowd, trials
from testbed.labkernel import settings
from testbed.model import addressing
from testbed.model.cluster import ClusterState, Route
from testbed.model.stack import stack_file
from testbed.network.lab import Lab
from testbed.platform.client.bringup import start_lab
from testbed.platform.client.platform import Platform
from tests.lab.traffic import in_host

SMALL = settings.inside()
"""In the lab kernel, whose system calls and memory cost more."""
FUNCTIONS, CALLS, SEED = (40, 80, 24) if SMALL else (500, 1000, 24)
ROUNDS, OTHERS = (2, 600) if SMALL else (10, 5000)
"""So many pairs in each round that are not in the call graph, of 248 500 (in the lab kernel, of 1 480). With the calls
they are more than Linux keeps neighbours."""
PERMANENT = "0x6"
FEW_FILES = 512
GRAPH = crowd.call_graph(FUNCTIONS, CALLS, SEED)


@pytest.fixture(scope="module")
def few_files() -> Iterator[None]:
    """What is started has a limit of open files like that of any shell, or lower."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (FEW_FILES, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.fixture(scope="module")
def state(few_files: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Lab, ClusterState]]:
    """A lab of its own with all of them ready."""
    file = crowd.write(tmp_path_factory.mktemp("crowd") / "stack", GRAPH)
    with start_lab(name=f"crowd-{os.getpid()}") as lab, lab.inside():
        platform = Platform(lab)
        platform.deploy(stack_file.load(file, {}), "crowd", Route.DIRECT, "spread")
        yield lab, platform.state()


def neighbours(lab: Lab, host: str) -> list[list[str]]:
    """The host's neighbour entries: address, hardware type, flags, MAC, mask, device."""
    table = in_host(lab, host, lambda: Path("/proc/thread-self/net/arp").read_text())
    return [line.split() for line in table.splitlines()[1:]]


def test_every_call_of_the_graph_passes_and_no_other(state: tuple[Lab, ClusterState]) -> None:
    lab, cluster = state
    others = trials.other_pairs(GRAPH, ROUNDS * OTHERS, SEED)
    for number in range(ROUNDS):
        trial = trials.everybody(lab, cluster, "crowd", GRAPH, others[number::ROUNDS])
        assert (trial.allowed, trial.denied) == (CALLS, OTHERS)
        assert (trial.failed, trial.passed) == ([], [])


def test_a_host_knows_one_neighbour_whoever_it_calls(state: tuple[Lab, ClusterState]) -> None:
    lab, cluster = state
    entry = [addressing.NEXT_HOP, "0x1", PERMANENT, addressing.VIRTUAL_MAC, "*", "eth0"]
    assert {host: neighbours(lab, host) for host in cluster.instances} == {host: [entry] for host in cluster.instances}

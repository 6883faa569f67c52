"""Who gets through to whom in a crowd, tried by real connections from inside every instance, all of them at once."""

from __future__ import annotations

import random
import resource
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from testbed.model.addressing import FUNCTION_PORT
from testbed.model.cluster import ClusterState
from testbed.network.hosts.attempts import Attempt, Result, Sockets, try_requests
from testbed.network.hosts.frames import in_host
from testbed.network.lab import Lab

REQUEST = b"GET / HTTP/1.1\r\nHost: crowd\r\nConnection: close\r\n\r\n"
SILENT_S = 3.0
"""So long nobody may answer what is not allowed."""
ANSWERED_S = 20.0
"""A call that is allowed is answered in milliseconds. On a busy machine, when thousands begin at once, segments wait
for hundreds of them and are lost, and are repeated at growing intervals."""
SPARE_DESCRIPTORS = 500


@dataclass(frozen=True)
class Trial:
    """What was tried and differed: `failed` should have been answered, `passed` should not."""

    allowed: int
    denied: int
    failed: Sequence[tuple[str, str]]
    passed: Sequence[tuple[str, str]]


def other_pairs(graph: Mapping[str, Sequence[str]], count: int, seed: int) -> list[tuple[str, str]]:
    """So many pairs of functions that are not in the call graph, as many for every caller; no pair twice.

    Fewer where a caller has no more.
    """
    chance, found = random.Random(seed), []
    for caller, callees in graph.items():
        others = [one for one in graph if one != caller and one not in callees]
        found += [(caller, one) for one in chance.sample(others, min(count // len(graph), len(others)))]
    return found


def everybody(
    lab: Lab, state: ClusterState, namespace: str, graph: Mapping[str, Sequence[str]], others: Sequence[tuple[str, str]]
) -> Trial:
    """Every call of the graph, and `others`, at the same time: a GET from an instance of the caller to the vIP."""
    calls = [(caller, callee) for caller, callees in graph.items() for callee in callees]
    instances = {one.function: one for one in state.instances.values() if one.namespace == namespace}
    vips = {one.name: one.vip for one in state.functions.values() if one.namespace == namespace}

    def attempt(caller: str, callee: str) -> Attempt:
        return Attempt(instances[caller].id, instances[caller].eip, vips[callee], FUNCTION_PORT, REQUEST)

    def run_in(host: str, opens: Callable[[], Sockets]) -> Sockets:
        return in_host(lab.client, host, opens)

    def run(pairs: Sequence[tuple[str, str]], wait_s: float) -> dict[tuple[str, str], Result]:
        attempts = {attempt(*pair): pair for pair in pairs}
        outcomes = try_requests(run_in, list(attempts), wait_s, at_once=len(attempts))
        return {attempts[one]: outcome.result for one, outcome in outcomes.items()}

    allow_descriptors(len(calls) + len(others) + SPARE_DESCRIPTORS)
    with ThreadPoolExecutor(2) as pool:
        unwanted = pool.submit(run, others, SILENT_S)
        wanted = pool.submit(run, calls, ANSWERED_S)
    failed = [pair for pair, result in wanted.result().items() if result is not Result.ANSWERED]
    passed = [pair for pair, result in unwanted.result().items() if result is not Result.SILENT]
    return Trial(len(calls), len(others), failed, passed)


def allow_descriptors(count: int) -> None:
    """Let this process have so many open files, as far as the machine does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count if hard == resource.RLIM_INFINITY else min(count, hard)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))

"""How long a lab takes until it is ready: three nodes and 20 hosts, and with hello_retail on both routes."""

from __future__ import annotations

import os
import time

from bench.outcome import Outcome, median_of
from bench.rigs import profiling
from bench.subject import Context
from testbed.model import addressing
from testbed.model.checkout import CHECKOUT
from testbed.model.cluster import Route
from testbed.model.stack import stack_file
from testbed.platform.client.bringup import start_lab
from testbed.platform.client.platform import Platform

HOSTS = 20
FIRST_INDEX = 1000
RETAIL = CHECKOUT / "functions" / "hello_retail" / "stack.yaml"


def with_hosts_s(context: Context, hosts: int, outcome: Outcome) -> float:
    """Seconds from nothing until the control plane answers and the lab has that many hosts."""
    started = time.perf_counter()
    with profiling.daemon(context, "start"), start_lab(name=f"bench-{os.getpid()}") as lab:
        outcome.datapath = lab.datapath
        for n in range(hosts - len(lab.client.hosts())):
            node = 2 + n % 2
            lab.client.add_host(f"bench{n}", node, addressing.eip(node, FIRST_INDEX + n))
        took_s = time.perf_counter() - started
        profiling.write_daemon(context, lab, "start")
        return took_s


def with_retail_s() -> float:
    """Seconds from nothing until hello_retail is ready on both routes."""
    application = stack_file.load(RETAIL, {})
    started = time.perf_counter()
    with start_lab(name=f"bench-{os.getpid()}") as lab, lab.inside():
        platform = Platform(lab)
        for route in Route:
            platform.deploy(application, f"retail-{route.value}", route, "spread")
        return time.perf_counter() - started


def run(context: Context) -> Outcome:
    outcome = Outcome()
    starts, retail = context.count(5, 1), context.count(2, 0) if RETAIL.exists() else 0
    steps = starts + 4 * retail
    times_s, retail_s = [], []
    for n in range(starts):
        context.progress(n / steps, f"start {n + 1} of {starts}")
        times_s.append(with_hosts_s(context, HOSTS, outcome))
    for n in range(retail):
        context.progress((starts + 4 * n) / steps, f"hello_retail on both routes, {n + 1} of {retail}")
        retail_s.append(with_retail_s())
    outcome.add_series("lab ready with 20 hosts", "s", times_s)
    outcome.add_series("lab ready with hello_retail", "s", retail_s)
    outcome.figure("lab-ready", median_of(times_s, context.seed))
    if retail_s:
        outcome.figure("lab-ready-retail", median_of(retail_s, context.seed))
    else:
        outcome.figure("lab-ready-retail", None, "not run")
    return outcome

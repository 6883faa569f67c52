"""The budgets, by name: what is measured, how much it may be, and which subject measures it. Data only.

A budget without a limit is a figure that is reported beside the others and judged by nobody.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Verdict(str, Enum):
    """What a run says about a budget."""

    MET = "met"
    MISSED = "missed"
    UNVERIFIED = "unverified"
    NONE = ""


@dataclass(frozen=True)
class Budget:
    """`measured <= limit` keeps it. `name` is unique; `what` is a line of the table in docs/performance.md."""

    subject: str
    name: str
    what: str
    limit: float | None
    unit: str


BUDGETS = (
    Budget("gateway", "gateway-p50", "gateway: added p50 over a direct call, worst cell over HAProxy's", 2.0, "times"),
    Budget("gateway", "gateway-cpu", "gateway: CPU per request, worst cell over HAProxy's", 3.0, "times"),
    Budget("gateway", "gateway-errors", "gateway: requests that failed", 0, ""),
    Budget("gateway", "gateway-stalls", "gateway: stalled answers (38 to 46 ms), worst cell", 0.5, "%"),
    Budget("streams", "upload-growth", "gateway: memory added by an upload of 2 GiB that streams through", 50, "MB"),
    Budget("streams", "upload-rate", "gateway: rate of that upload", None, "MB/s"),
    Budget("streams", "idle-left", "gateway: memory left over 10 s after 10 000 idle connections closed", 50, "MB"),
    Budget("streams", "idle-refused", "gateway: of 10 000 idle connections, not accepted", 0, ""),
    Budget("pipeline", "pipeline-p50", "direct call through the whole pipeline over plain rows: added p50", 5, "%"),
    Budget("changes", "change-p50", "one new instance: event to all barriers, p50 over a bare bundle", 2, "times"),
    Budget("changes", "change-p99", "the same, p99 over its p99", 4, "times"),
    Budget("changes", "join-p50", "the same beside another instance, p50", 2, "times"),
    Budget("changes", "join-p99", "the same beside another instance, p99", 4, "times"),
    Budget("generator", "generator-full", "generator: 1 000 functions, 5 000 instances, 3 000 calls", 1, "s"),
    Budget("generator", "generator-change", "generator: one instance's change among 1 000 functions, p50", 1, "ms"),
    Budget("generator", "generator-growth", "generator: growth exponent, 100 to 10 000 functions", 1.1, ""),
    Budget("generator", "generator-change-growth", "generator: one change, 10 000 functions over 100", 1.3, "times"),
    Budget("generator", "generator-namespace-growth", "generator: growth exponent, one namespace to 4 000", 1.1, ""),
    Budget("generator", "generator-namespace-change", "the same, one namespace of 1 000 over many of 20", 1.3, "times"),
    Budget("generator", "generator-policies-growth", "the same, all its calls limited and mirrored", 1.1, ""),
    Budget("generator", "generator-policies-change", "the same, all calls limited and mirrored", 1.3, "times"),
    Budget("activation", "activation-direct", "0→1 direct: readiness probe to first answer, p50", 50, "ms"),
    Budget("activation", "activation-gateway", "0→1 by gateway: readiness probe to first answer, p50", 50, "ms"),
    Budget("activation", "activation-lost", "0→1: first calls without an answer", 0, ""),
    Budget("isolation", "isolation-python", "isolation of a cold start over `unshare` + `setpriv`: Python", 2, "times"),
    Budget("isolation", "isolation-node", "the same: Node.js", 2, "times"),
    Budget("isolation", "isolation-ruby", "the same: Ruby", 2, "times"),
    Budget("isolation", "isolation-java", "the same: Java", 2, "times"),
    Budget("flood", "flood-lost", "packet-in flood: the other tenant's calls without an answer", 0, ""),
    Budget("flood", "flood-p50", "packet-in flood: the other tenant's p50 over that without it", None, "times"),
    Budget("flood", "flood-controller", "packet-in flood: the controller's CPU", None, "% of a core"),
    Budget("hang", "hang-scale", "another node's switch hangs: a scaling over the same without", 1.3, "times"),
    Budget("hang", "hang-change", "another node's switch hangs: one change over the same without", 1.3, "times"),
    Budget("hang", "hang-cold", "another node's switch hangs: a cold call over the same without", 1.3, "times"),
    Budget("sandboxes", "sandbox-p50", "one more sandbox at run time, p50 of 200", 15, "ms"),
    Budget("sandboxes", "sandbox-slope", "growth of that time with each sandbox there is", None, "µs"),
    Budget("sandboxes", "sandbox-burst", "50 sandboxes at once, time for each", None, "ms"),
    Budget("start", "lab-ready", "lab ready: three nodes and 20 hosts", 2, "s"),
    Budget("start", "lab-ready-retail", "lab ready with hello_retail on both routes", 15, "s"),
    Budget("crowd", "crowd-growth", "deploying 500 functions: time for each over that of 50", 1.5, "times"),
    Budget("crowd", "crowd-failed", "500 functions, all at once: calls of the call graph that fail", 0, ""),
    Budget("crowd", "crowd-passed", "the same: other calls that pass", 0, ""),
    Budget("crowd", "crowd-memory", "the same: the machine's memory for each, server of few lines", None, "MB"),
    Budget("crowd", "crowd-python", "the same, python3-http", None, "MB"),
    Budget("lab-kernel", "lab-kernel-ready", "lab ready in the lab kernel: three nodes and 20 hosts", 90, "s"),
    Budget("experiment", "experiment-default", "`experiment` with no argument, set up already", 3, "min"),
)  # fmt: skip


def budget(name: str) -> Budget:
    """The budget of this name; KeyError when there is none."""
    for one in BUDGETS:
        if one.name == name:
            return one
    raise KeyError(name)


def verdict(limit: float | None, measured: float | None, *, enough: bool) -> Verdict:
    """What a measurement says. `enough` is whether it was large enough to conclude anything."""
    if limit is None:
        return Verdict.NONE
    if measured is None or not enough:
        return Verdict.UNVERIFIED
    return Verdict.MET if measured <= limit else Verdict.MISSED

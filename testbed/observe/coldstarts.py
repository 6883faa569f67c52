"""Where the time of cold starts went: decision, sandbox, launch, isolation, readiness, rows.

Computes from what the apiserver kept of each start and the controller of each change; asks nobody itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

PHASES = ("decision", "sandbox", "launch", "isolation", "readiness", "rows")
"""decision: the apiserver made the instance -> its node's agent knows; sandbox: -> host with its port stands;
launch: -> its command, environment and secrets are known, and its callees are there; isolation: -> its place is made
and its program is started there; readiness: -> it answered its own probe; rows: the controller's work until every
switch confirmed."""
_ENDS = ("decided_ns", "noticed_ns", "sandbox_ns", "launch_ns", "process_ns", "ready_ns")


@dataclass(frozen=True)
class ColdStart:
    """One start of an instance. `phases_ms` has those of PHASES that are known, in their order."""

    instance: str
    function: str
    node: int
    phases_ms: Mapping[str, float]

    @property
    def total_ms(self) -> float:
        return sum(self.phases_ms.values())


def cold_starts(kept: Sequence[Mapping[str, Any]], latencies: Sequence[Mapping[str, Any]]) -> list[ColdStart]:
    """From the apiserver's GET /coldstarts and the controller's GET /latency, in the apiserver's order."""
    return [ColdStart(one["instance"], one["function"], one["node"], _phases(one, latencies)) for one in kept]


def medians_ms(starts: Sequence[ColdStart]) -> dict[str, float]:
    """The median of each phase, and of the total, over those starts for which it is known."""
    values = {name: [one.phases_ms[name] for one in starts if name in one.phases_ms] for name in PHASES}
    values["total"] = [one.total_ms for one in starts]
    return {name: median(each) for name, each in values.items() if each}


def _phases(one: Mapping[str, Any], latencies: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    phases = {
        name: (one[end] - one[begin]) / 1e6
        for name, begin, end in zip(PHASES, _ENDS, _ENDS[1:], strict=False)
        if begin in one and end in one
    }
    # Several changes may go to the switches as one: theirs is the first that is at least as new.
    change = min((each for each in latencies if each["version"] >= one["version"]), key=_version, default=None)
    if change is not None:
        phases["rows"] = change["generate_ms"] + change["translate_ms"] + change["install_ms"]
    return phases


def _version(change: Mapping[str, Any]) -> int:
    return int(change["version"])

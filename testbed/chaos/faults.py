"""The faults that a lab can be given: what each does, to what, and what must hold meanwhile and afterwards.

Pure: names, sentences and the resolution of targets. `injection` does it.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum

from testbed.model import datastores
from testbed.model.cluster import ClusterState, Phase
from testbed.model.errors import UsageError


class TargetKind(StrEnum):
    """What a fault can be done to."""

    COMPONENT = "component"
    INSTANCE = "instance"
    TRUNK = "trunk"
    FUNCTION = "function"


@dataclass(frozen=True)
class Target:
    """One thing of a running lab. `name` is the component, the instance id, "node1-node2" or "name.namespace"."""

    kind: TargetKind
    name: str

    @property
    def nodes(self) -> tuple[int, int]:
        """The two nodes of a trunk."""
        a, b = re.findall(r"\d+", self.name)
        return int(a), int(b)


@dataclass(frozen=True)
class Fault:
    """`lasts_s`: how long it lasts unless told otherwise; None: it happens at once and is over."""

    name: str
    targets: tuple[TargetKind, ...]
    does: str
    lasts_s: float | None = None


_PROCESS = (TargetKind.COMPONENT, TargetKind.INSTANCE)
_COMPONENT = (TargetKind.COMPONENT,)

FAULTS = {
    fault.name: fault
    for fault in (
        Fault("kill", _PROCESS, "ends the process by SIGKILL; the lab starts it again"),
        Fault("restart", _COMPONENT, "ends the process by SIGTERM and starts it again"),
        Fault("stop", _COMPONENT, "ends the process and keeps it away for a while", 5.0),
        Fault("hang", _PROCESS, "stops the process where it is (SIGSTOP) and lets it go on after a while", 5.0),
        Fault("down", (TargetKind.TRUNK,), "loses every packet between two nodes for a while", 5.0),
        Fault("lossy", (TargetKind.TRUNK,), "loses --loss percent of the packets between two nodes", 10.0),
        Fault("flood", (TargetKind.INSTANCE,), "has the instance's host send --rate connection requests a second", 5.0),
        Fault("overload", (TargetKind.FUNCTION,), "has --clients clients call the function without a pause", 10.0),
    )
}

_MUST_HOLD = {
    "controller": "established and new calls to running instances never fail; differences are reconciled afterwards",
    "apiserver": "no deployment, secret or vIP is lost; calls to running instances go on",
    "scaler": "no function changes its number of instances meanwhile; calls to running instances go on",
    "gateway": "direct calls go on and no counter goes back; calls by way of the gateway fail until it is there again",
    "agent": "the node's instances run on, and are adopted by the agent that follows",
    "s": "flows and groups are back within 3 s of the daemon, no manual step; only this node's calls suffer",
    "s-ovsdb": "traffic goes on; ports are added again once the database is back",
    TargetKind.INSTANCE: "out of its group within 1 s of a crash, then replaced; other instances' calls are unharmed",
    "store": "calls of its owners wait for it, or are reset within 10 s; its data is there afterwards",
    TargetKind.TRUNK: "calls over it fail within their own timeout and work again afterwards; others are unharmed",
    "flood": "punts are metered: the control plane answers and no call of another namespace fails",
    "overload": "errors are counted and shown; the control plane answers",
}


def must_hold(fault: Fault, target: Target) -> str:
    """What must hold while and after `fault` is done to `target`, in a sentence."""
    if fault.name in _MUST_HOLD:
        return _MUST_HOLD[fault.name]
    if target.kind is TargetKind.COMPONENT:
        return _MUST_HOLD.get(re.sub(r"\d+", "", target.name), "it is started again, and calls go on as they were")
    if target.name.partition(".")[0] in datastores.KINDS:
        return _MUST_HOLD["store"]
    return _MUST_HOLD[target.kind]


def expectations() -> list[tuple[str, str]]:
    """(target or fault, what must hold) for a reader."""
    words = {
        "agent": "agentN",
        "s": "sN",
        "s-ovsdb": "sN-ovsdb",
        "instance": "an instance",
        "store": "a store",
        "trunk": "a trunk",
    }
    return [(words.get(str(key), str(key)), sentence) for key, sentence in _MUST_HOLD.items()]


def named(name: str) -> Fault:
    """The fault of this name, or a UsageError that lists them."""
    if name not in FAULTS:
        raise UsageError(f"there is no fault {name!r}; `testbed chaos list` explains {', '.join(FAULTS)}")
    return FAULTS[name]


def resolve(
    fault: Fault, name: str | None, components: Collection[str], trunks: Collection[tuple[int, int]],
    state: ClusterState,
) -> Target:  # fmt: skip
    """What `name` stands for in a lab of these parts, as far as `fault` can be done to it; else a UsageError.

    A function's name stands for one of its instances where a fault wants an instance.
    """
    if name is None:
        raise UsageError(f"`chaos {fault.name}` needs a target: {_wanted(fault)}")
    for kind in fault.targets:
        found = _find(kind, name, components, trunks, state)
        if found is not None:
            return Target(kind, found)
    known = {
        TargetKind.COMPONENT: sorted(components),
        TargetKind.INSTANCE: sorted(state.instances),
        TargetKind.TRUNK: [_trunk_name(*trunk) for trunk in trunks],
        TargetKind.FUNCTION: sorted(state.without_stores().functions),
    }
    there = ", ".join(one for kind in fault.targets for one in known[kind]) or "none"
    raise UsageError(f"`chaos {fault.name}` knows no {name!r}; it takes {_wanted(fault)}, there are: {there}")


def _find(
    kind: TargetKind, name: str, components: Collection[str], trunks: Collection[tuple[int, int]], state: ClusterState
) -> str | None:
    match kind:
        case TargetKind.COMPONENT:
            return name if name in components else None
        case TargetKind.INSTANCE:
            ready = (i.id for i in state.instances.values() if i.function_name == name and i.phase is Phase.READY)
            return name if name in state.instances else next(ready, None)
        case TargetKind.FUNCTION:
            return name if name in state.without_stores().functions else None
        case TargetKind.TRUNK:
            ends = tuple(sorted(int(number) for number in re.findall(r"\d+", name)))
            return _trunk_name(ends[0], ends[1]) if ends in trunks else None


def _trunk_name(a: int, b: int) -> str:
    return f"node{a}-node{b}"


def _wanted(fault: Fault) -> str:
    examples = {
        TargetKind.COMPONENT: "a component (controller, gateway, agent2, s2, …)",
        TargetKind.INSTANCE: "an instance (chain-2.tenant-a.1) or its function",
        TargetKind.TRUNK: "a trunk (node1-node2)",
        TargetKind.FUNCTION: "a function (chain-1.tenant-a)",
    }
    return " or ".join(examples[kind] for kind in fault.targets)

"""Scheduling decisions: how many instances to make or drain, on which node, with which address.

Pure: values in, values out. It keeps no state and starts nothing; `cluster_state` applies what it decides.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address

from testbed.model import addressing
from testbed.model.annotations import NODE_ANNOTATION
from testbed.model.cluster import Function, Instance, Phase
from testbed.model.errors import PlatformError
from testbed.model.placement import allowed_nodes


@dataclass(frozen=True)
class Plan:
    """`create`: the node of each instance to make; `drain`: ids of instances to take out of service."""

    create: tuple[int, ...] = ()
    drain: tuple[str, ...] = ()


def plan(function: Function, instances: Sequence[Instance], nodes: Sequence[int], load: Mapping[int, int]) -> Plan:
    """What brings `instances` (all of this function's) to its replicas and its revision.

    `load` is the number of instances on each node. Instances of an older revision stay until as many
    of the new one are ready, so that an update interrupts no call.
    """
    alive = [instance for instance in instances if instance.phase is not Phase.DRAINING]
    current = [instance for instance in alive if instance.revision == function.revision]
    outdated = [instance for instance in alive if instance.revision != function.revision]
    ready = sum(instance.phase is Phase.READY for instance in current)
    surplus = len(current) - function.replicas
    superseded = len(outdated) - max(0, function.replicas - ready)
    drain = _worst(current, surplus) + _worst(outdated, superseded)
    create = _choose_nodes(function, current, nodes, load, -surplus)
    return Plan(create, tuple(instance.id for instance in drain))


def next_id(taken: Collection[int], start: int) -> int:
    """The first free id of a function or namespace from `start` on, round and round: none is used again soon."""
    return _next_free(taken, start, addressing.FIRST_FUNCTION_ID, "function ids; remove functions that are not in use")


def next_eip(node: int, taken: Collection[str], start: int) -> tuple[str, int]:
    """The first free eIP of `node` from index `start` on, round and round; and its index."""
    base = int(addressing.eip_network(node).network_address)
    indices = {int(IPv4Address(address)) - base for address in taken}
    index = _next_free(indices, start, 1, f"eIPs on node{node}; scale some functions down")
    return addressing.eip(node, index), index


def _next_free(taken: Collection[int], start: int, first: int, what: str) -> int:
    size = addressing.LAST_ID - first + 1
    for step in range(size):
        candidate = first + (start - first + step) % size
        if candidate not in taken:
            return candidate
    raise PlatformError(f"the lab has run out of {what}")


def _worst(instances: Sequence[Instance], count: int) -> list[Instance]:
    """The `count` instances to lose first: those that serve nobody, then those of the fullest node, then the newest."""
    left, chosen = list(instances), []
    for _ in range(max(0, min(count, len(left)))):
        on_node = Counter(instance.node for instance in left)
        worst = max(left, key=lambda one: (one.phase is not Phase.READY, on_node[one.node], serial(one.id)))
        left.remove(worst)
        chosen.append(worst)
    return chosen


def serial(instance_id: str) -> int:
    """The serial number at the end of an instance id."""
    return int(instance_id.rpartition(".")[2])


def _choose_nodes(
    function: Function, instances: Sequence[Instance], nodes: Sequence[int], load: Mapping[int, int], count: int
) -> tuple[int, ...]:
    """Round the annotation's list; without one, the worker with the fewest instances of this function, then of all."""
    annotation = function.annotations.get(NODE_ANNOTATION, "")
    candidates = allowed_nodes(annotation, nodes)
    own, total = Counter(instance.node for instance in instances), Counter(load)
    chosen = []
    for _ in range(max(0, count)):
        node = min(candidates, key=lambda one: (own[one], 0 if annotation else total[one], candidates.index(one)))
        own[node] += 1
        total[node] += 1
        chosen.append(node)
    return tuple(chosen)

"""Where a deployment lets its functions run: annotations, constraints and placements, read into nodes.

Which of the allowed nodes an instance gets is the apiserver's scheduler's business.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from testbed.model.annotations import NODE_ANNOTATION
from testbed.model.application import Application, call_order
from testbed.model.errors import UsageError

CONTROL_NODE = 1
PLACEMENTS = ("node2", "spread", "pack")

HOSTNAME = "kubernetes.io/hostname"
_FIXED = {"kubernetes.io/os": "linux", "node.platform.os": "linux"}
_CONSTRAINT = re.compile(r"\s*([^=\s]+)\s*==?\s*([^=\s]+)\s*")


def allowed_nodes(annotation: str, nodes: Sequence[int]) -> tuple[int, ...]:
    """The nodes that a `directfaas/node` annotation allows, in its order; every worker when it is "".

    Raises ValueError when it is not a list like "node2,node3" of workers that exist.
    """
    workers = tuple(node for node in nodes if node != CONTROL_NODE)
    if not annotation.strip():
        return workers
    by_name = {f"node{node}": node for node in workers}
    names = [name.strip() for name in annotation.split(",")]
    unknown = [name for name in names if name not in by_name]
    if unknown:
        raise ValueError(f'"{unknown[0]}" is not a worker; there are {", ".join(by_name)}')
    return tuple(by_name[name] for name in names)


def constrained_node(constraint: str) -> str | None:
    """The node that a constraint such as "kubernetes.io/hostname=node2" asks for, None when every node meets it.

    Raises ValueError when it is not a constraint, or no node can meet it.
    """
    found = _CONSTRAINT.fullmatch(constraint)
    if not found:
        raise ValueError(f'"{constraint}" is no constraint; write e.g. {HOSTNAME}=node2')
    label, value = found.groups()
    if label == HOSTNAME:
        return value
    if _FIXED.get(label) != value:
        raise ValueError(f'no node has the label "{label}={value}"; there are {HOSTNAME} and kubernetes.io/os=linux')
    return None


def place(application: Application, placement: str | None, nodes: Sequence[int]) -> dict[str, str]:
    """Function -> its `directfaas/node` annotation. Depends on nothing but the arguments.

    `node2` (or another worker's name): all there. `spread`: the workers in turn, in call order. `pack`:
    node2, except where a function's annotation says otherwise. None: the annotations, and for functions
    without one as `spread`. Raises UsageError.
    """
    workers = [f"node{node}" for node in allowed_nodes("", nodes)]
    spread = {
        name: ",".join(workers[index % len(workers) :] + workers[: index % len(workers)])
        for index, name in enumerate(call_order(application))
    }
    own = {spec.name: spec.annotations.get(NODE_ANNOTATION, "") for spec in application.functions}
    if placement is None:
        return {name: own[name] or spread[name] for name in own}
    if placement == "spread":
        return {name: spread[name] for name in own}
    if placement == "pack":
        return {name: own[name] or workers[0] for name in own}
    if placement in workers:
        return dict.fromkeys(own, placement)
    raise UsageError(
        f'placement "{placement}" is not known; there are {", ".join(dict.fromkeys([*workers, *PLACEMENTS]))}'
    )

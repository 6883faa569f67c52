"""Which nodes a deployment allows: annotations and placements."""

from __future__ import annotations

import pytest

from testbed.model.application import Application, FunctionSpec
from testbed.model.errors import UsageError
from testbed.model.placement import allowed_nodes, place

NODES = (1, 2, 3)


def chain(*names: str, **nodes: str) -> Application:
    """A nested chain of these functions, the first of them open to the world; `nodes` are their annotations."""
    functions = (
        FunctionSpec(
            name,
            "python",
            "handler",
            "app:1",
            annotations={"directfaas/node": nodes[name]} if name in nodes else {},
            ingress=name == names[0],
            calls=(callee,) if callee else (),
        )
        for name, callee in zip(names, (*names[1:], ""), strict=True)
    )
    return Application("app", tuple(functions))


def test_only_workers_can_be_named() -> None:
    assert allowed_nodes("", NODES) == (2, 3)
    assert allowed_nodes(" node3 , node2", NODES) == (3, 2)
    for wrong in ("node1", "node4", "worker"):
        with pytest.raises(ValueError, match=f'"{wrong}" is not a worker; there are node2, node3'):
            allowed_nodes(wrong, NODES)


def test_placements() -> None:
    app = chain("one", "two", "three", two="node3")
    assert place(app, "node2", NODES) == {"one": "node2", "two": "node2", "three": "node2"}
    assert place(app, "pack", NODES) == {"one": "node2", "two": "node3", "three": "node2"}
    assert place(app, "spread", NODES) == {"one": "node2,node3", "two": "node3,node2", "three": "node2,node3"}
    assert place(app, None, NODES) == {"one": "node2,node3", "two": "node3", "three": "node2,node3"}
    with pytest.raises(UsageError) as caught:
        place(app, "near", NODES)
    assert str(caught.value) == 'placement "near" is not known; there are node2, node3, spread, pack'


def test_a_shorter_chain_lies_as_the_longer_one_begins() -> None:
    long, short = chain("one", "two", "three"), chain("one", "two")
    assert place(short, "spread", NODES).items() <= place(long, "spread", NODES).items()

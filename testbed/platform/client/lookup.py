"""The names that a user gives for functions and namespaces, made whole; those that nobody has are met by near ones.

What a name stands for, and whether that can do what is asked of it, is for others to say.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection

from testbed.model.cluster import DEFAULT_NAMESPACE, ClusterState
from testbed.model.errors import UsageError


def full_name(name: str) -> str:
    """`name.namespace` for FN[.NS], as OpenFaaS completes it."""
    return name if "." in name else f"{name}.{DEFAULT_NAMESPACE}"


def function_named(state: ClusterState, name: str) -> str:
    """The full name of a deployed function; UsageError names those that are near."""
    wanted = full_name(name)
    if wanted not in functions(state):
        raise UsageError(f"there is no function {wanted}; {function_hint(state, wanted)}")
    return wanted


def deployed(state: ClusterState, name: str) -> str:
    """The full name of a deployed function or store; UsageError names functions that are near."""
    wanted = full_name(name)
    return wanted if wanted in state.functions else function_named(state, name)


def namespace_named(state: ClusterState, name: str) -> str:
    """The name of a namespace that there is; UsageError names those that are near."""
    if name not in state.deployments:
        near = difflib.get_close_matches(name, state.deployments, 3)
        raise UsageError(
            f"there is no namespace {name}; "
            + (f"did you mean {' or '.join(near)}?" if near else "`testbed namespace list` names them")
        )
    return name


def functions(state: ClusterState) -> list[str]:
    """Every function's full name; stores are none."""
    return list(state.without_stores().functions)


def function_hint(state: ClusterState, wanted: str, otherwise: str = "`testbed status` lists functions") -> str:
    """What to do about a function's name that nobody has."""
    near = nearest(wanted, functions(state))
    return f"did you mean {' or '.join(near)}?" if near else otherwise


def nearest(wanted: str, names: Collection[str]) -> list[str]:
    """Functions of the same name in other namespaces, or else those that are spelt alike."""
    base = wanted.partition(".")[0]
    same = sorted(name for name in names if name.partition(".")[0] == base)
    return same[:3] or difflib.get_close_matches(wanted, sorted(names), 3, cutoff=0.75)

"""The applications that stand under functions/, and which namespaces of a lab hold them.

An application is found by its folder's name. A namespace says nowhere which application it holds: it is told by
the functions in it. Reads stack files only.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path

from testbed.model.application import Application
from testbed.model.checkout import FUNCTIONS
from testbed.model.cluster import ClusterState
from testbed.model.errors import UsageError
from testbed.model.stack import stack_file


def names(folder: Path = FUNCTIONS) -> list[str]:
    """The applications there are, by their folders."""
    return sorted(path.parent.name for path in folder.glob("*/stack.yaml"))


def load(name: str, folder: Path = FUNCTIONS, variables: Mapping[str, str] | None = None) -> Application:
    """The application of this name; UsageError names what there is, StackError what is wrong with its stack.yaml."""
    there = names(folder)
    if name not in there:
        near = difflib.get_close_matches(name, there, 1)
        hint = f'did you mean "{near[0]}"?' if near else f"there are {', '.join(there) or 'none'}"
        raise UsageError(f'no application "{name}" stands under {folder}; {hint}')
    return stack_file.load(folder / name, variables)


def namespaces_with(application: Application, state: ClusterState) -> list[str]:
    """The namespaces that hold this application, or a part of it, and nothing else."""
    images = {spec.name: spec.image for spec in application.functions}
    held: dict[str, bool] = {}
    for function in state.without_stores().functions.values():
        ours = images.get(function.name) == function.image
        held[function.namespace] = held.get(function.namespace, True) and ours
    return sorted(namespace for namespace, ours in held.items() if ours)

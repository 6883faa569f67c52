"""An application: the functions of a stack.yaml and the calls between them, as values; what can be asked of them.

Nothing is read from a file here (see `testbed.model.stack`), and nothing is known of a cluster: a function that is
deployed is a `testbed.model.cluster.Function`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from testbed.model.annotations import CALLS_ANNOTATION

_NAME = re.compile(r"[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?")
_SECRET_NAME = re.compile(r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?(?:\.[a-z0-9](?:[-a-z0-9]*[a-z0-9])?)*")


@dataclass(frozen=True)
class FunctionSpec:
    """One function of a stack.yaml.

    `calls` are names of functions of the same application; `handler` is a folder; `fprocess`
    replaces the template's command where it is not "". `limits` and `requests` are Kubernetes
    quantities by "memory" and "cpu" (see `quantities`); `secrets` are names, never values. `stores` are
    names of the stores that it may reach (see `testbed.model.datastores`).
    """

    name: str
    language: str
    handler: str
    image: str
    environment: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    ingress: bool = False
    calls: tuple[str, ...] = ()
    fprocess: str = ""
    secrets: tuple[str, ...] = ()
    limits: Mapping[str, str] = field(default_factory=dict)
    requests: Mapping[str, str] = field(default_factory=dict)
    constraints: tuple[str, ...] = ()
    read_only_root_filesystem: bool = False
    stores: tuple[str, ...] = ()


@dataclass(frozen=True)
class Application:
    """A stack.yaml: its functions in file order. The call graph is acyclic.

    `copied` are folders that are copied into every function's handler folder when images are built, by where they
    come to lie in it; `scripts` are by store what is put into it when it is made. `folder`: where the file lies, which
    nothing of the application leads out of; "" where it is not known.
    """

    name: str
    functions: tuple[FunctionSpec, ...]
    copied: Mapping[str, str] = field(default_factory=dict)
    scripts: Mapping[str, str] = field(default_factory=dict)
    folder: str = ""

    def function(self, name: str) -> FunctionSpec:
        return next(function for function in self.functions if function.name == name)

    def calls(self) -> tuple[tuple[str, str], ...]:
        """Every edge (caller, callee) of the call graph, in file order."""
        return tuple((function.name, callee) for function in self.functions for callee in function.calls)

    def stores(self) -> tuple[str, ...]:
        """Every store that one of its functions names, once."""
        return tuple(dict.fromkeys(store for function in self.functions for store in function.stores))


def is_name(name: str) -> bool:
    """Whether this can name a function or a namespace (a DNS label, as Kubernetes wants)."""
    return bool(_NAME.fullmatch(name))


def is_secret_name(name: str) -> bool:
    """Whether this can name a secret (a DNS subdomain, as Kubernetes wants; also a safe file name)."""
    return len(name) <= 253 and bool(_SECRET_NAME.fullmatch(name))


def parse_calls(annotations: Mapping[str, str]) -> tuple[str, ...]:
    """The callees in a function's annotations, in their order."""
    return tuple(name.strip() for name in annotations.get(CALLS_ANNOTATION, "").split(",") if name.strip())


def find_cycle(calls: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """The first cycle of a call graph, as (a, b, a), or () when there is none. Unknown callees are ignored."""
    finished: set[str] = set()
    for start in calls:
        path: list[str] = []
        pending = [(start, 0)]
        while pending:
            name, depth = pending.pop()
            for left in path[depth:]:
                finished.add(left)
            del path[depth:]
            if name in path:
                return (*path[path.index(name) :], name)
            if name in finished or name not in calls:
                continue
            path.append(name)
            pending += [(callee, depth + 1) for callee in reversed(calls[name])]
        finished.update(path)
    return ()


def call_order(application: Application) -> tuple[str, ...]:
    """The functions as a request meets them: from each ingress function down its calls, then the rest."""
    order: dict[str, None] = {}

    def visit(name: str) -> None:
        if name not in order:
            order[name] = None
            for callee in application.function(name).calls:
                visit(callee)

    for ingress in (True, False):
        for spec in application.functions:
            if spec.ingress is ingress:
                visit(spec.name)
    return tuple(order)


def callees_first(application: Application) -> tuple[FunctionSpec, ...]:
    """The functions in an order in which every callee comes before its callers."""
    order: dict[str, None] = {}

    def visit(name: str) -> None:
        if name not in order:
            for callee in application.function(name).calls:
                visit(callee)
            order[name] = None

    for spec in application.functions:
        visit(spec.name)
    return tuple(application.function(name) for name in order)


def with_secret(application: Application, secret: str) -> Application:
    """The application, every function of which reads this secret too."""
    functions = (
        one if secret in one.secrets else replace(one, secrets=(*one.secrets, secret)) for one in application.functions
    )
    return replace(application, functions=tuple(functions))

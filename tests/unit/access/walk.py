"""Everybody who might ask a server something, and what each should be answered by the table of audiences.

The tests beside this ask each real server every route that it has, as each of these.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from testbed.model import audiences
from testbed.model.audiences import Audience, Own, Server
from testbed.model.cluster import Deployment
from testbed.model.credentials import OPERATOR, Caller, bearer, component, credential, namespace
from tests.authority import sent_by

OWN, OTHER = "tenant-a", "tenant-b"
COMPONENTS = {
    name: component(name, 2 if name == "agent" else 0)
    for name in ("agent", "gateway", "provider", "scaler", "controller", "metrics-reader")
}
ADMITTED = 200
"""Stands for any status but 401 and 403: what a request is answered then is another test's business."""


@dataclass(frozen=True)
class Asker:
    """Who asks, with which headers. `caller` is None for who has shown nothing that holds."""

    name: str
    headers: Mapping[str, str]
    caller: Caller | None


def askers(deployments: Mapping[str, Deployment]) -> list[Asker]:
    """`deployments` are those of OWN and OTHER, about the first of which everything is asked."""
    earlier = Deployment(OWN, born=deployments[OWN].born - 1)
    namespaces = {f"namespace {name}": namespace(deployments[name]) for name in (OWN, OTHER)}
    known = {"operator": OPERATOR, **COMPONENTS, **namespaces}
    return [
        Asker("nobody", {}, None),
        Asker("a wrong credential", {"Authorization": bearer(credential(b"x" * 32, OPERATOR))}, None),
        Asker("a wrong password", {"Authorization": "Basic YWRtaW46d3Jvbmc="}, None),
        Asker("an earlier namespace of the name", sent_by(namespace(earlier)), None),
        *(Asker(name, sent_by(caller), caller) for name, caller in known.items()),
    ]


def expected(audience: Audience, asker: Asker) -> int:
    """The status, written down once more and apart from what decides it."""
    if audience.anybody:
        return ADMITTED
    if asker.caller is None:
        return 401
    if asker.name == "operator":
        return ADMITTED if audience.operator else 403
    if asker.name in COMPONENTS:
        return ADMITTED if asker.name in audience.components else 403
    about_itself = asker.caller.name == OWN or audience.own in (Own.ANSWER, Own.BODY)
    return ADMITTED if audience.own is not None and about_itself else 403


def seen(status: int) -> int:
    """A status as `expected` says it."""
    return status if status in (401, 403) else ADMITTED


def target(path: str, name: str = OWN) -> str:
    """A route's path and query about the namespace `name`."""
    about_namespace = path.startswith(("/system/namespace/", "/credentials/"))
    values = {"{name}": name if about_namespace else "f", "{id}": f"f.{name}.1", "{function}": f"f.{name}"}
    for hole, value in {**values, "{metric}": "m", "{node}": "2"}.items():
        path = path.replace(hole, value)
    return f"{path}?name=f&namespace={name}&function=f.{name}"


def routes(server: Server) -> Iterator[tuple[str, str, Audience]]:
    """(method, path, audience) of each of a server's routes."""
    for (method, path), audience in audiences.of(server).items():
        yield method, path, audience

"""Who may order what: whom each route of each server answers. Pure; the servers ask here before they read anything.

A server serves no route that has no row here. The operator may order everything that is not another's business alone;
a component what it needs; a namespace what concerns itself only. `markdown` is the table of docs/platform.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from testbed.model.credentials import Caller, Kind


class Server(str, Enum):
    """The programs that answer HTTP."""

    APISERVER = "apiserver"
    SCALER = "scaler"
    CONTROLLER = "controller"
    GATEWAY = "gateway"
    GATEWAY_METRICS = "gateway, port 8082"
    PROVIDER_PROXY = "provider proxy"


class Own(Enum):
    """Where a request says which namespace it concerns; the value is how the table says it."""

    QUERY = "`namespace` is its own"
    LOG = "the function's namespace is its own"
    NAME = "the name is its own"
    INSTANCE = "the instance is one of its own"
    FUNCTION = "`function` is one of its own"
    BODY = "it concerns nothing else"
    ANSWER = "it is told of its own only"


@dataclass(frozen=True)
class Audience:
    """Whom a route answers. `own`: also a namespace, as far as the request concerns itself."""

    anybody: bool = False
    operator: bool = True
    components: tuple[str, ...] = ()
    own: Own | None = None

    def __str__(self) -> str:
        if self.anybody:
            return "anybody"
        parts = [*(["the operator"] if self.operator else []), *(f"the {name}" for name in self.components)]
        if self.own:
            parts.append(f"a namespace ({self.own.value})")
        return ", ".join(parts)


@dataclass(frozen=True)
class Route:
    """One path of a server, with the methods that it knows."""

    server: Server
    methods: tuple[str, ...]
    path: str
    audience: Audience


@dataclass(frozen=True)
class Refusal:
    """What to answer instead: 401 where nobody known asks, 403 where it is not for who asks."""

    status: int
    reason: str


ANYBODY = Audience(anybody=True)
OPERATOR = Audience()


def _for(*components: str, own: Own | None = None) -> Audience:
    """The operator, these components, and a namespace as far as the request is its own."""
    return Audience(components=components, own=own)


_AGENT = _for("agent")
_CHANGES = ("POST", "PUT", "DELETE")

_APISERVER: tuple[tuple[tuple[str, ...], str, Audience], ...] = (
    (("GET",), "/healthz", ANYBODY),
    (("GET",), "/watch", _for("agent", "gateway", "provider", "scaler", "controller")),
    (("GET",), "/state", _for(own=Own.ANSWER)),
    (("GET",), "/metrics", OPERATOR),
    (("GET",), "/coldstarts", OPERATOR),
    (("GET",), "/tokens", _for("gateway")),
    (("GET",), "/credentials/{name}", OPERATOR),
    (("GET",), "/instances/{id}", _for("agent", own=Own.INSTANCE)),
    (("DELETE",), "/instances/{id}", _AGENT),
    (("PUT",), "/instances/{id}/phase", _AGENT),
    (("GET",), "/instances/{id}/secrets", Audience(operator=False, components=("agent",))),
    (("GET",), "/system/functions", _for(own=Own.QUERY)),
    (_CHANGES, "/system/functions", OPERATOR),
    (("GET",), "/system/function/{name}", _for("scaler", own=Own.QUERY)),
    (("POST",), "/system/scale-function/{name}", _for("gateway", "scaler")),
    (("GET",), "/system/secrets", _for(own=Own.QUERY)),
    (_CHANGES, "/system/secrets", OPERATOR),
    (("GET",), "/system/logs", _for(own=Own.LOG)),
    (("GET",), "/system/namespaces", OPERATOR),
    (("GET",), "/system/namespace/{name}", _for(own=Own.NAME)),
    (_CHANGES, "/system/namespace/{name}", OPERATOR),
    (("GET",), "/system/info", OPERATOR),
)
_SCALER = (
    (("GET",), "/healthz", ANYBODY),
    (("POST",), "/activate", _for("controller")),
    (("GET",), "/decisions", _for(own=Own.FUNCTION)),
    (("GET",), "/settings", _for(own=Own.FUNCTION)),
    (("PUT",), "/dry-run", OPERATOR),
    (("GET",), "/metrics", OPERATOR),
    (("GET",), "/metrics-api/{function}/{metric}", _for(own=Own.FUNCTION)),
)
_CONTROLLER = (
    (("GET",), "/version", _AGENT),
    (("GET",), "/intents", OPERATOR),
    (("GET",), "/flows/{node}", OPERATOR),
    (("GET",), "/counters", _for("scaler", own=Own.ANSWER)),
    (("GET",), "/latency", OPERATOR),
    (("GET",), "/metrics", OPERATOR),
    (("GET",), "/policies", _for(own=Own.ANSWER)),
    (("POST",), "/policies", _for(own=Own.BODY)),
    (("GET", "DELETE"), "/policies/{name}", _for(own=Own.ANSWER)),
)
_CONTRACT = (
    (("GET", *_CHANGES), "/system/functions", OPERATOR),
    (("GET",), "/system/function/{name}", OPERATOR),
    (("POST",), "/system/scale-function/{name}", OPERATOR),
    (("GET",), "/system/info", OPERATOR),
    (("GET", *_CHANGES), "/system/secrets", OPERATOR),
    (("GET",), "/system/logs", OPERATOR),
    (("GET",), "/system/namespaces", OPERATOR),
    (("GET", *_CHANGES), "/system/namespace/{name}", OPERATOR),
    (("GET",), "/system/telemetry", OPERATOR),
)
_FUNCTION = (("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"), "/function/{name}", ANYBODY)
_GATEWAY = (
    _FUNCTION,
    (("GET",), "/", ANYBODY),
    (("GET",), "/healthz", ANYBODY),
    *_CONTRACT,
    (("POST",), "/system/alert", OPERATOR),
    (("GET",), "/ui/", OPERATOR),
)
_GATEWAY_METRICS = (
    (("GET",), "/healthz", ANYBODY),
    (("GET",), "/metrics", _for("metrics-reader")),
)
_PROVIDER_PROXY = (
    _FUNCTION,
    (("GET",), "/healthz", ANYBODY),
    (("GET",), "/api/v1/query", ANYBODY),
    *_CONTRACT,
    (("GET",), "/metrics", OPERATOR),
)
_ROWS = {
    Server.APISERVER: _APISERVER,
    Server.SCALER: _SCALER,
    Server.CONTROLLER: _CONTROLLER,
    Server.GATEWAY: _GATEWAY,
    Server.GATEWAY_METRICS: _GATEWAY_METRICS,
    Server.PROVIDER_PROXY: _PROVIDER_PROXY,
}
ROUTES = tuple(Route(server, *row) for server, rows in _ROWS.items() for row in rows)


def of(server: Server) -> dict[tuple[str, str], Audience]:
    """(method, path) -> audience of a server's routes."""
    return {(method, one.path): one.audience for one in ROUTES if one.server is server for method in one.methods}


def concerned(own: Own, path: Mapping[str, str], query: Mapping[str, str], default: str) -> str | None:
    """The namespace that a request concerns, by the values in its path and query; None: only its handler can say.

    "" is none at all; `default` is the one of a request of OpenFaaS's that names none.
    """
    match own:
        case Own.QUERY:
            return query.get("namespace") or default
        case Own.LOG:
            return query.get("name", "").partition(".")[2] or query.get("namespace") or default
        case Own.NAME:
            return path["name"]
        case Own.INSTANCE:
            parts = path["id"].split(".")
            return parts[1] if len(parts) == 3 else ""
        case Own.FUNCTION:
            function = path.get("function") or query.get("function", "")
            return function.rpartition(".")[2] if "." in function else ""
        case Own.BODY | Own.ANSWER:
            return None


def refusal(audience: Audience | None, caller: Caller | None, namespace: str | None, what: str) -> Refusal | None:
    """Why a request is not answered; None: it is. `what` is the request in words, "GET /state".

    No audience: no such route, which only somebody who is known is told. `namespace`: as `concerned` says.
    """
    if audience is not None and audience.anybody:
        return None
    if caller is None:
        return Refusal(401, "this answers only to a credential of the lab; its operator finds one in the lab's folder")
    if audience is None or _admits(audience, caller, namespace):
        return None
    return Refusal(403, f"{what} is for: {audience}; the credential is that of {caller}")


def _admits(audience: Audience, caller: Caller, namespace: str | None) -> bool:
    match caller.kind:
        case Kind.OPERATOR:
            return audience.operator
        case Kind.COMPONENT:
            return caller.name in audience.components
        case Kind.NAMESPACE:
            return audience.own is not None and namespace in (None, caller.name)


def markdown() -> str:
    """The table of all routes, as docs/platform.md has it."""
    rows = [f"| {one.server.value} | `{', '.join(one.methods)} {one.path}` | {one.audience} |" for one in ROUTES]
    return "\n".join(["| server | route | whom it answers |", "|---|---|---|", *rows])

"""What a lab holds: deployments, deployed functions, instances, hosts, and all of them as the cluster state.

Frozen values only. `ClusterState` is what the apiserver publishes and the controller, the gateway
and the node agents read; `to_json`/`from_json` are its wire form. Nothing here does I/O.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any

from testbed.model.addressing import FUNCTION_PORT

DEFAULT_NAMESPACE = "openfaas-fn"
"""Where a function goes whose namespace nobody names, as with OpenFaaS."""


class Route(str, Enum):
    """How a namespace's calls travel."""

    GATEWAY = "gateway"
    DIRECT = "direct"


class Role(str, Enum):
    """What a host that is not a function instance is there for."""

    GATEWAY = "gateway"
    CLIENT = "client"
    PROBE = "probe"


class Phase(str, Enum):
    """Where an instance is in its life. Only READY instances receive new calls."""

    PENDING = "Pending"
    READY = "Ready"
    NOT_READY = "NotReady"
    DRAINING = "Draining"


@dataclass(frozen=True)
class Deployment:
    """A namespace: a tenant's deployment of an application.

    `token_revision` changes with the token that callers by the gateway must present; 0 means that there is none.
    `id` is the namespace's own, and no function's, until it is removed; 0 means that it has none yet. `born` is the
    version with which it came: no two namespaces of a lab share it, of whatever name.
    """

    namespace: str
    route: Route = Route.GATEWAY
    token_revision: int = 0
    id: int = 0
    born: int = 0

    def to_json(self) -> dict[str, Any]:
        return {
            "namespace": self.namespace,
            "route": self.route.value,
            "token_revision": self.token_revision,
            "id": self.id,
            "born": self.born,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Deployment:
        numbers = (data.get(name, 0) for name in ("token_revision", "id", "born"))
        return cls(data["namespace"], Route(data["route"]), *numbers)


@dataclass(frozen=True)
class Function:
    """A deployed function, or (`store`) a data store or mail server. `id` and `vip` stay the same until it is removed.

    `revision` counts the changes that running instances must be replaced for. `secrets` are the names of
    those it reads; `limits` and `read_only_root_filesystem` as in `application.FunctionSpec`. `port` is the TCP port
    that it is called at; `stores` are the stores of its own namespace that it may reach. `build` is what its image was
    when it was deployed, which its instances run whatever becomes of the image's name.
    """

    namespace: str
    name: str
    id: int
    vip: str
    image: str
    replicas: int
    ingress: bool = False
    calls: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    revision: int = 1
    secrets: tuple[str, ...] = ()
    limits: Mapping[str, str] = field(default_factory=dict)
    port: int = FUNCTION_PORT
    store: bool = False
    stores: tuple[str, ...] = ()
    read_only_root_filesystem: bool = False
    build: str = ""

    @property
    def full_name(self) -> str:
        """`name.namespace`, the form that the gateway's routes and metrics use."""
        return f"{self.name}.{self.namespace}"

    def to_json(self) -> dict[str, Any]:
        return {
            "namespace": self.namespace,
            "name": self.name,
            "id": self.id,
            "vip": self.vip,
            "image": self.image,
            "replicas": self.replicas,
            "ingress": self.ingress,
            "calls": list(self.calls),
            "environment": dict(self.environment),
            "labels": dict(self.labels),
            "annotations": dict(self.annotations),
            "revision": self.revision,
            "secrets": list(self.secrets),
            "limits": dict(self.limits),
            "port": self.port,
            "store": self.store,
            "stores": list(self.stores),
            "read_only_root_filesystem": self.read_only_root_filesystem,
            "build": self.build,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Function:
        lists = {key: tuple(data.get(key, ())) for key in ("calls", "secrets", "stores")}
        return cls(**{**data, **lists})


@dataclass(frozen=True)
class Instance:
    """One running copy of a function, in one Mininet host named `id` ("chain-1.tenant-a.1").

    `revision` is that of the function when the instance was made.
    """

    id: str
    namespace: str
    function: str
    node: int
    eip: str
    phase: Phase = Phase.PENDING
    revision: int = 1

    @property
    def function_name(self) -> str:
        return f"{self.function}.{self.namespace}"

    def to_json(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "namespace": self.namespace,
            "function": self.function,
            "node": self.node,
            "eip": self.eip,
            "phase": self.phase.value,
            "revision": self.revision,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Instance:
        return cls(**{**data, "phase": Phase(data["phase"])})


@dataclass(frozen=True)
class Host:
    """A Mininet host that is not a function instance: the gateway, the client, a probe."""

    name: str
    role: Role
    id: int
    node: int
    eip: str

    def to_json(self) -> dict[str, Any]:
        return {"name": self.name, "role": self.role.value, "id": self.id, "node": self.node, "eip": self.eip}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Host:
        return cls(**{**data, "role": Role(data["role"])})


@dataclass(frozen=True)
class ClusterState:
    """Everything the data plane depends on, as of resource version `version`.

    Keys: nodes by number; deployments by namespace; functions by `name.namespace`;
    instances by id; hosts by name.
    """

    version: int = 0
    nodes: tuple[int, ...] = ()
    deployments: Mapping[str, Deployment] = field(default_factory=dict)
    functions: Mapping[str, Function] = field(default_factory=dict)
    instances: Mapping[str, Instance] = field(default_factory=dict)
    hosts: Mapping[str, Host] = field(default_factory=dict)

    def route(self, namespace: str) -> Route:
        deployment = self.deployments.get(namespace)
        return deployment.route if deployment else Route.GATEWAY

    def without_stores(self) -> ClusterState:
        """The state as those see it who invoke or scale functions."""
        functions = {name: one for name, one in self.functions.items() if not one.store}
        return self if len(functions) == len(self.functions) else replace(self, functions=functions)

    def of_namespace(self, namespace: str) -> ClusterState:
        """What of the state is this namespace's own."""
        mine: dict[str, Any] = {
            attribute: {key: one for key, one in getattr(self, attribute).items() if one.namespace == namespace}
            for attribute in ("deployments", "functions", "instances")
        }
        return replace(self, hosts={}, **mine)

    def owners(self, store: Function) -> list[str]:
        """The names of the functions that own a store, of its namespace."""
        found = (one for one in self.functions.values() if one.namespace == store.namespace)
        return sorted(one.name for one in found if store.name in one.stores)

    def apply(self, event: Mapping[str, Any]) -> ClusterState:
        """The state after one event of the apiserver's watch stream (see `WATCH_KINDS`).

        A SNAPSHOT replaces everything; a HEARTBEAT changes nothing.
        """
        if event["type"] == "SNAPSHOT":
            return ClusterState.from_json(event["object"])
        if event["type"] == "HEARTBEAT":
            return self
        attribute, kind, key_of = WATCH_KINDS[event["kind"]]
        values = dict(getattr(self, attribute))
        value = kind.from_json(event["object"])
        if event["type"] == "PUT":
            values[key_of(value)] = value
        else:
            values.pop(key_of(value), None)
        change: dict[str, Any] = {attribute: values}
        return replace(self, version=event["version"], **change)

    def to_json(self) -> dict[str, Any]:
        return {
            "version": self.version,
            "nodes": list(self.nodes),
            **{
                attribute: [value.to_json() for value in getattr(self, attribute).values()]
                for attribute, _, _ in WATCH_KINDS.values()
            },
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> ClusterState:
        parts = {
            attribute: {key_of(value): value for value in map(kind.from_json, data[attribute])}
            for attribute, kind, key_of in WATCH_KINDS.values()
        }
        return cls(version=data["version"], nodes=tuple(data["nodes"]), **parts)


WATCH_KINDS: Mapping[str, tuple[str, Any, Any]] = {
    "deployment": ("deployments", Deployment, lambda value: value.namespace),
    "function": ("functions", Function, lambda value: value.full_name),
    "instance": ("instances", Instance, lambda value: value.id),
    "host": ("hosts", Host, lambda value: value.name),
}
"""Kind of a watch event -> (attribute of ClusterState, class, key of a value)."""

"""Intents: what the cluster's state means for the network, before any switch is thought of.

Who is there (workloads with a vIP and ready endpoints), which port proves whose identity, and which
calls are allowed. `intents` derives them from a whole state; `IntentIndex` keeps them up to date
event by event and says what changed. Both use the same rules. Pure; knows no tables or rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from testbed.model import addressing
from testbed.model.cluster import WATCH_KINDS, ClusterState, Deployment, Function, Host, Instance, Phase, Role, Route

Call = tuple[int, int]
"""(caller's workload id, callee's workload id); the port is the callee's, over TCP."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where new connections to a workload may go. `name` is an instance id or a host's name."""

    name: str
    node: int
    eip: str


@dataclass(frozen=True, slots=True)
class Workload:
    """A function or host, callable or not. Endpoints are the ready ones, ordered by eIP.

    `namespace` is the id of the function's namespace: 0 while that is not known, and for hosts.
    `port` is where it is called. Not `scaled`: a store, for which nobody need ask the scaler.
    """

    id: int
    name: str
    vip: str
    endpoints: tuple[Endpoint, ...] = ()
    namespace: int = 0
    port: int = addressing.FUNCTION_PORT
    scaled: bool = True


@dataclass(frozen=True, slots=True)
class Port:
    """A switch port and whose it is. It exists in every phase: a draining instance still speaks."""

    name: str
    workload: int
    node: int
    eip: str


@dataclass(frozen=True)
class Intents:
    """Everything the rows express. Workloads by id, ports by eIP, ids of namespaces by name."""

    workloads: Mapping[int, Workload]
    ports: Mapping[str, Port]
    calls: frozenset[Call]
    namespaces: Mapping[str, int]

    def to_json(self) -> dict[str, Any]:
        """For people: names instead of ids, sorted."""
        name = {id_: workload.name for id_, workload in self.workloads.items()}
        return {
            "workloads": [
                {
                    "id": w.id,
                    "name": w.name,
                    "vip": w.vip,
                    "port": w.port,
                    "endpoints": [{"name": e.name, "node": e.node, "eip": e.eip} for e in w.endpoints],
                }
                for w in sorted(self.workloads.values(), key=lambda w: w.id)
            ],
            "ports": [
                {
                    "owner": p.name,
                    "workload": name[p.workload],
                    "node": p.node,
                    "eip": p.eip,
                    "mac": addressing.mac(p.eip),
                    "port": addressing.port_name(p.eip),
                }
                for p in sorted(self.ports.values(), key=lambda p: (p.node, p.name))
            ],
            "calls": [{"caller": a, "callee": b} for a, b in sorted((name[a], name[b]) for a, b in self.calls)],
        }


# The rules. Nothing else is allowed.


def host_calls(hosts: Iterable[Host]) -> Iterator[Call]:
    """The client calls the gateway and every probe; probes call each other."""
    hosts = list(hosts)
    for caller in hosts:
        for callee in hosts:
            if caller is callee:
                continue
            if (caller.role, callee.role) in _HOST_CALLS:
                yield caller.id, callee.id


_HOST_CALLS = {(Role.CLIENT, Role.GATEWAY), (Role.CLIENT, Role.PROBE), (Role.PROBE, Role.PROBE)}


def function_calls(state: ClusterState, function: Function) -> Iterator[Call]:
    """The calls that exist because of this function: those it makes, and the gateway's to it.

    On the direct route a function reaches what its `calls` name in its own namespace, and the gateway
    reaches ingress functions only. On the gateway route both go through the gateway. On either, a function
    reaches the stores that it names in its own namespace, and nothing else. A store calls nobody, and
    only its owners call it.
    """
    if function.store:
        return
    for name in function.stores:
        store = state.functions.get(f"{name}.{function.namespace}")
        if store is not None and store.store:
            yield function.id, store.id
    gateways = [host.id for host in state.hosts.values() if host.role is Role.GATEWAY]
    if state.route(function.namespace) is Route.GATEWAY:
        for gateway in gateways:
            yield gateway, function.id
            yield function.id, gateway
        return
    if function.ingress:
        for gateway in gateways:
            yield gateway, function.id
    for name in function.calls:
        callee = state.functions.get(f"{name}.{function.namespace}")
        if callee is not None and callee.id != function.id and not callee.store:
            yield function.id, callee.id


def host_workload(host: Host) -> Workload:
    return Workload(host.id, host.name, addressing.vip(host.id), (Endpoint(host.name, host.node, host.eip),))


def function_workload(function: Function, instances: Iterable[Instance], namespace: int) -> Workload:
    """Only READY instances receive new calls."""
    ready = sorted((i for i in instances if i.phase is Phase.READY), key=lambda i: i.eip)
    endpoints = tuple(Endpoint(i.id, i.node, i.eip) for i in ready)
    return Workload(
        function.id, function.full_name, function.vip, endpoints, namespace, function.port, not function.store
    )


def intents(state: ClusterState) -> Intents:
    """All intents of a state, from nothing."""
    return IntentIndex(state).intents()


@dataclass
class Touched:
    """What changed between two states."""

    ports: dict[str, tuple[Port | None, Port | None]] = field(default_factory=dict)
    workloads: set[int] = field(default_factory=set)
    added: set[Call] = field(default_factory=set)
    removed: set[Call] = field(default_factory=set)
    namespaces: set[int] = field(default_factory=set)  # that came or went
    moved: set[int] = field(default_factory=set)  # workloads whose namespace has another id than before


class IntentIndex:
    """Intents kept current. The cost of an event is that of the objects it touches, not of the cluster."""

    def __init__(self, state: ClusterState) -> None:
        self._build(state)

    def _build(self, state: ClusterState) -> None:
        own: dict[str, Any] = {attribute: dict(getattr(state, attribute)) for attribute, _, _ in WATCH_KINDS.values()}
        self.state = replace(state, **own)  # changed in place: an event must not cost a copy of 50 000 instances
        self.workloads: dict[int, Workload] = {host.id: host_workload(host) for host in state.hosts.values()}
        self.ports: dict[str, Port] = {
            host.eip: Port(host.name, host.id, host.node, host.eip) for host in state.hosts.values()
        }
        self._ports_of: dict[int, dict[str, Port]] = {}  # by workload and eIP
        for port in self.ports.values():
            self._ports_of.setdefault(port.workload, {})[port.eip] = port
        self._calls: dict[str, frozenset[Call]] = {"": frozenset(host_calls(state.hosts.values()))}  # by function
        self._instances: dict[str, dict[str, Instance]] = {}  # by function
        self._callers: dict[str, set[str]] = {}  # functions that name this one in their calls
        self._names: dict[str, set[str]] = {}  # functions by namespace
        self._ids: dict[str, int] = {}  # functions' ids, to notice one that came back under another
        self.namespaces = {d.namespace: d.id for d in state.deployments.values() if d.id}
        self.namespace_names = {id_: name for name, id_ in self.namespaces.items()}
        for instance in state.instances.values():
            self._instances.setdefault(instance.function_name, {})[instance.id] = instance
        for name in state.functions:
            self._set_function(name, Touched())
            self._set_calls(name, Touched())

    def intents(self) -> Intents:
        calls = frozenset(call for calls in self._calls.values() for call in calls)
        return Intents(dict(self.workloads), dict(self.ports), calls, dict(self.namespaces))

    def id_of(self, name: str) -> int | None:
        """The workload id of a function's full name or a host's name."""
        owner = self.state.functions.get(name) or self.state.hosts.get(name)
        return owner.id if owner else None

    def functions_of(self, namespace: str) -> list[int]:
        """The ids of a namespace's functions; its stores are none."""
        functions = (self.state.functions[name] for name in self._names.get(namespace, ()))
        return sorted(function.id for function in functions if not function.store)

    def named(self, workload_id: int) -> tuple[str, str] | None:
        """A workload's name, and the namespace of whose functions it is one; a store or host is none: ""."""
        workload = self.workloads.get(workload_id)
        if workload is None:
            return None
        function = self.state.functions.get(workload.name)
        return workload.name, function.namespace if function and not function.store else ""

    def ports_of(self, workload_id: int) -> list[Port]:
        """All ports of a workload, of instances in every phase."""
        return list(self._ports_of.get(workload_id, {}).values())

    def load(self, state: ClusterState) -> Touched:
        """Take a whole state; everything that differs from the one before is touched."""
        before = self.intents()
        self._build(state)
        return _difference(before, self.intents())

    def apply(self, event: Mapping[str, Any]) -> Touched:
        """Take one event of the apiserver's watch stream."""
        kind = event.get("kind")
        if event["type"] == "SNAPSHOT" or kind == "host":  # hosts are static: no short way for them
            return self.load(self.state.apply(event))
        touched = Touched()
        if event["type"] == "HEARTBEAT":
            return touched
        value, before = self._take(event)
        match value:
            case Instance():
                self._instance(value, event["type"] == "PUT", touched)
            case Function():
                self._set_function(value.full_name, touched)
                for affected in (value.full_name, *self._callers.get(value.full_name, ())):
                    self._set_calls(affected, touched)
            case Deployment():
                self._deployment(value.namespace, before, touched)
        return touched

    def _take(self, event: Mapping[str, Any]) -> tuple[Any, Any]:
        """The event's object, and what was there before it, as `ClusterState.apply` but in place."""
        attribute, kind, key_of = WATCH_KINDS[event["kind"]]
        value, values = kind.from_json(event["object"]), getattr(self.state, attribute)
        before = values.pop(key_of(value), None)
        if event["type"] == "PUT":
            values[key_of(value)] = value
        self.state = replace(self.state, version=event["version"])
        return value, before

    def _deployment(self, namespace: str, before: Deployment | None, touched: Touched) -> None:
        """A namespace came, went, or is on another route; its functions may have come before it."""
        after = self.state.deployments.get(namespace)
        old_id, new_id = self.namespaces.pop(namespace, 0), after.id if after else 0
        if new_id:
            self.namespaces[namespace] = new_id
        names = self._names.get(namespace, ())
        if old_id != new_id:
            self.namespace_names.pop(old_id, None)
            self.namespace_names |= {new_id: namespace} if new_id else {}
            touched.namespaces.update({old_id, new_id} - {0})
            for function in (self.state.functions[name] for name in names):
                touched.moved.add(function.id)
                self._set_workload(function.id, self._workload(function), touched)
        if (before.route if before else Route.GATEWAY) is not self.state.route(namespace):
            for name in names:
                self._set_calls(name, touched)

    def _instance(self, instance: Instance, present: bool, touched: Touched) -> None:
        of_function = self._instances.setdefault(instance.function_name, {})
        before = of_function.pop(instance.id, None)
        if before is not None and (before.eip != instance.eip or not present):
            self._set_port(before, None, touched)
        if present:
            of_function[instance.id] = instance
        function = self.state.functions.get(instance.function_name)
        if function is None:
            return
        if present:
            self._set_port(instance, function, touched)
        self._set_workload(function.id, self._workload(function), touched)

    def _workload(self, function: Function) -> Workload:
        instances = self._instances.get(function.full_name, {}).values()
        return function_workload(function, instances, self.namespaces.get(function.namespace, 0))

    def _set_function(self, name: str, touched: Touched) -> None:
        """Bring one function's workload and ports in line with the state."""
        function = self.state.functions.get(name)
        instances = self._instances.get(name, {})
        old_id = self._ids.get(name)
        if old_id is not None and (function is None or function.id != old_id):
            self._set_workload(old_id, None, touched)
            del self._ids[name]
        named = self._names.setdefault(name.partition(".")[2], set())
        if function is None:
            named.discard(name)
        else:
            self._ids[name] = function.id
            named.add(name)
            self._set_workload(function.id, self._workload(function), touched)
            for callee in (*function.calls, *function.stores):
                self._callers.setdefault(f"{callee}.{function.namespace}", set()).add(name)
        for instance in instances.values():
            self._set_port(instance, function, touched)

    def _set_calls(self, name: str, touched: Touched) -> None:
        function = self.state.functions.get(name)
        before = self._calls.pop(name, frozenset())
        after = frozenset(function_calls(self.state, function)) if function else frozenset()
        if after:
            self._calls[name] = after
        # A call taken away and given back by two steps of one event is no change.
        for call in after - before:
            touched.removed.discard(call) if call in touched.removed else touched.added.add(call)
        for call in before - after:
            touched.added.discard(call) if call in touched.added else touched.removed.add(call)

    def _set_workload(self, workload_id: int, workload: Workload | None, touched: Touched) -> None:
        if self.workloads.get(workload_id) == workload:
            return
        touched.workloads.add(workload_id)
        if workload is None:
            del self.workloads[workload_id]
        else:
            self.workloads[workload_id] = workload

    def _set_port(self, instance: Instance, function: Function | None, touched: Touched) -> None:
        """The instance's port is its function's; without a function it has none."""
        eip = instance.eip
        before = self.ports.get(eip)
        after = Port(instance.id, function.id, instance.node, eip) if function else None
        if before == after or (after is None and before is not None and before.name != instance.id):
            return  # the latter: the eIP has a new owner already
        first = touched.ports[eip][0] if eip in touched.ports else before
        touched.ports[eip] = (first, after)
        if before is not None:
            self._ports_of[before.workload].pop(eip, None)
        if after is None:
            del self.ports[eip]
        else:
            self.ports[eip] = after
            self._ports_of.setdefault(after.workload, {})[eip] = after


def _difference(old: Intents, new: Intents) -> Touched:
    return Touched(
        ports={
            eip: (old.ports.get(eip), new.ports.get(eip))
            for eip in old.ports.keys() | new.ports.keys()
            if old.ports.get(eip) != new.ports.get(eip)
        },
        workloads={
            id_
            for id_ in old.workloads.keys() | new.workloads.keys()
            if old.workloads.get(id_) != new.workloads.get(id_)
        },
        added=set(new.calls - old.calls),
        removed=set(old.calls - new.calls),
        namespaces=set(old.namespaces.values()) ^ set(new.namespaces.values()),
        moved={
            id_
            for id_ in old.workloads.keys() & new.workloads.keys()
            if old.workloads[id_].namespace != new.workloads[id_].namespace
        },
    )

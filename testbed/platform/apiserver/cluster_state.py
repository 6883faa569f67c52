"""What the apiserver keeps and decides: deployments, functions, instances, hosts, and what follows from each request.

Every method that changes something is one transaction of the `ledger`. The keeper decides nothing about
wire formats (see `routes`), about who may ask for what (`validation`), or about where instances go
(`scheduler`).
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from testbed.model import addressing, datastores
from testbed.model.annotations import MIN_SCALE_LABEL, NODE_ANNOTATION
from testbed.model.cluster import ClusterState, Deployment, Function, Host, Instance, Phase, Route
from testbed.model.watch import Event
from testbed.platform.apiserver import scheduler
from testbed.platform.apiserver.database import Database
from testbed.platform.apiserver.ledger import Ledger
from testbed.platform.apiserver.secret_state import SECRET, Conflict, NotFound, SecretKeeper
from testbed.platform.apiserver.validation import FunctionRequest

__all__ = ["ClusterKeeper", "Conflict", "NotFound", "Record"]

KEPT_EVENTS = 10_000
"""How many changes a watcher may be behind before it gets a snapshot instead."""

_RECORD, _REMOVING, _TIMINGS, _METADATA, _REQUESTS = "record", "removing", "timings", "metadata", "requests"


@dataclass(frozen=True)
class Record:
    """What is kept of a function beside its `Function`. `removing`: it goes once its instances are gone."""

    created_at: str
    removing: bool = False
    extra: Mapping[str, Any] = field(default_factory=dict)


class ClusterKeeper:
    """Synchronous; not for use from several threads. `secrets` is the part that keeps secrets."""

    def __init__(
        self, database: Path, nodes: Sequence[int], hosts: Sequence[Host], kept_events: int = KEPT_EVENTS
    ) -> None:
        """Open the database, or make it; `nodes` and `hosts` are the cluster's, whatever it was before."""
        self._database = Database(database, secret=frozenset({SECRET}))
        self._ledger = Ledger(self._database, nodes, kept_events)
        self.secrets = SecretKeeper(self._ledger, self._renew, self._make_namespace)
        with self._ledger.transaction():
            self._set_hosts({host.name: host for host in hosts})
            for deployment in self.state.deployments.values():
                if not deployment.id:  # kept by a version that gave namespaces none
                    self._ledger.put("deployment", replace(deployment, id=self._new_namespace_id()))

    @property
    def state(self) -> ClusterState:
        return self._ledger.state

    def close(self) -> None:
        self._database.close()

    def record(self, full_name: str) -> Record:
        """What is kept of the function `name.namespace` beside its `Function`."""
        return Record(**self._database.get(_RECORD, full_name))

    def removing(self, full_name: str) -> bool:
        """Whether a function that is still there is being removed, or not there at all."""
        record = self._database.get(_RECORD, full_name)
        return record is None or record["removing"]

    def events_since(self, version: int) -> list[Event] | None:
        """The events after `version`, or None when they are not kept any more (or never happened)."""
        return self._ledger.events_since(version)

    def request_counts(self) -> Mapping[str, tuple[list[int], float]]:
        """What `keep_request_counts` was given, also by earlier processes."""
        return self._database.all(_REQUESTS)

    def keep_request_counts(self, counts: Mapping[str, tuple[list[int], float]]) -> None:
        """Keep numbers of requests and their duration, by any key."""
        with self._ledger.transaction():
            for key, value in counts.items():
                self._database.put(_REQUESTS, key, value)

    # Namespaces

    def put_namespace(
        self,
        namespace: str,
        route: Route,
        metadata: Mapping[str, Mapping[str, str]] | None = None,
        *,
        create: bool,
    ) -> None:
        """Make (`create`) or change a namespace; its route changes only while it has no functions.

        `metadata` ("labels", "annotations") is kept and given back.
        """
        with self._ledger.transaction():
            present = self.state.deployments.get(namespace)
            if create and present:
                raise Conflict(f"namespace {namespace} exists already; change it with PUT")
            if not create and not present:
                raise NotFound(f"there is no namespace {namespace}")
            if present and present.route is not route and self._functions_of(namespace):
                raise Conflict(
                    f"namespace {namespace} has functions on the {present.route.value} route; remove them before its "
                    "route changes"
                )
            leaving = self._leaving(namespace)  # it stays, as a new one
            self._database.drop(_REMOVING, namespace)
            self._database.put(_METADATA, namespace, {key: dict(value) for key, value in (metadata or {}).items()})
            if not present:
                self._make_namespace(namespace, route)
            elif leaving or present.route is not route:
                born = self.state.version + 1 if leaving else present.born
                self._ledger.put("deployment", replace(present, route=route, born=born))

    def _make_namespace(self, namespace: str, route: Route = Route.GATEWAY) -> None:
        number, born = self._new_namespace_id(), self.state.version + 1
        self._ledger.put("deployment", Deployment(namespace, route, id=number, born=born))

    def metadata(self, namespace: str) -> dict[str, dict[str, str]]:
        """The labels and annotations that a namespace was given."""
        return dict(self._database.get(_METADATA, namespace, {}))

    def remove_namespace(self, namespace: str) -> None:
        """Remove a namespace and its functions; it disappears once their instances are gone."""
        with self._ledger.transaction():
            if namespace not in self.state.deployments:
                raise NotFound(f"there is no namespace {namespace}")
            self._database.put(_REMOVING, namespace, {})
            self.secrets.forget(namespace)
            for function in self._functions_of(namespace):
                if not function.store:  # a store goes with the last of its owners
                    self._begin_removal(function)
            self._finish_namespace(namespace)

    # Functions

    def create_function(self, request: FunctionRequest, build: str) -> None:
        """Deploy a function; a namespace that does not exist is made, with route gateway."""
        full_name = f"{request.name}.{request.namespace}"
        with self._ledger.transaction():
            if full_name in self.state.functions:
                gone = self.removing(full_name)
                raise Conflict(
                    f"function {full_name} is still being removed; deploy it again in a moment"
                    if gone
                    else f"function {full_name} exists already; update it with PUT"
                )
            if self._leaving(request.namespace):
                raise Conflict(f"namespace {request.namespace} is still being removed; deploy again in a moment")
            if request.namespace not in self.state.deployments:
                self._make_namespace(request.namespace)
            self._provide_stores(request)
            number = self._new_id()
            function = Function(
                request.namespace, request.name, number, addressing.vip(number), request.image, request.min_replicas
            )
            self._begin(replace(_configured(function, request), build=build), request.extra)
            self._renew_callers(request)

    def update_function(self, request: FunctionRequest, build: str) -> None:
        """Change a function; running instances are replaced when what they run has changed."""
        full_name = f"{request.name}.{request.namespace}"
        with self._ledger.transaction():
            function, record = self._present(full_name)
            self._provide_stores(request)
            changed = replace(_configured(function, request), build=build)
            if _runs(changed) != _runs(function):
                changed = replace(changed, revision=function.revision + 1)
            if request.labels.get(MIN_SCALE_LABEL) != function.labels.get(MIN_SCALE_LABEL):
                changed = replace(changed, replicas=request.min_replicas)
            self._keep(full_name, replace(record, extra=dict(request.extra)))
            if changed != function:
                self._ledger.put("function", changed)
            self._reconcile(full_name)
            self._remove_stores_without_owner(request.namespace)

    def remove_function(self, full_name: str) -> None:
        """Remove a function: its instances drain, then it disappears and its id is free."""
        with self._ledger.transaction():
            function, _ = self._present(full_name)
            self._begin_removal(function)

    def scale_function(self, full_name: str, replicas: int) -> None:
        with self._ledger.transaction():
            function, _ = self._present(full_name)
            if function.replicas != replicas:
                self._ledger.put("function", replace(function, replicas=replicas))
            self._reconcile(full_name)

    # Instances

    def set_phase(self, instance_id: str, phase: Phase, timings: Mapping[str, int] | None = None) -> None:
        """What a node agent reports. An instance that drains never comes back.

        `timings` (name -> monotonic ns) are of the instance's first start: the first of each name is kept.
        """
        with self._ledger.transaction():
            instance = self._instance(instance_id)
            known = self.timings(instance_id)
            if timings and {**timings, **known} != known:
                self._database.put(_TIMINGS, instance_id, {**timings, **known})
            if instance.phase is Phase.DRAINING and phase is not Phase.DRAINING:
                raise Conflict(f"instance {instance_id} is draining; it cannot become {phase.value}")
            if instance.phase is not phase:
                self._ledger.put("instance", replace(instance, phase=phase))
                self._reconcile(instance.function_name)

    def timings(self, instance_id: str) -> dict[str, int]:
        """What is known of an instance's start: monotonic ns by name, from "decided_ns" on."""
        return dict(self._database.get(_TIMINGS, instance_id, {}))

    def delete_instance(self, instance_id: str) -> None:
        """A node agent has taken the instance away."""
        with self._ledger.transaction():
            instance = self._instance(instance_id)
            self._ledger.drop("instance", instance)
            self._database.drop(_TIMINGS, instance_id)
            self._reconcile(instance.function_name)

    # Decisions applied

    def _reconcile(self, full_name: str) -> None:
        """Make and drain instances as the scheduler plans; finish a removal whose instances are gone."""
        function = self.state.functions[full_name]
        instances = [one for one in self.state.instances.values() if one.function_name == full_name]
        load = Counter(one.node for one in self.state.instances.values())
        plan = scheduler.plan(function, instances, self.state.nodes, load)
        for node in plan.create:
            self._ledger.put("instance", self._new_instance(function, node))
        for instance_id in plan.drain:
            self._ledger.put("instance", replace(self.state.instances[instance_id], phase=Phase.DRAINING))
        if not instances and self.removing(full_name):
            self._database.drop(_RECORD, full_name)
            self._ledger.drop("function", function)
            self._remove_stores_without_owner(function.namespace)
            self._finish_namespace(function.namespace)

    def _new_instance(self, function: Function, node: int) -> Instance:
        serial = self._ledger.counter(f"serial {function.full_name}", 1)
        self._ledger.count(f"serial {function.full_name}", serial + 1)
        taken = {one.eip for one in self.state.instances.values() if one.node == node}
        taken |= {one.eip for one in self.state.hosts.values() if one.node == node}
        eip, index = scheduler.next_eip(node, taken, self._ledger.counter(f"next eip node{node}", 1))
        self._ledger.count(f"next eip node{node}", index + 1)
        instance_id = f"{function.full_name}.{serial}"
        self._database.put(_TIMINGS, instance_id, {"decided_ns": time.monotonic_ns()})
        return Instance(
            instance_id,
            function.namespace,
            function.name,
            node,
            eip,
            revision=function.revision,
        )

    def _new_namespace_id(self) -> int:
        return self._new_id("next namespace id", addressing.FIRST_NAMESPACE_ID)

    def _new_id(self, counter: str = "next id", first: int = addressing.FIRST_FUNCTION_ID) -> int:
        taken = {one.id for one in self.state.functions.values()} | {one.id for one in self.state.deployments.values()}
        number = scheduler.next_id(taken, self._ledger.counter(counter, first))
        self._ledger.count(counter, number + 1)
        return number

    def _begin(self, function: Function, extra: Mapping[str, Any]) -> None:
        """A function or store that was not there before."""
        created_at = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        self._keep(function.full_name, Record(created_at, extra=dict(extra)))
        self._ledger.put("function", function)
        self._reconcile(function.full_name)

    def _provide_stores(self, request: FunctionRequest) -> None:
        """Each store that the function names, made where there is none, on the node where the function may run."""
        for name in request.stores:
            full_name = f"{name}.{request.namespace}"
            if full_name in self.state.functions:
                if self.removing(full_name):
                    raise Conflict(f"the store {full_name} is still being removed; deploy again in a moment")
                continue
            node = request.annotations.get(NODE_ANNOTATION, "")
            self._begin(_store(request.namespace, datastores.KINDS[name], self._new_id(), node), {})

    def _remove_stores_without_owner(self, namespace: str) -> None:
        present = self._functions_of(namespace)
        owned = {name for function in present for name in function.stores}
        for function in present:
            if function.store and function.name not in owned and not self.removing(function.full_name):
                self._begin_removal(function)

    def _begin_removal(self, function: Function) -> None:
        self._keep(function.full_name, replace(self.record(function.full_name), removing=True))
        if function.replicas:
            self._ledger.put("function", replace(function, replicas=0))
        self._reconcile(function.full_name)

    def _finish_namespace(self, namespace: str) -> None:
        if self._leaving(namespace) and not self._functions_of(namespace):
            self._database.drop(_REMOVING, namespace)
            self._database.drop(_METADATA, namespace)
            self._ledger.drop("deployment", self.state.deployments[namespace])

    def _renew_callers(self, request: FunctionRequest) -> None:
        """Instances that run with the vIP of an earlier deployment of this function are replaced."""
        if self.state.route(request.namespace) is not Route.DIRECT:
            return
        callers = [caller for caller in self._functions_of(request.namespace) if request.name in caller.calls]
        if not callers:
            return
        phases = (Phase.READY, Phase.NOT_READY)
        running = {one.function_name for one in self.state.instances.values() if one.phase in phases}
        for caller in callers:
            if caller.full_name in running:
                self._renew(caller)

    def _renew(self, function: Function) -> None:
        """A new revision: every instance is replaced, but for a store's: its process starts again, on its data."""
        revision = function.revision + 1
        if function.store:
            for one in list(self.state.instances.values()):
                if one.function_name == function.full_name and one.phase is not Phase.DRAINING:
                    self._ledger.put("instance", replace(one, revision=revision))
        self._ledger.put("function", replace(function, revision=revision))
        self._reconcile(function.full_name)

    def _keep(self, full_name: str, record: Record) -> None:
        self._database.put(_RECORD, full_name, asdict(record))

    def _leaving(self, namespace: str) -> bool:
        return namespace in self._database.all(_REMOVING)

    def _functions_of(self, namespace: str) -> list[Function]:
        return [function for function in self.state.functions.values() if function.namespace == namespace]

    def _present(self, full_name: str) -> tuple[Function, Record]:
        if self.removing(full_name) or self.state.functions[full_name].store:
            raise NotFound(f"there is no function {full_name}")
        return self.state.functions[full_name], self.record(full_name)

    def _instance(self, instance_id: str) -> Instance:
        if instance_id not in self.state.instances:
            raise NotFound(f"there is no instance {instance_id}")
        return self.state.instances[instance_id]

    def _set_hosts(self, hosts: Mapping[str, Host]) -> None:
        for name, host in self.state.hosts.items():
            if name not in hosts:
                self._ledger.drop("host", host)
        for name, host in hosts.items():
            if self.state.hosts.get(name) != host:
                self._ledger.put("host", host)


def _configured(function: Function, request: FunctionRequest) -> Function:
    return replace(
        function,
        image=request.image,
        ingress=request.ingress,
        calls=request.calls,
        environment=dict(request.environment),
        labels=dict(request.labels),
        annotations=dict(request.annotations),
        secrets=request.secrets,
        limits=dict(request.limits),
        stores=request.stores,
        read_only_root_filesystem=request.read_only_root_filesystem,
    )


def _store(namespace: str, kind: datastores.StoreKind, number: int, node: str) -> Function:
    """A store as it is deployed: one instance, on the first node of the list `node`."""
    return Function(
        namespace,
        kind.name,
        number,
        addressing.vip(number),
        image="",
        replicas=1,
        annotations={NODE_ANNOTATION: node} if node else {},
        secrets=(kind.secret,) if kind.secret else (),
        port=kind.port,
        store=True,
    )


def _runs(function: Function) -> tuple[Any, ...]:
    """What an instance depends on; when it changes, instances are replaced."""
    node = function.annotations.get(NODE_ANNOTATION)
    surroundings = sorted(function.secrets), function.limits, function.stores, function.read_only_root_filesystem
    return function.image, function.build, function.environment, node, *surroundings

"""The apiserver's state: deployments, functions, instances and hosts, with a version for every change.

Each request is one transaction: applied to a copy, written to SQLite, and only then kept. One change
has one version; versions go up by one and survive restarts. The store decides nothing about wire
formats (see `apiserver`), about who may ask for what (`validation`), or about where instances go
(`scheduler`).
"""

from __future__ import annotations

import json
import sqlite3
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from testbed import addressing
from testbed.errors import PlatformError
from testbed.model import WATCH_KINDS, ClusterState, Deployment, Function, Host, Instance, Phase, Route
from testbed.platform import scheduler
from testbed.platform.validation import MIN_SCALE_LABEL, FunctionRequest
from testbed.stack import NODE_ANNOTATION

KEPT_EVENTS = 10_000
"""How many changes a watcher may be behind before it gets a snapshot instead."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS objects (kind TEXT, key TEXT, body TEXT NOT NULL, PRIMARY KEY (kind, key));
CREATE TABLE IF NOT EXISTS counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL);
"""
_RECORD = "record"
_REMOVING = "removing"


class NotFound(PlatformError):
    """There is no such function, instance or namespace."""


class Conflict(PlatformError):
    """The object exists already, or its present state does not allow the change."""


@dataclass(frozen=True)
class Record:
    """What is kept of a function beside its `Function`. `removing`: it goes once its instances are gone."""

    created_at: str
    build: str
    removing: bool = False
    extra: Mapping[str, Any] = field(default_factory=dict)


class Store:
    """Synchronous; not for use from several threads. Every method that changes something is atomic."""

    def __init__(
        self, database: Path, nodes: Sequence[int], hosts: Sequence[Host], kept_events: int = KEPT_EVENTS
    ) -> None:
        """Open the database, or make it; `nodes` and `hosts` are the cluster's, whatever it was before."""
        self._database = sqlite3.connect(database, isolation_level=None)
        self._database.execute("PRAGMA journal_mode=WAL")
        self._database.execute("PRAGMA synchronous=NORMAL")
        self._database.executescript(_SCHEMA)
        self._history: deque[dict[str, Any]] = deque(maxlen=kept_events)
        self._pending: list[dict[str, Any]] = []
        self._records: dict[str, Record] = {}
        self._removing: frozenset[str] = frozenset()
        self._counters: dict[str, int] = {}
        self.state = ClusterState(nodes=tuple(nodes))
        self._load()
        with self._transaction():
            self._set_hosts({host.name: host for host in hosts})

    def close(self) -> None:
        self._database.close()

    def record(self, full_name: str) -> Record:
        """What is kept of the function `name.namespace` beside its `Function`."""
        return self._records[full_name]

    def events_since(self, version: int) -> list[dict[str, Any]] | None:
        """The events after `version`, or None when they are not kept any more (or never happened)."""
        oldest = self._history[0]["version"] if self._history else self.state.version + 1
        if not oldest - 1 <= version <= self.state.version:
            return None
        return [event for event in self._history if event["version"] > version] if version < self.state.version else []

    # Namespaces

    def put_namespace(self, namespace: str, route: Route, *, create: bool) -> None:
        """Make (`create`) or change a namespace; its route changes only while it has no functions."""
        with self._transaction():
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
            self._removing -= {namespace}
            if present != Deployment(namespace, route):
                self._put("deployment", Deployment(namespace, route))

    def remove_namespace(self, namespace: str) -> None:
        """Remove a namespace and its functions; it disappears once their instances are gone."""
        with self._transaction():
            if namespace not in self.state.deployments:
                raise NotFound(f"there is no namespace {namespace}")
            self._removing |= {namespace}
            for function in self._functions_of(namespace):
                self._begin_removal(function)
            self._finish_namespace(namespace)

    # Functions

    def create_function(self, request: FunctionRequest, build: str) -> None:
        """Deploy a function; a namespace that does not exist is made, with route gateway."""
        full_name = f"{request.name}.{request.namespace}"
        with self._transaction():
            if full_name in self.state.functions:
                gone = self._records[full_name].removing
                raise Conflict(
                    f"function {full_name} is still being removed; deploy it again in a moment"
                    if gone
                    else f"function {full_name} exists already; update it with PUT"
                )
            if request.namespace in self._removing:
                raise Conflict(f"namespace {request.namespace} is still being removed; deploy again in a moment")
            if request.namespace not in self.state.deployments:
                self._put("deployment", Deployment(request.namespace))
            number = scheduler.next_id(
                {function.id for function in self.state.functions.values()},
                self._counters.get("next id", addressing.FIRST_FUNCTION_ID),
            )
            self._counters["next id"] = number + 1
            self._records[full_name] = Record(
                datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"), build, extra=dict(request.extra)
            )
            function = Function(
                request.namespace, request.name, number, addressing.vip(number), request.image, request.min_replicas
            )
            self._put("function", _configured(function, request))
            self._reconcile(full_name)
            self._renew_callers(request)

    def update_function(self, request: FunctionRequest, build: str) -> None:
        """Change a function; running instances are replaced when what they run has changed."""
        full_name = f"{request.name}.{request.namespace}"
        with self._transaction():
            function, record = self._present(full_name)
            changed = _configured(function, request)
            if _runs(changed) != _runs(function) or build != record.build:
                changed = replace(changed, revision=function.revision + 1)
            if request.labels.get(MIN_SCALE_LABEL) != function.labels.get(MIN_SCALE_LABEL):
                changed = replace(changed, replicas=request.min_replicas)
            self._records[full_name] = replace(record, build=build, extra=dict(request.extra))
            if changed != function:
                self._put("function", changed)
            self._reconcile(full_name)

    def remove_function(self, full_name: str) -> None:
        """Remove a function: its instances drain, then it disappears and its id is free."""
        with self._transaction():
            function, _ = self._present(full_name)
            self._begin_removal(function)

    def scale_function(self, full_name: str, replicas: int) -> None:
        with self._transaction():
            function, _ = self._present(full_name)
            if function.replicas != replicas:
                self._put("function", replace(function, replicas=replicas))
            self._reconcile(full_name)

    # Instances

    def set_phase(self, instance_id: str, phase: Phase) -> None:
        """What a node agent reports. An instance that drains never comes back."""
        with self._transaction():
            instance = self._instance(instance_id)
            if instance.phase is Phase.DRAINING and phase is not Phase.DRAINING:
                raise Conflict(f"instance {instance_id} is draining; it cannot become {phase.value}")
            if instance.phase is not phase:
                self._put("instance", replace(instance, phase=phase))
                self._reconcile(instance.function_name)

    def delete_instance(self, instance_id: str) -> None:
        """A node agent has taken the instance away."""
        with self._transaction():
            instance = self._instance(instance_id)
            self._drop("instance", instance)
            self._reconcile(instance.function_name)

    # Decisions applied

    def _reconcile(self, full_name: str) -> None:
        """Make and drain instances as the scheduler plans; finish a removal whose instances are gone."""
        function = self.state.functions[full_name]
        instances = [one for one in self.state.instances.values() if one.function_name == full_name]
        load = Counter(one.node for one in self.state.instances.values())
        plan = scheduler.plan(function, instances, self.state.nodes, load)
        for node in plan.create:
            self._put("instance", self._new_instance(function, node))
        for instance_id in plan.drain:
            self._put("instance", replace(self.state.instances[instance_id], phase=Phase.DRAINING))
        if self._records[full_name].removing and not instances:
            del self._records[full_name]
            self._drop("function", function)
            self._finish_namespace(function.namespace)

    def _new_instance(self, function: Function, node: int) -> Instance:
        serial = self._counters.get(f"serial {function.full_name}", 1)
        self._counters[f"serial {function.full_name}"] = serial + 1
        taken = {one.eip for one in self.state.instances.values() if one.node == node}
        taken |= {one.eip for one in self.state.hosts.values() if one.node == node}
        eip, index = scheduler.next_eip(node, taken, self._counters.get(f"next eip node{node}", 1))
        self._counters[f"next eip node{node}"] = index + 1
        return Instance(
            f"{function.full_name}.{serial}",
            function.namespace,
            function.name,
            node,
            eip,
            revision=function.revision,
        )

    def _begin_removal(self, function: Function) -> None:
        self._records[function.full_name] = replace(self._records[function.full_name], removing=True)
        if function.replicas:
            self._put("function", replace(function, replicas=0))
        self._reconcile(function.full_name)

    def _finish_namespace(self, namespace: str) -> None:
        if namespace in self._removing and not self._functions_of(namespace):
            self._removing -= {namespace}
            self._drop("deployment", self.state.deployments[namespace])

    def _renew_callers(self, request: FunctionRequest) -> None:
        """Instances that run with the vIP of an earlier deployment of this function are replaced."""
        if self.state.route(request.namespace) is not Route.DIRECT:
            return
        for caller in self._functions_of(request.namespace):
            running = any(
                one.function_name == caller.full_name and one.phase in (Phase.READY, Phase.NOT_READY)
                for one in self.state.instances.values()
            )
            if request.name in caller.calls and running:
                self._put("function", replace(caller, revision=caller.revision + 1))
                self._reconcile(caller.full_name)

    def _functions_of(self, namespace: str) -> list[Function]:
        return [function for function in self.state.functions.values() if function.namespace == namespace]

    def _present(self, full_name: str) -> tuple[Function, Record]:
        record = self._records.get(full_name)
        if record is None or record.removing:
            raise NotFound(f"there is no function {full_name}")
        return self.state.functions[full_name], record

    def _instance(self, instance_id: str) -> Instance:
        if instance_id not in self.state.instances:
            raise NotFound(f"there is no instance {instance_id}")
        return self.state.instances[instance_id]

    def _set_hosts(self, hosts: Mapping[str, Host]) -> None:
        for name, host in self.state.hosts.items():
            if name not in hosts:
                self._drop("host", host)
        for name, host in hosts.items():
            if self.state.hosts.get(name) != host:
                self._put("host", host)

    # Events and their way into SQLite

    def _put(self, kind: str, value: Any) -> None:
        self._event("PUT", kind, value)

    def _drop(self, kind: str, value: Any) -> None:
        self._event("DELETE", kind, value)

    def _event(self, action: str, kind: str, value: Any) -> None:
        event = {"type": action, "version": self.state.version + 1, "kind": kind, "object": value.to_json()}
        self.state = self.state.apply(event)
        self._pending.append(event)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """Keep what the block changed if SQLite took it; otherwise leave everything as it was."""
        before = (self.state, dict(self._records), self._removing, dict(self._counters))
        self._pending = []
        try:
            yield
            self._write(before[1], before[2], before[3])
        except BaseException as error:
            self.state, self._records, self._removing, self._counters = before
            if isinstance(error, sqlite3.Error):
                raise PlatformError(
                    f"the apiserver cannot write its database ({error}); make room on its disk and try again"
                ) from error
            raise
        self._history.extend(self._pending)

    def _write(self, records: Mapping[str, Record], removing: frozenset[str], counters: Mapping[str, int]) -> None:
        with self._database:
            self._database.execute("BEGIN IMMEDIATE")
            for event in self._pending:
                key = WATCH_KINDS[event["kind"]][2](WATCH_KINDS[event["kind"]][1].from_json(event["object"]))
                self._write_object(event["kind"], key, event["object"] if event["type"] == "PUT" else None)
            for name in records.keys() | self._records.keys():
                if records.get(name) != self._records.get(name):
                    record = self._records.get(name)
                    self._write_object(_RECORD, name, asdict(record) if record else None)
            for name in removing ^ self._removing:
                self._write_object(_REMOVING, name, {} if name in self._removing else None)
            for name, value in {**self._counters, "version": self.state.version}.items():
                if counters.get(name) != value:
                    self._database.execute("INSERT OR REPLACE INTO counters VALUES (?, ?)", (name, value))

    def _write_object(self, kind: str, key: str, body: Mapping[str, Any] | None) -> None:
        if body is None:
            self._database.execute("DELETE FROM objects WHERE kind = ? AND key = ?", (kind, key))
        else:
            self._database.execute("INSERT OR REPLACE INTO objects VALUES (?, ?, ?)", (kind, key, json.dumps(body)))

    def _load(self) -> None:
        rows: dict[str, dict[str, Any]] = {}
        for kind, key, body in self._database.execute("SELECT kind, key, body FROM objects ORDER BY rowid"):
            rows.setdefault(kind, {})[key] = json.loads(body)
        self._counters = dict(self._database.execute("SELECT name, value FROM counters"))
        self._records = {key: Record(**body) for key, body in rows.get(_RECORD, {}).items()}
        self._removing = frozenset(rows.get(_REMOVING, {}))
        parts: dict[str, Any] = {
            attribute: {key: value_class.from_json(body) for key, body in rows.get(kind, {}).items()}
            for kind, (attribute, value_class, _) in WATCH_KINDS.items()
        }
        self.state = replace(self.state, version=self._counters.pop("version", 0), **parts)


def _configured(function: Function, request: FunctionRequest) -> Function:
    return replace(
        function,
        image=request.image,
        ingress=request.ingress,
        calls=request.calls,
        environment=dict(request.environment),
        labels=dict(request.labels),
        annotations=dict(request.annotations),
    )


def _runs(function: Function) -> tuple[Any, ...]:
    """What an instance depends on; when it changes, instances are replaced."""
    return function.image, function.environment, function.annotations.get(NODE_ANNOTATION)

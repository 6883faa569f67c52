"""The functions that the gateway knows, by the names under which they are invoked.

`Functions.update` takes the cluster state that the apiserver publishes; `Functions.find` answers a
request. A `FunctionUpstream` keeps its pool of connections and its counters as long as its vIP stays.

A function that its application does not offer to the outside, in a namespace whose calls travel
directly, is not found here at all: the gateway answers for it as for an unknown function, so that an
outsider cannot tell the two apart. On the gateway route internal functions must be found, because
the calls between functions come this way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from testbed.model.cluster import ClusterState, Function, Phase, Route
from testbed.platform.gateway.http.pool import Pool, Upstream
from testbed.platform.gateway.service.metrics import FunctionMetrics
from testbed.platform.gateway.service.ui import Row

PoolFactory = Callable[[str], Pool]


class FunctionUpstream(Upstream):
    """A function as the gateway sees it. `endpoints` are the ids of its READY instances."""

    __slots__ = ("endpoints", "function", "metrics", "removed")

    def __init__(self, function: Function, pool: Pool, metrics: FunctionMetrics) -> None:
        super().__init__(pool)
        self.function = function
        self.metrics = metrics
        self.removed = False
        self.endpoints: frozenset[str] = frozenset()


class Functions:
    """All functions. `ready` is false until the first cluster state came."""

    def __init__(self, make_pool: PoolFactory, default_namespace: str) -> None:
        self.ready = False
        self._make_pool = make_pool
        self._default_namespace = default_namespace
        self._upstreams: dict[str, FunctionUpstream] = {}
        self._metrics: dict[str, FunctionMetrics] = {}
        self._names: dict[bytes, FunctionUpstream] = {}
        self.find = self._names.get

    def update(self, state: ClusterState) -> None:
        """Follow the cluster state: new functions, removed ones, other instances. Stores are nobody's to invoke."""
        state = state.without_stores()
        self.ready = True
        endpoints: dict[str, set[str]] = {name: set() for name in state.functions}
        for instance in state.instances.values():
            if instance.phase is Phase.READY and instance.function_name in endpoints:
                endpoints[instance.function_name].add(instance.id)
        for name in self._upstreams.keys() - state.functions.keys():
            self._remove(name)
        for name, function in state.functions.items():
            self._put(function, frozenset(endpoints[name]))
        self._index(state)

    def metrics(self) -> list[FunctionMetrics]:
        return list(self._metrics.values())

    def metrics_of(self, name: str) -> FunctionMetrics:
        """The numbers of the function of this full name, deployed or not."""
        return self._metrics.setdefault(name, FunctionMetrics(name))

    def invocations(self, full_name: str) -> int:
        """How many invocations of this function are over."""
        metrics = self._metrics.get(full_name)
        return metrics.invocations if metrics is not None else 0

    def rows(self) -> list[Row]:
        """Every function, as the gateway's page shows it."""
        return [self._row(full_name, upstream) for full_name, upstream in self._upstreams.items()]

    def _row(self, full_name: str, upstream: FunctionUpstream) -> Row:
        function = upstream.function
        return Row(
            function.name,
            function.namespace,
            function.image,
            len(upstream.endpoints),
            function.replicas,
            upstream.metrics.invocations,
            full_name.encode() in self._names,
        )

    def pools(self) -> Iterator[Pool]:
        return (upstream.pool for upstream in self._upstreams.values())

    def _put(self, function: Function, endpoints: frozenset[str]) -> None:
        name = function.full_name
        upstream = self._upstreams.get(name)
        if upstream is None or upstream.function.vip != function.vip:
            if upstream is not None:
                self._remove(name)
            metrics = self.metrics_of(name)
            pool = self._make_pool(function.vip)
            metrics.pools.append(pool)
            upstream = self._upstreams[name] = FunctionUpstream(function, pool, metrics)
        upstream.function = function
        if upstream.endpoints != endpoints:
            upstream.endpoints = endpoints
            upstream.pool.renew()
        upstream.metrics.function = function

    def _remove(self, name: str) -> None:
        upstream = self._upstreams.pop(name)
        upstream.removed = True
        upstream.pool.renew()
        upstream.metrics.function = None

    def _index(self, state: ClusterState) -> None:
        """Both forms of every name that may be invoked from here (see the module's docstring)."""
        self._names.clear()
        for name, upstream in self._upstreams.items():
            function = state.functions[name]
            if function.ingress or state.route(function.namespace) is Route.GATEWAY:
                self._names[name.encode()] = upstream
                if function.namespace == self._default_namespace:
                    self._names[function.name.encode()] = upstream

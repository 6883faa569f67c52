"""The functions that the gateway knows, by the names under which they are invoked.

`Services.update` takes the cluster state that the apiserver publishes; `Services.find` answers a
request. A `Service` keeps its pool of connections and its counters as long as its vIP stays.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from testbed.model.cluster import ClusterState, Function, Phase, Route
from testbed.platform.gateway.http.pool import Pool
from testbed.platform.gateway.service.metrics import FunctionMetrics
from testbed.platform.gateway.service.ui import Row

PoolFactory = Callable[[str], Pool]


class Upstream:
    """Something that exchanges are forwarded to; `head` holds the header lines that it always gets."""

    __slots__ = ("head", "pool")

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        connection = b"" if pool.pooled else b"Connection: close\r\n"
        self.head = b"Host: %b:%d\r\n%b" % (pool.host.encode(), pool.port, connection)


class Service(Upstream):
    """A function as the gateway sees it. `endpoints` are the ids of its READY instances."""

    __slots__ = ("endpoints", "function", "metrics", "removed")

    def __init__(self, function: Function, pool: Pool, metrics: FunctionMetrics) -> None:
        super().__init__(pool)
        self.function = function
        self.metrics = metrics
        self.removed = False
        self.endpoints: frozenset[str] = frozenset()


class Services:
    """All functions. `ready` is false until the first cluster state came."""

    def __init__(self, make_pool: PoolFactory, default_namespace: str) -> None:
        self.ready = False
        self._make_pool = make_pool
        self._default_namespace = default_namespace
        self._services: dict[str, Service] = {}
        self._metrics: dict[str, FunctionMetrics] = {}
        self._names: dict[bytes, Service] = {}
        self.find = self._names.get

    def update(self, state: ClusterState) -> None:
        """Follow the cluster state: new functions, removed ones, other instances. Stores are nobody's to invoke."""
        state = state.without_stores()
        self.ready = True
        endpoints: dict[str, set[str]] = {name: set() for name in state.functions}
        for instance in state.instances.values():
            if instance.phase is Phase.READY and instance.function_name in endpoints:
                endpoints[instance.function_name].add(instance.id)
        for name in self._services.keys() - state.functions.keys():
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
        return [self._row(full_name, service) for full_name, service in self._services.items()]

    def _row(self, full_name: str, service: Service) -> Row:
        function = service.function
        return Row(
            function.name,
            function.namespace,
            function.image,
            len(service.endpoints),
            function.replicas,
            service.metrics.invocations,
            full_name.encode() in self._names,
        )

    def pools(self) -> Iterator[Pool]:
        return (service.pool for service in self._services.values())

    def _put(self, function: Function, endpoints: frozenset[str]) -> None:
        name = function.full_name
        service = self._services.get(name)
        if service is None or service.function.vip != function.vip:
            if service is not None:
                self._remove(name)
            metrics = self.metrics_of(name)
            pool = self._make_pool(function.vip)
            metrics.pools.append(pool)
            service = self._services[name] = Service(function, pool, metrics)
        service.function = function
        if service.endpoints != endpoints:
            service.endpoints = endpoints
            service.pool.renew()
        service.metrics.function = function

    def _remove(self, name: str) -> None:
        service = self._services.pop(name)
        service.removed = True
        service.pool.renew()
        service.metrics.function = None

    def _index(self, state: ClusterState) -> None:
        """Both forms of every name that may be invoked from here (see gateway_routes)."""
        self._names.clear()
        for name, service in self._services.items():
            function = state.functions[name]
            if function.ingress or state.route(function.namespace) is Route.GATEWAY:
                self._names[name.encode()] = service
                if function.namespace == self._default_namespace:
                    self._names[function.name.encode()] = service

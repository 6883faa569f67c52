"""What the gateway counts, under the metric names and labels of OpenFaaS 0.23.0, and two names of its own.

`code` 499 stands for a client that went away before its answer was complete.
"""

from __future__ import annotations

from collections.abc import Iterable

from testbed.model.annotations import MIN_SCALE_LABEL, SCALE_TARGET_LABEL, SCALE_TYPE_LABEL
from testbed.model.cluster import Function
from testbed.platform.common.prometheus import Histogram, family, sample
from testbed.platform.gateway.http.pool import Pool

DEFAULT_MIN_REPLICAS = 1
DEFAULT_TARGET_LOAD = 10
DEFAULT_SCALING_TYPE = "rps"
MAX_PATHS = 1000
"""So many different paths of /system are counted apart; a name that nobody deployed is a path as well."""


class Counted:
    """Requests of one sort: how many began, and how long those took that are over, by status code."""

    __slots__ = ("by_code", "started")

    def __init__(self) -> None:
        self.started = 0
        self.by_code: dict[int, Histogram] = {}

    def finished(self, code: int, seconds: float) -> None:
        histogram = self.by_code.get(code)
        if histogram is None:
            histogram = self.by_code[code] = Histogram()
        histogram.observe(seconds)


class FunctionMetrics(Counted):
    """The numbers of one function; they outlive its removal (`function` is None then), as counters must.

    `opened_before`: connections that earlier gateways opened.
    """

    __slots__ = ("function", "name", "opened_before", "pools")

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name
        self.pools: list[Pool] = []
        self.opened_before = 0
        self.function: Function | None = None

    @property
    def upstream_connections(self) -> int:
        return self.opened_before + sum(pool.opened for pool in self.pools)

    @property
    def invocations(self) -> int:
        return sum(histogram.count for histogram in self.by_code.values())


class RequestMetrics:
    """The numbers of requests to the routes of /system, by method and path."""

    def __init__(self) -> None:
        self.by_request: dict[tuple[str, str], Counted] = {}

    def of(self, method: bytes, target: bytes) -> Counted:
        path = target.partition(b"?")[0].rstrip(b"/").decode("latin-1") or "/"
        key = (method.decode("latin-1"), path)
        if key not in self.by_request and len(self.by_request) >= MAX_PATHS:
            key = (key[0], "/system/other")
        return self.by_request.setdefault(key, Counted())

    def render(self, prefix: str = "", code_label: str = "status") -> str:
        """The two families, named as the gateway does; the provider proxy has a prefix and says "code"."""
        rows = [
            (dict(sorted({"method": method, "path": path, code_label: str(code)}.items())), histogram)
            for (method, path), counted in sorted(self.by_request.items())
            for code, histogram in sorted(counted.by_code.items())
        ]
        durations, total = f"{prefix}http_request_duration_seconds", f"{prefix}http_requests_total"
        lines = (line for labels, histogram in rows for line in histogram.lines(durations, labels))
        totals = (sample(total, labels, histogram.count) for labels, histogram in rows)
        return family(durations, "histogram", "Seconds spent serving HTTP requests.", lines) + family(
            total, "counter", "The total number of HTTP requests.", totals
        )


def render(functions: Iterable[FunctionMetrics], requests: RequestMetrics, version: int) -> str:
    """All families in Prometheus's text format. `version` is that of the cluster state in force."""
    functions = sorted(functions, key=lambda function: function.name)
    deployed = [one.function for one in functions if one.function is not None]
    by_code = [
        (function, {"function_name": function.name, "code": str(code)}, histogram)
        for function in functions
        for code, histogram in sorted(function.by_code.items())
    ]
    return "".join(
        (
            family(
                "gateway_function_invocation_total",
                "counter",
                "Function metrics",
                (
                    sample("gateway_function_invocation_total", _code_first(labels), histogram.count)
                    for _, labels, histogram in by_code
                ),
            ),
            _per_function(
                "gateway_function_invocation_started",
                "counter",
                "The total number of function HTTP requests started.",
                ((function.name, function.started) for function in functions),
            ),
            family(
                "gateway_functions_seconds",
                "histogram",
                "Function time taken",
                (
                    line
                    for _, labels, histogram in by_code
                    for line in histogram.lines("gateway_functions_seconds", _code_first(labels))
                ),
            ),
            _per_function(
                "gateway_service_count",
                "gauge",
                "Current count of replicas for function",
                ((function.full_name, function.replicas) for function in deployed),
            ),
            _per_function(
                "gateway_service_min",
                "gauge",
                "Minium replicas for function",  # spelt so in OpenFaaS
                ((one.full_name, _label(one, MIN_SCALE_LABEL, DEFAULT_MIN_REPLICAS)) for one in deployed),
            ),
            family("gateway_service_target_load", "gauge", "Target load for function", map(_target_load, deployed)),
            requests.render(),
            _connections(functions),
            _version(version),
        )
    )


def render_provider(functions: Iterable[FunctionMetrics], requests: RequestMetrics, version: int) -> str:
    """The provider proxy's families: faas-provider's names, and the gateway's own two."""
    connections = _connections(sorted(functions, key=lambda function: function.name))
    return requests.render("provider_", "code") + connections + _version(version)


def _connections(functions: Iterable[FunctionMetrics]) -> str:
    return _per_function(
        "testbed_gateway_upstream_connections_total",
        "counter",
        "TCP connections that the gateway opened to the function",
        ((function.name, function.upstream_connections) for function in functions),
    )


def _version(version: int) -> str:
    name = "testbed_gateway_resource_version"
    return family(
        name, "gauge", "Version of the cluster state that the gateway works with", [sample(name, {}, version)]
    )


def _target_load(function: Function) -> str:
    kind = function.labels.get(SCALE_TYPE_LABEL) or DEFAULT_SCALING_TYPE
    labels = {"function_name": function.full_name, "scaling_type": kind}
    target = _label(function, SCALE_TARGET_LABEL, DEFAULT_TARGET_LOAD)
    return sample("gateway_service_target_load", labels, target)


def _label(function: Function, name: str, default: int) -> int:
    """A label's number; as in OpenFaaS, one that is no number counts as 0 and not as missing."""
    value = function.labels.get(name)
    return (int(value) if value.isdecimal() else 0) if value else default


def _code_first(labels: dict[str, str]) -> dict[str, str]:
    return dict(sorted(labels.items()))


def _per_function(name: str, kind: str, help_text: str, values: Iterable[tuple[str, float]]) -> str:
    return family(name, kind, help_text, (sample(name, {"function_name": key}, value) for key, value in values))

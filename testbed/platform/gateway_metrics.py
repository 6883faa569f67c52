"""What the gateway counts, under OpenFaaS's metric names and labels, and two names of its own.

`code` 499 stands for a client that went away before its answer was complete.
"""

from __future__ import annotations

from collections.abc import Iterable

from testbed.platform.gateway_upstream import Pool
from testbed.platform.metrics import Histogram, family, sample


class FunctionMetrics:
    """The numbers of one function; they outlive its removal, as counters must.

    `opened_before`: connections that earlier gateways opened.
    """

    __slots__ = ("by_code", "name", "opened_before", "pools", "replicas", "started")

    def __init__(self, name: str) -> None:
        self.name = name
        self.started = 0
        self.by_code: dict[int, Histogram] = {}
        self.pools: list[Pool] = []
        self.opened_before = 0
        self.replicas: int | None = None

    def finished(self, code: int, seconds: float) -> None:
        histogram = self.by_code.get(code)
        if histogram is None:
            histogram = self.by_code[code] = Histogram()
        histogram.observe(seconds)

    @property
    def upstream_connections(self) -> int:
        return self.opened_before + sum(pool.opened for pool in self.pools)

    @property
    def invocations(self) -> int:
        return sum(histogram.count for histogram in self.by_code.values())


def render(functions: Iterable[FunctionMetrics], version: int) -> str:
    """All families in Prometheus's text format. `version` is that of the cluster state in force."""
    functions = sorted(functions, key=lambda function: function.name)
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
                ((function.name, function.replicas) for function in functions if function.replicas is not None),
            ),
            _per_function(
                "testbed_gateway_upstream_connections_total",
                "counter",
                "TCP connections that the gateway opened to the function",
                ((function.name, function.upstream_connections) for function in functions),
            ),
            family(
                "testbed_gateway_resource_version",
                "gauge",
                "Version of the cluster state that the gateway works with",
                [sample("testbed_gateway_resource_version", {}, version)],
            ),
        )
    )


def _code_first(labels: dict[str, str]) -> dict[str, str]:
    return dict(sorted(labels.items()))


def _per_function(name: str, kind: str, help_text: str, values: Iterable[tuple[str, float]]) -> str:
    return family(name, kind, help_text, (sample(name, {"function_name": key}, value) for key, value in values))

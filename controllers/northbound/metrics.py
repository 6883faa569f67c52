"""GET /metrics: counters and change latencies in Prometheus' text format. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric, SummaryMetricFamily

_COUNTERS = (
    ("calls", "directfaas_call_connections", "Connections admitted by DagPolicy", ("caller", "callee"), "packets"),
    ("services", "directfaas_service_connections", "Connections given to an instance", ("function",), "connections"),
    ("endpoints", "directfaas_endpoint_connections", "Connections given to one", ("instance",), "connections"),
    ("drops", "directfaas_dropped_packets", "Packets dropped", ("table", "reason"), "packets"),
)
_OUTCOMES = ("held", "released", "reset", "expired", "repeated", "passed", "overflowed")
_PHASES = ("generate", "translate", "install")


class _Collector:
    def __init__(self, metrics: Sequence[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[Metric]:
        return self._metrics


def exposition(
    counters: Mapping[str, Sequence[Mapping[str, Any]]],
    latencies: Sequence[Mapping[str, Any]],
    versions: Mapping[str, int],
    switches: int,
    repaired: Mapping[int, int],
) -> bytes:
    """The whole page. `latencies` are those of the last changes, as GET /latency has them, in ms.

    `repaired`: by node, what was found on its switch that the controller had not put there, or missed.
    """
    metrics: list[Metric] = []
    for section, name, help_text, labels, value in _COUNTERS:
        family = CounterMetricFamily(name, help_text, labels=(*labels, "node"))
        for counter in counters[section]:
            family.add_metric(
                [*(str(counter.get(label, "")) for label in labels), str(counter["node"])], counter[value]
            )
        metrics.append(family)
    metrics += _holds(counters.get("holds", ()))
    version = GaugeMetricFamily(
        "directfaas_version", "Resource version seen, and applied by every switch", labels=["of"]
    )
    for name, number in versions.items():
        version.add_metric([name], number)
    changes = SummaryMetricFamily("directfaas_change_seconds", "Duration of the last changes", labels=["phase"])
    for phase in _PHASES:
        seconds = [latency[f"{phase}_ms"] / 1000 for latency in latencies]
        changes.add_metric([phase], len(seconds), sum(seconds))
    connected = GaugeMetricFamily("directfaas_switches_connected", "Switches connected", value=switches)
    repairs = CounterMetricFamily(
        "directfaas_repairs", "Rows, groups and meters that were not as told and were put right", labels=["node"]
    )
    for node, number in sorted(repaired.items()):
        repairs.add_metric([str(node)], number)
    registry = CollectorRegistry()
    registry.register(_Collector([*metrics, version, changes, connected, repairs]))
    return generate_latest(registry)


def _holds(holds: Sequence[Mapping[str, Any]]) -> list[Metric]:
    """Calls to functions that had no instance."""
    now = GaugeMetricFamily("directfaas_held_calls", "Calls held at the moment", labels=["function"])
    total = CounterMetricFamily(
        "directfaas_holds", "Calls held, what became of them, and what else was punted", labels=["function", "outcome"]
    )
    for hold in holds:
        now.add_metric([hold["function"]], hold["now"])
        for outcome in _OUTCOMES:
            total.add_metric([hold["function"], outcome], hold[outcome])
    return [now, total]

"""Counters that restart, disappear or cannot be read: no negative rate, no huge one, no call counted twice."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace

import pytest

from testbed.model.cluster import ClusterState, Deployment, Function, Route
from testbed.model.scaling.settings import PRESETS, Trigger
from testbed.platform.scaler.meter import Asked, Meter, parts
from testbed.platform.scaler.metric import Reading
from testbed.platform.scaler.rates import Key, RateWindow, Totals
from testbed.platform.scaler.sources import NotReadable, direct_calls, invocations

F = ("f.t", "200")
SETTINGS = replace(PRESETS["lab"], triggers=(Trigger("invocations", 10.0),))


def total(*readings: Mapping[Key, float]) -> float:
    totals = Totals()
    for reading in readings:
        totals.take(reading)
    return totals.of("f.t")


def test_the_first_reading_is_where_counting_begins() -> None:
    assert total({F: 100_000}) == 0
    assert total({F: 100_000}, {F: 100_007}) == 7
    assert total({}, {F: 3}) == 3


def test_a_counter_that_begins_again_counts_from_zero() -> None:
    assert total({F: 100}, {F: 110}, {F: 4}, {F: 6}) == 16


def test_a_counter_that_is_put_right_is_not_counted_once_more() -> None:
    assert total({F: 100_000}, {F: 99_999}, {F: 100_004}) == 5


def test_a_row_that_goes_and_comes_back_counts_from_zero() -> None:
    assert total({F: 100}, {}, {F: 5}, {F: 8}) == 8


def test_a_functions_counters_add_up() -> None:
    assert total({F: 1, ("f.t", "500"): 1, ("g.t", "200"): 1}, {F: 3, ("f.t", "500"): 2, ("g.t", "200"): 9}) == 3


def test_a_rate_is_taken_over_the_window_and_no_further_back_than_needed() -> None:
    window = RateWindow(3)
    window.add(100, 0)
    assert window.rate() is None
    for second, count in ((101, 30), (102, 60), (103, 90), (104, 90), (105, 90)):
        window.add(second, count)
    assert window.rate() == 10  # from 102 (60) to 105 (90)
    window.add(106, 90)
    assert window.rate() == 0


def test_a_gap_is_averaged_over_its_whole_length() -> None:
    window = RateWindow(3)
    window.add(100, 0)
    window.add(130, 300)
    assert window.rate() == 10


def state(route: Route = Route.DIRECT, ingress: bool = False, called: bool = True) -> ClusterState:
    f = Function("t", "f", 256, "10.96.1.0", "i", 1, ingress=ingress)
    g = Function("t", "g", 257, "10.96.1.1", "i", 1, ingress=True, calls=("f",) if called else ())
    return ClusterState(1, (1, 2), {"t": Deployment("t", route)}, {one.full_name: one for one in (f, g)})


@pytest.mark.parametrize(
    ("cluster", "sources"),
    [
        (state(Route.GATEWAY), ("gateway",)),
        (state(Route.GATEWAY, ingress=True), ("gateway",)),
        (state(Route.DIRECT), ("switches",)),
        (state(Route.DIRECT, ingress=True), ("gateway", "switches")),
        (state(Route.DIRECT, ingress=True, called=False), ("gateway",)),
        (state(Route.DIRECT, called=False), ("gateway",)),
    ],
)
def test_calls_are_counted_where_they_pass(cluster: ClusterState, sources: tuple[str, ...]) -> None:
    assert parts(cluster.functions["f.t"], cluster) == sources


def test_what_the_gateway_opens_is_not_counted_again_by_the_switches() -> None:
    def row(caller: str, callee: str, packets: int, node: int = 1) -> dict[str, object]:
        return {"caller": caller, "callee": callee, "node": node, "packets": packets}

    counters = {
        "calls": [
            row("gateway", "f.t", 50),
            row("g.t", "f.t", 7),
            row("g.t", "f.t", 2, 2),
            row("client", "gateway", 9),
        ],
        "services": [],
        "drops": [{"node": 1}, {"node": 2}],
    }
    found = direct_calls(counters, (1, 2))
    assert {key: value for key, value in found.items() if key[0] == "f.t"} == {
        ("f.t", "g.t", "1"): 7,
        ("f.t", "g.t", "2"): 2,
    }
    with pytest.raises(NotReadable, match="node3"):
        direct_calls(counters, (1, 2, 3))


def test_invocations_are_read_from_the_gateways_metrics() -> None:
    page = (
        "# TYPE gateway_function_invocation_total counter\n"
        'gateway_function_invocation_total{code="200",function_name="f.t"} 12\n'
        'gateway_function_invocation_total{function_name="f.t",code="502"} 1\n'
        'gateway_function_invocation_started{function_name="f.t"} 99\n'
    )
    assert invocations(page) == {("f.t", "200"): 12, ("f.t", "502"): 1}


class Rig:
    """A meter on counters that the test sets, with a clock that goes on by a second a reading."""

    def __init__(self, cluster: ClusterState) -> None:
        self.cluster = cluster
        self.now_s = 0.0
        self.counts: dict[str, float | None] = {"gateway": 0, "switches": 0}
        self.asked: list[str] = []
        self.meter = Meter({name: self._reader(name) for name in self.counts}, self._cpu, lambda: self.now_s)

    def _reader(self, name: str):  # type: ignore[no-untyped-def]
        async def read() -> Mapping[Key, float]:
            self.asked.append(name)
            count = self.counts[name]
            if count is None:
                raise NotReadable(f"{name} does not answer")
            return {F: count}

        return read

    async def _cpu(self, function: Function) -> float:
        raise NotReadable("no cgroups")

    def read(self, **counts: float | None) -> Reading:
        self.now_s += 1
        self.counts |= counts
        asked = [Asked(self.cluster.functions["f.t"], SETTINGS)]
        return asyncio.run(self.meter.read(asked, self.cluster))["f.t"]["invocations"]


def test_only_the_sources_that_matter_are_asked() -> None:
    rig = Rig(state(Route.GATEWAY))
    rig.read()
    assert rig.asked == ["gateway"]


def test_a_source_that_was_away_gives_no_value_and_then_the_true_average() -> None:
    rig = Rig(state(Route.DIRECT))
    rig.read(switches=1000)
    assert rig.read(switches=1010) == Reading(10.0)
    assert rig.read(switches=None) == Reading(None, "switches: switches does not answer", failed=True)
    assert rig.read(switches=None).value is None
    assert rig.read(switches=1040).value == 10.0


def test_a_source_that_began_again_gives_no_peak() -> None:
    rig = Rig(state(Route.GATEWAY))
    rig.read(gateway=50_000)
    rig.read(gateway=50_010)
    assert rig.read(gateway=6).value == 8.0


def test_both_sources_add_up() -> None:
    rig = Rig(state(Route.DIRECT, ingress=True))
    rig.read(gateway=5, switches=5)
    assert rig.read(gateway=8, switches=9).value == 7.0


def test_no_usage_is_needed_of_a_function_without_instances() -> None:
    rig = Rig(state())
    settings = replace(SETTINGS, triggers=(Trigger("cpu", 500.0),))
    function = rig.cluster.functions["f.t"]
    for replicas, value in ((0, 0.0), (1, None)):
        asked = [Asked(replace(function, replicas=replicas), settings)]
        assert asyncio.run(rig.meter.read(asked, rig.cluster))["f.t"]["cpu"].value == value

"""Trunk probes: which paths, which medians, and a real ping-pong where a network namespace may be made."""

import os
from datetime import UTC, datetime

from testbed.measure import calibration
from testbed.measure.calibration import TrunkProbe, paths, summarise
from testbed.measure.clocks import inspect_clocks, utc_stamp


def test_the_full_mesh_is_probed_with_one_local_reference():
    assert [(path.source, path.target_node, path.name) for path in paths([1, 2, 3])] == [
        ("client", 1, "local"),
        ("client", 2, "1-2"),
        ("client", 3, "1-3"),
        ("probe2", 3, "2-3"),
    ]


def test_a_trunk_adds_the_difference_of_medians():
    times = summarise({"local": [300_000, 310_000, 9_000_000], "1-2": [1_500_000, 1_510_000, 1_520_000]})
    assert times.local_rtt_ms == 0.31
    assert times.rtt_ms == {(1, 2): 1.51}
    assert round(times.added_ms[1, 2], 3) == 1.2


def test_noise_does_not_make_a_trunk_faster_than_nothing():
    assert summarise({"local": [400_000], "1-2": [390_000]}).added_ms == {(1, 2): 0.0}


class OneNamespace:
    """Stands for a lab whose hosts all are this machine's own namespace."""

    def netns(self, name):
        return os.open("/proc/self/ns/net", os.O_RDONLY)


def test_messages_really_go_there_and_back(monkeypatch):
    monkeypatch.setattr(calibration.addressing, "vip", lambda workload_id: "127.0.0.1")
    monkeypatch.setattr(calibration.addressing, "FUNCTION_PORT", 0)
    monkeypatch.setattr(calibration, "call_within", lambda fd, function: function())
    opened = []
    create_server = calibration.socket.create_server

    def remember(address):
        opened.append(create_server(("127.0.0.1", 0)))
        return opened[-1]

    monkeypatch.setattr(calibration.socket, "create_server", remember)
    create_connection = calibration.socket.create_connection
    monkeypatch.setattr(
        calibration.socket,
        "create_connection",
        lambda target, timeout: create_connection(opened[0].getsockname(), timeout),
    )
    with TrunkProbe(OneNamespace(), [1, 2]) as probe:
        rtts = probe.measure(25)
    assert {name: len(values) for name, values in rtts.items()} == {"local": 30, "1-2": 30}
    assert all(value > 0 for values in rtts.values() for value in values)


def test_clocks_are_inspected():
    report = inspect_clocks(sleeps=3)
    assert report.resolution_ns >= 1
    assert report.wake_late_worst_ms >= report.wake_late_median_ms


def test_run_names_carry_utc():
    assert utc_stamp(datetime(2026, 1, 31, 12, 5, 1, tzinfo=UTC)) == "20260131T120501Z"

"""The order in which the experiment does things, with a session that only pretends."""

from types import SimpleNamespace

import pandas as pd
import pytest
from rich.console import Console

from experiments import chain_length, chain_plan, chain_results
from experiments.analysis.wire import Connection
from experiments.base import Options
from experiments.chain_plan import Phase
from experiments.progress import Steps
from experiments.rawdata import RawWriter
from testbed.measure.cpu import CpuSample, CpuTimes

PHASE = Phase("node2", "pooled", 0.5)


class Cpu:
    """Time passes, all of it idle."""

    def __init__(self):
        self.now_s = 0.0

    def sample(self):
        self.now_s += 1.0
        return CpuSample(CpuTimes(0.0, 0.0, self.now_s, 0.0, 0.0), 0.0)


class Probe:
    """Round trips in ms, one list of medians after another; the last goes on."""

    def __init__(self, *medians_ms):
        self.medians_ms = list(medians_ms)

    def measure(self, round_trips):
        median_ms = self.medians_ms.pop(0) if len(self.medians_ms) > 1 else self.medians_ms[0]
        return {"local": [300_000] * 5, "1-2": [int(median_ms * 1e6)] * 5}


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setattr(chain_length, "PROBE_PAUSE_S", 0.0)
    config = chain_plan.resolve(Options(lengths=(1, 2), delays_ms=(0.5,), repetitions=12))
    session = SimpleNamespace(cpu=Cpu(), probe=None)
    measurement = chain_length.Measurement(config, session, None, RawWriter(tmp_path), Steps(Console(quiet=True), 1.0))
    measurement.calibrated = {("node2", 0.5): {"local": [300_000] * 5, "1-2": [1_500_000] * 5}}
    return measurement


def attempts(run):
    probes = pd.read_csv(run.raw.folder / "probes.csv")
    return sorted(set(probes["attempt"])), chain_results.trunk_times(probes, "before", PHASE.slug, 0.5)


def test_a_probe_that_agrees_with_calibration_is_made_once(run):
    run.session.probe = Probe(1.55)
    chain_length.probe_phase(run, "before", PHASE)
    assert attempts(run)[0] == [1]


def test_a_passing_disturbance_is_probed_again_and_kept(run):
    run.session.probe = Probe(3.0, 1.55)
    chain_length.probe_phase(run, "before", PHASE)
    tried, counts = attempts(run)
    assert tried == [1, 2]
    assert counts.rtt_ms == {(1, 2): 1.55}


def test_another_delay_stays_and_is_what_counts(run):
    run.session.probe = Probe(3.0)
    chain_length.probe_phase(run, "before", PHASE)
    tried, counts = attempts(run)
    assert tried == [1, 2, 3]
    assert counts.rtt_ms == {(1, 2): 3.0}


def test_counters_are_waited_for_and_never_longer_than_switches_take(monkeypatch):
    monkeypatch.setattr(chain_length, "SETTLE_POLL_S", 0.0)
    monkeypatch.setattr(chain_length, "SETTLE_TIMEOUT_S", 0.05)
    pair = ("client", "gateway")
    readings = iter([{pair: 10}, {pair: 12}, {pair: 15}])
    session = SimpleNamespace(caller_connections=lambda: next(readings))
    assert chain_length.settled(session, {pair: 10}, {pair: 5}) == {pair: 15}
    stuck = SimpleNamespace(caller_connections=lambda: {pair: 11})
    assert chain_length.settled(stuck, {pair: 10}, {pair: 5}) == {pair: 11}


def test_the_oracle_counts_warm_up_and_every_arm():
    config = chain_plan.resolve(Options(lengths=(2, 3), repetitions=12))
    plan = chain_plan.requests(config, chain_plan.Cell(PHASE, 3))
    expected = chain_length.expected_callers(plan, 3, Connection.PER_CALL)
    each = len(plan) // 3
    assert expected["client", "gateway"] == len(plan)
    assert expected["chain-2.chain-direct", "chain-3.chain-direct"] == each
    assert chain_length.expected_callers(plan, 3, Connection.KEEPALIVE) == {("client", "gateway"): len(plan)}
    assert expected["chain-2.chain-aa", "gateway"] == expected["chain-2.chain-gateway", "gateway"] == each


def test_the_weights_of_all_steps_add_up():
    config = chain_plan.resolve(Options())
    cells = [cell for phase in chain_plan.phases(config) for cell in chain_plan.cells(config, phase)]
    assert chain_length.total_weight(config) > sum(chain_plan.weight(config, cell) for cell in cells)

import pytest

from experiments import patience
from experiments.patience import ATTEMPTS, Patience
from testbed.measure.cpu import CpuSample, CpuTimes


def sample(at_s, steal_s):
    return CpuSample(CpuTimes(user_s=at_s, system_s=0.0, idle_s=at_s, interrupt_s=0.0, steal_s=steal_s), own_s=at_s)


QUIET = sample(0, 0), sample(1, 0)
BUSY = sample(0, 0), sample(1, 0.5)


class Cpu:
    """Gives out pairs of samples, two a look."""

    def __init__(self, *looks):
        self.samples = [each for look in looks for each in look]

    def sample(self):
        return self.samples.pop(0)


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch):
    monkeypatch.setattr(patience, "LOOK_S", 0.001)


def test_a_quiet_machine_is_not_waited_for():
    told = []
    waiting = Patience(Cpu(QUIET), told.append, limit_s=10)
    waiting.await_quiet()
    assert (waiting.waited_s, told) == (0.0, [])


def test_a_busy_machine_is_waited_for_until_it_is_quiet():
    told = []
    waiting = Patience(Cpu(BUSY, BUSY, QUIET), told.append, limit_s=10)
    waiting.await_quiet()
    assert waiting.waited_s > 0
    assert len(told) == 2


def test_what_others_disturbed_is_measured_again_and_nothing_else():
    waiting = Patience(Cpu(QUIET), str, limit_s=10)
    assert not waiting.again(1, *QUIET)
    assert waiting.again(1, *BUSY)
    assert waiting.repeated == 1


def test_nothing_is_measured_for_ever():
    assert not Patience(Cpu(), str, limit_s=10).again(ATTEMPTS, *BUSY)
    assert not Patience(Cpu(), str, limit_s=0).again(1, *BUSY)

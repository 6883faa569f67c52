"""Waiting for a quiet machine: how a run meets other programs and hypervisors that come and go.

What is measured while others use the machine is measured again, a bounded number of times. Whether to
does not depend on what was measured, only on whose the CPU was meanwhile; all attempts are kept.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from testbed.measure import fidelity
from testbed.measure.cpu import CpuMeter, CpuSample, shares

LOOK_S = 1.0
ATTEMPTS = 3
"""How often one thing is measured at most."""


class Patience:
    """A run's allowance of seconds for waiting. `limit_s` 0 takes the machine as it is."""

    def __init__(self, cpu: CpuMeter, say: Callable[[str], None], limit_s: float) -> None:
        self._cpu = cpu
        self._say = say
        self._limit_s = limit_s
        self.waited_s = 0.0
        self.repeated = 0

    @property
    def is_left(self) -> bool:
        return self.waited_s < self._limit_s

    def await_quiet(self) -> None:
        """Return when others leave the machine alone, or when the allowance is used up."""
        while self.is_left:
            before, begun_s = self._cpu.sample(), time.monotonic()
            time.sleep(LOOK_S)
            now = shares(before, self._cpu.sample())
            if not fidelity.is_busy(now.competing, now.steal):
                return
            self.waited_s += time.monotonic() - begun_s
            self._say(f"waiting for other programs, which use {max(now.competing, now.steal):.0%} of the CPU")

    def again(self, attempt: int, before: CpuSample, after: CpuSample) -> bool:
        """Was the machine too busy between the samples, and may this be measured again? Then it is quiet now."""
        between = shares(before, after)
        if not fidelity.is_busy(between.competing, between.steal) or attempt >= ATTEMPTS or not self.is_left:
            return False
        self.repeated += 1
        self.await_quiet()
        return True

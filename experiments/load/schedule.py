"""When requests of an open-loop load are due. Pure and seeded: the same arguments, the same times."""

from __future__ import annotations

from enum import Enum

import numpy as np

NS_PER_S = 1_000_000_000


class Arrivals(str, Enum):
    """How the gaps between requests are distributed."""

    FIXED = "fixed"
    POISSON = "poisson"


def schedule(arrivals: Arrivals, rate_per_s: float, duration_s: float, seed: int) -> list[int]:
    """Offsets in ns from the start at which requests are due, ascending, all within the duration.

    Raises:
        ValueError: the rate or the duration is not positive.
    """
    if rate_per_s <= 0 or duration_s <= 0:
        raise ValueError(f"a schedule needs a positive rate and duration, not {rate_per_s}/s for {duration_s} s")
    if arrivals is Arrivals.FIXED:
        return [int(index * NS_PER_S / rate_per_s) for index in range(int(rate_per_s * duration_s))]
    rng = np.random.default_rng(seed)
    expected = rate_per_s * duration_s
    gaps = rng.exponential(NS_PER_S / rate_per_s, size=int(expected + 10 * expected**0.5 + 10))
    times = np.cumsum(gaps)
    return [int(time) for time in times[times < duration_s * NS_PER_S]]

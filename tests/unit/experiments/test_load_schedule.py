"""Schedules are seeded, ascending, and as dense as asked."""

from itertools import pairwise

import pytest

from experiments.load.schedule import Arrivals, schedule


def test_fixed_arrivals_are_evenly_spaced():
    assert schedule(Arrivals.FIXED, 4, 1, seed=0) == [0, 250_000_000, 500_000_000, 750_000_000]


def test_poisson_arrivals_follow_the_seed():
    assert schedule(Arrivals.POISSON, 50, 10, seed=3) == schedule(Arrivals.POISSON, 50, 10, seed=3)
    assert schedule(Arrivals.POISSON, 50, 10, seed=3) != schedule(Arrivals.POISSON, 50, 10, seed=4)


def test_poisson_arrivals_have_the_rate_and_spread_of_a_poisson_process():
    times = schedule(Arrivals.POISSON, 100, 100, seed=5)
    assert abs(len(times) - 10_000) < 4 * 100  # four standard deviations
    assert times == sorted(times)
    gaps = [later - earlier for earlier, later in pairwise(times)]
    mean = sum(gaps) / len(gaps)
    variance = sum((gap - mean) ** 2 for gap in gaps) / len(gaps)
    assert variance**0.5 / mean == pytest.approx(1.0, abs=0.05)


def test_a_rate_of_nothing_is_refused():
    with pytest.raises(ValueError, match="positive rate"):
        schedule(Arrivals.FIXED, 0, 1, seed=0)

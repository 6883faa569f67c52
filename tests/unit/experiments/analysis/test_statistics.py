"""The statistics find what is there and do not find what is not."""

import numpy as np
import pytest

from experiments.analysis.statistics import (
    Equivalence,
    Interval,
    compare,
    equivalence,
    holm,
    quantile_ignoring_nan,
    slope,
)


def blocks(rng, centre_ms, count=20, size=5, *, noise_ms=0.3, mood=None):
    """Blocks of latencies around `centre_ms`; `mood` is the drift that both arms of a block share."""
    drift = np.zeros(count) if mood is None else mood
    return [list(rng.normal(centre_ms + drift[block], noise_ms, size)) for block in range(count)]


def test_a_known_difference_lies_in_its_interval():
    rng = np.random.default_rng(7)
    result = compare(blocks(rng, 12.0), blocks(rng, 11.0), seed=1)
    assert result.p50.interval.low <= 1.0 <= result.p50.interval.high
    assert result.p50.interval.low > 0.5
    assert result.p_value < 0.001
    assert result.blocks == 20
    assert result.requests == 100


def test_the_sign_is_reported_whatever_it_is():
    rng = np.random.default_rng(8)
    result = compare(blocks(rng, 10.0), blocks(rng, 12.0), seed=1)
    assert result.p50.interval.high < 0
    assert result.p50.ratio > 1


def test_pairing_removes_what_both_arms_share():
    rng = np.random.default_rng(9)
    mood = rng.normal(0, 5, 20)
    result = compare(blocks(rng, 20.0, mood=mood), blocks(rng, 19.5, mood=mood), seed=1)
    assert result.p_value < 0.01
    assert result.p50.interval.low > 0.2
    assert result.p50.interval.high < 0.8


def test_two_arms_of_the_same_kind_are_equivalent():
    rng = np.random.default_rng(10)
    result = compare(blocks(rng, 10.0), blocks(rng, 10.0), seed=1)
    assert equivalence(result.p50.interval, 0.5) is Equivalence.EQUIVALENT


def test_coverage_of_the_interval_is_near_what_it_promises():
    hits = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        interval = compare(blocks(rng, 10.0, count=12, size=3), blocks(rng, 9.0, count=12, size=3), seed).p50.interval
        hits += interval.contains(1.0)
    assert hits >= 51  # 95 % of 60 is 57; 85 % would be a broken interval


def test_equivalence_has_three_answers():
    assert equivalence(Interval(-0.1, 0.2, "BCa"), 0.3) is Equivalence.EQUIVALENT
    assert equivalence(Interval(0.1, 0.4, "BCa"), 0.3) is Equivalence.UNDECIDED
    assert equivalence(Interval(0.4, 0.6, "BCa"), 0.3) is Equivalence.DIFFERENT
    assert equivalence(Interval(-0.6, -0.4, "BCa"), 0.3) is Equivalence.DIFFERENT


def test_constant_blocks_give_a_degenerate_interval_instead_of_nan():
    result = compare([[2.0, 2.0]] * 6, [[1.0, 1.0]] * 6, seed=1)
    assert result.p50.interval == Interval(1.0, 1.0, "degenerate")


def test_where_bca_is_not_defined_the_percentile_interval_stands_in():
    first = [[5.0]] * 9 + [[6.0]]
    result = compare(first, [[5.0]] * 10, seed=1)
    assert result.p50.interval.method in {"percentile", "BCa"}
    assert np.isfinite([result.p50.interval.low, result.p50.interval.high]).all()


def test_the_same_seed_gives_the_same_interval():
    rng = np.random.default_rng(11)
    first, second = blocks(rng, 10.0), blocks(rng, 9.0)
    assert compare(first, second, 3) == compare(first, second, 3)


def test_p99_needs_a_thousand_requests():
    rng = np.random.default_rng(12)
    few = compare(blocks(rng, 10.0), blocks(rng, 9.0), seed=1)
    many = compare(blocks(rng, 10.0, size=50), blocks(rng, 9.0, size=50), seed=1)
    assert few.p99_first_ms is None
    assert many.p99_first_ms > many.p50.first_ms


def test_blocks_may_be_shorter_where_requests_failed():
    rng = np.random.default_rng(13)
    first = blocks(rng, 10.0)
    first[3] = first[3][:2]
    assert compare(first, blocks(rng, 9.0), seed=1).requests == 97


def test_quantiles_with_gaps_agree_with_numpy():
    values = np.array([[3.0, 1.0, np.nan, 2.0], [4.0, 8.0, 6.0, 2.0]])
    np.testing.assert_allclose(quantile_ignoring_nan(values, 0.95), np.nanquantile(values, 0.95, axis=-1))


def test_unpaired_or_empty_blocks_are_refused():
    with pytest.raises(ValueError, match="same two or more blocks"):
        compare([[1.0], [2.0]], [[1.0]], seed=1)
    with pytest.raises(ValueError, match="none of them empty"):
        compare([[1.0], []], [[1.0], [2.0]], seed=1)


def test_holm_steps_down_and_never_decreases():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


def test_slope_per_removed_hop_is_found_with_its_interval():
    rng = np.random.default_rng(14)
    cells = {hops: rng.normal(2.0 * hops, 0.2, 20) for hops in range(6)}
    found = slope(cells, seed=1)
    assert found is not None
    assert found.interval.low <= 2.0 <= found.interval.high
    assert found.r_squared > 0.99
    assert abs(found.intercept_ms) < 0.3


def test_slope_needs_two_lengths():
    assert slope({1: np.ones(5)}, seed=1) is None

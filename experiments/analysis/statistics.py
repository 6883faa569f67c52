"""What a paired, blocked measurement says: differences, intervals, tests, slopes.

Pure numbers in, frozen values out; every random draw is seeded. The unit of analysis is the block:
requests within a block share the machine's mood, blocks do not. Nothing here knows which route
should be faster; `saved` is first minus second, whatever its sign.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Array = NDArray[np.float64]
Blocks = Sequence[Sequence[float]]
"""Latencies in ms, one inner sequence a block; both arms of a comparison list the same blocks."""

RESAMPLES = 9_999
CONFIDENCE = 0.95
MINIMUM_FOR_P99 = 1_000
"""Requests a route from which a 99th percentile is worth printing."""


@dataclass(frozen=True)
class Interval:
    """A confidence interval; `method` says how it was made ("BCa", "percentile", "degenerate")."""

    low: float
    high: float
    method: str

    def contains(self, value: float) -> bool:
        return self.low <= value <= self.high


@dataclass(frozen=True)
class Quantile:
    """One quantile on both arms, in ms; saved is first less second, ratio second over first.

    For p50 both are medians over blocks of the block's own difference and ratio, so that what a block's
    two arms share falls out; saved is then close to `first_ms` - `second_ms` and not the same number.
    """

    first_ms: float
    second_ms: float
    saved_ms: float
    interval: Interval
    ratio: float
    ratio_interval: Interval


@dataclass(frozen=True)
class Comparison:
    """Two arms over the same blocks. `p_value`: Wilcoxon signed-rank on the blocks' medians."""

    blocks: int
    requests: int
    p50: Quantile
    p95: Quantile
    p99_first_ms: float | None
    p99_second_ms: float | None
    p_value: float


class Equivalence(str, Enum):
    """What an interval says about a margin declared beforehand."""

    EQUIVALENT = "equivalent"
    DIFFERENT = "different"
    UNDECIDED = "undecided"


@dataclass(frozen=True)
class Slope:
    """Least squares of saved_ms over removed hops; the interval comes from resampled blocks."""

    ms_per_hop: float
    interval: Interval
    intercept_ms: float
    r_squared: float


def compare(first: Blocks, second: Blocks, seed: int) -> Comparison:
    """Compare two arms measured in the same blocks.

    p50 is that of blocks (see `Quantile`), p95 the quantile of all requests: a block is too short to have
    one of its own. Both intervals resample whole blocks, paired.

    Raises:
        ValueError: the arms differ in the number of blocks, or there are fewer than two, or one is empty.
    """
    if len(first) != len(second) or len(first) < 2 or not all(map(len, (*first, *second))):
        raise ValueError("two arms need the same two or more blocks, none of them empty")
    medians_first, medians_second = block_medians(first), block_medians(second)
    requests = min(sum(map(len, first)), sum(map(len, second)))
    many = requests >= MINIMUM_FOR_P99
    return Comparison(
        blocks=len(first),
        requests=requests,
        p50=_paired_median(medians_first, medians_second, seed),
        p95=_pooled_quantile(_padded(first), _padded(second), 0.95, seed),
        p99_first_ms=float(np.quantile(np.concatenate([*map(np.asarray, first)]), 0.99)) if many else None,
        p99_second_ms=float(np.quantile(np.concatenate([*map(np.asarray, second)]), 0.99)) if many else None,
        p_value=signed_rank(medians_first - medians_second),
    )


def block_medians(blocks: Blocks) -> Array:
    """The median of each block, in the blocks' order."""
    return np.array([np.median(block) for block in blocks], dtype=np.float64)


def bootstrap(count: int, statistic: Callable[[NDArray[np.int64]], Array], seed: int, method: str) -> Interval:
    """The interval of a statistic of `count` blocks.

    Args:
        statistic: takes block numbers, shape (..., count), gives one value for each leading index.
        method: "BCa" or "percentile"; BCa falls back to percentile where it is not defined.
    """
    for candidate in (method, "percentile"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            result = stats.bootstrap(
                (np.arange(count),),
                lambda sample, axis: statistic(np.moveaxis(sample, axis, -1).astype(np.int64)),
                vectorized=True,
                n_resamples=RESAMPLES,
                confidence_level=CONFIDENCE,
                method=candidate,
                rng=np.random.default_rng(seed),
            )
        draws, interval = result.bootstrap_distribution, result.confidence_interval
        if np.ptp(draws) == 0.0:
            return Interval(float(draws[0]), float(draws[0]), "degenerate")
        if np.isfinite(interval.low) and np.isfinite(interval.high):
            return Interval(float(interval.low), float(interval.high), candidate)
    raise ValueError("the statistic is not finite in every resample")


def signed_rank(differences: Sequence[float] | Array) -> float:
    """Two-sided Wilcoxon signed-rank p value of paired differences; 1.0 when all are zero."""
    values = np.asarray(differences, dtype=np.float64)
    if not np.any(values):
        return 1.0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return float(stats.wilcoxon(values).pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjustment over one family, in the order given."""
    order = np.argsort(p_values)
    adjusted = [0.0] * len(p_values)
    running = 0.0
    for rank, index in enumerate(order):
        running = max(running, min(1.0, p_values[index] * (len(p_values) - rank)))
        adjusted[index] = running
    return adjusted


def equivalence(interval: Interval, margin_ms: float) -> Equivalence:
    """Is the difference within ±margin? Undecided when the interval crosses the margin."""
    if -margin_ms <= interval.low and interval.high <= margin_ms:
        return Equivalence.EQUIVALENT
    if interval.high < -margin_ms or interval.low > margin_ms:
        return Equivalence.DIFFERENT
    return Equivalence.UNDECIDED


def slope(saved_by_hops: Mapping[int, Array], seed: int) -> Slope | None:
    """The saving for each removed hop.

    Args:
        saved_by_hops: removed hops -> each block's difference of medians (first less second), in ms.

    Returns:
        None with fewer than two different numbers of hops.
    """
    if len(saved_by_hops) < 2:
        return None
    hops = np.array(sorted(saved_by_hops), dtype=np.float64)
    rng = np.random.default_rng(seed)
    points, draws = [], []
    for hop in sorted(saved_by_hops):
        differences = saved_by_hops[hop]
        points.append(np.median(differences))
        picks = rng.integers(0, len(differences), size=(RESAMPLES, len(differences)))
        draws.append(np.median(differences[picks], axis=1))
    saved = np.array(points)
    centred = hops - hops.mean()
    ms_per_hop = float(centred @ saved / (centred @ centred))
    intercept = float(saved.mean() - ms_per_hop * hops.mean())
    residuals = saved - (intercept + ms_per_hop * hops)
    spread = float(((saved - saved.mean()) ** 2).sum())
    slopes = centred @ np.array(draws) / (centred @ centred)
    low, high = np.quantile(slopes, [0.025, 0.975])
    r_squared = 1.0 - float((residuals**2).sum()) / spread if spread > 0 else 1.0
    return Slope(ms_per_hop, Interval(float(low), float(high), "percentile"), intercept, r_squared)


def _paired_median(first: Array, second: Array, seed: int) -> Quantile:
    """Compare block medians, block by block."""
    differences, ratios = first - second, second / first
    return Quantile(
        first_ms=float(np.median(first)),
        second_ms=float(np.median(second)),
        saved_ms=float(np.median(differences)),
        interval=bootstrap(len(first), lambda picks: np.median(differences[picks], axis=-1), seed, "BCa"),
        ratio=float(np.median(ratios)),
        ratio_interval=bootstrap(len(first), lambda picks: np.median(ratios[picks], axis=-1), seed, "BCa"),
    )


def _pooled_quantile(first: Array, second: Array, quantile: float, seed: int) -> Quantile:
    """Compare a quantile of all requests; rows are blocks, NaN pads blocks that are shorter than others."""

    def of(values: Array, picks: NDArray[np.int64]) -> Array:
        chosen = values[picks]
        return quantile_ignoring_nan(chosen.reshape(*chosen.shape[:-2], -1), quantile)

    def saved(picks: NDArray[np.int64]) -> Array:
        return of(first, picks) - of(second, picks)

    def ratio(picks: NDArray[np.int64]) -> Array:
        return of(second, picks) / of(first, picks)

    blocks = np.arange(len(first))
    first_ms, second_ms = float(of(first, blocks)), float(of(second, blocks))
    return Quantile(
        first_ms=first_ms,
        second_ms=second_ms,
        saved_ms=first_ms - second_ms,
        interval=bootstrap(len(first), saved, seed, "percentile"),
        ratio=second_ms / first_ms,
        ratio_interval=bootstrap(len(first), ratio, seed, "percentile"),
    )


def quantile_ignoring_nan(values: Array, quantile: float) -> Array:
    """The quantile over the last axis, linear between ranks. numpy's own nanquantile takes seconds here."""
    ordered = np.sort(values, axis=-1)  # NaN last
    position = quantile * (np.count_nonzero(~np.isnan(ordered), axis=-1) - 1)
    below = np.floor(position).astype(np.int64)
    above = np.ceil(position).astype(np.int64)
    low = np.take_along_axis(ordered, below[..., None], axis=-1)[..., 0]
    high = np.take_along_axis(ordered, above[..., None], axis=-1)[..., 0]
    return np.asarray(low + (position - below) * (high - low))


def _padded(blocks: Blocks) -> Array:
    widest = max(map(len, blocks))
    return np.array([[*block, *[np.nan] * (widest - len(block))] for block in blocks], dtype=np.float64)

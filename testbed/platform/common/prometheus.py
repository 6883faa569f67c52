"""Counters and histograms that cost a fraction of a microsecond to move, rendered in Prometheus's text format.

A hot path moves plain Python numbers and somebody else renders them now and then. There is no
registry, no thread safety and no push: one event loop owns them.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence

DEFAULT_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds in seconds; the Go client library's default."""

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Histogram:
    """Counts of observations (seconds) by upper bound; the last bucket is +Inf."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float] = DEFAULT_BUCKETS) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, seconds: float) -> None:
        self.counts[bisect_left(self.bounds, seconds)] += 1
        self.total += seconds

    @property
    def count(self) -> int:
        return sum(self.counts)

    def lines(self, name: str, labels: Mapping[str, str]) -> Iterator[str]:
        """The sample lines: cumulative buckets, sum and count."""
        running = 0
        for bound, count in zip([*map(_number, self.bounds), "+Inf"], self.counts, strict=True):
            running += count
            yield f"{name}_bucket{label_text({**labels, 'le': bound})} {running}"
        yield f"{name}_sum{label_text(labels)} {self.total!r}"
        yield f"{name}_count{label_text(labels)} {running}"


def family(name: str, kind: str, help_text: str, samples: Iterable[str]) -> str:
    """One metric family with its HELP and TYPE lines; empty when it has no sample."""
    body = "\n".join(samples)
    return f"# HELP {name} {help_text}\n# TYPE {name} {kind}\n{body}\n" if body else ""


def sample(name: str, labels: Mapping[str, str], value: float) -> str:
    return f"{name}{label_text(labels)} {_number(value)}"


def label_text(labels: Mapping[str, str]) -> str:
    """The labels in braces, escaped; nothing when there are none."""
    if not labels:
        return ""
    return "{" + ",".join(f'{key}="{_escape(value)}"' for key, value in labels.items()) + "}"


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _number(value: float) -> str:
    return str(int(value)) if float(value).is_integer() else repr(value)

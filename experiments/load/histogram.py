"""Latencies as HdrHistogram logs (.hlog), the form that other tools read and merge.

Three significant digits, 1 µs to 60 s, values in ns. One tagged histogram for each named series.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from hdrh.histogram import HdrHistogram
from hdrh.log import HistogramLogWriter

from experiments.load.plan import Result

LOWEST_NS = 1_000
HIGHEST_NS = 60_000_000_000
DIGITS = 3


def write_histogram(path: Path, series: Mapping[str, Sequence[Result]]) -> Path:
    """Write latencies from intended start to end; failed requests are left out. Returns the path."""
    with path.open("w") as file:
        writer = HistogramLogWriter(file)
        writer.output_log_format_version()
        writer.output_legend()
        for name, results in series.items():
            histogram = HdrHistogram(LOWEST_NS, HIGHEST_NS, DIGITS)
            answered = [result for result in results if not result.failed]
            for result in answered:
                histogram.record_value(max(LOWEST_NS, result.ended_ns - result.intended_ns))
            begin_s = min((result.intended_ns for result in answered), default=0) / 1e9
            end_s = max((result.ended_ns for result in answered), default=0) / 1e9
            file.write(f"Tag={name},")  # the reader knows tags, the writer does not
            writer.output_interval_histogram(histogram, begin_s, end_s)
    return path

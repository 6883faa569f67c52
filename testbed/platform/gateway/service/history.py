"""Keeps the gateway's counters of functions over its restarts, in a file.

They are written before anybody is told them, and every second besides: whoever reads /metrics never sees a
counter go back, however the gateway ended. What was counted in the last second before a SIGKILL, and told to
nobody, is lost. Counters of the management routes begin anew, as those of any process do.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from testbed.platform.common.prometheus import Histogram
from testbed.platform.gateway.service.metrics import FunctionMetrics

SAVE_S = 1.0

log = logging.getLogger("gateway")


class History:
    """The counters' file; without a path nothing is kept. `functions` gives what has been counted so far."""

    def __init__(self, path: Path | None, functions: Callable[[], Iterable[FunctionMetrics]]) -> None:
        self._path = path
        self._functions = functions
        self._saved = ""

    def load(self, metrics_of: Callable[[str], FunctionMetrics]) -> None:
        """Go on from where an earlier gateway ended. A file that cannot be understood is left out, and logged."""
        if self._path is None:
            return
        try:
            text = self._path.read_text()
            counted = json.loads(text)
            for name, numbers in counted.items():
                resume(metrics_of(name), numbers)
        except FileNotFoundError:
            return
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            log.warning("counters begin at 0: %s holds none (%s)", self._path, error)
            return
        self._saved = text

    def save(self) -> None:
        """Write the counters, if any has moved."""
        if self._path is None:
            return
        text = json.dumps({one.name: numbers_of(one) for one in self._functions()})
        if text == self._saved:
            return
        fresh = self._path.with_suffix(".new")
        try:
            fresh.write_text(text)
            os.replace(fresh, self._path)  # noqa: PTH105  a reader finds the old file or the new one
        except OSError as error:
            log.warning("the counters cannot be kept in %s: %s", self._path, error)
            return
        self._saved = text

    async def run(self) -> None:
        """Save every second."""
        while True:
            await asyncio.sleep(SAVE_S)
            self.save()


def numbers_of(function: FunctionMetrics) -> dict[str, Any]:
    """What is kept of one function's counters."""
    return {
        "started": function.started,
        "connections": function.upstream_connections,
        "codes": {str(code): [histogram.total, *histogram.counts] for code, histogram in function.by_code.items()},
    }


def resume(function: FunctionMetrics, numbers: dict[str, Any]) -> None:
    """Let a function's counters go on from these. An exchange that an earlier gateway never finished stays so."""
    function.started = int(numbers["started"])
    function.opened_before = int(numbers["connections"])
    for code, (total, *counts) in numbers["codes"].items():
        histogram = Histogram()
        if len(counts) != len(histogram.counts):
            raise ValueError(f"{len(counts)} buckets instead of {len(histogram.counts)}")
        histogram.total, histogram.counts = float(total), [int(count) for count in counts]
        function.by_code[int(code)] = histogram

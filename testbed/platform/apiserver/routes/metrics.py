"""The apiserver's `GET /metrics`: how many provider requests, and how long they took, as faas-provider names them.

Counts outlive the process: they are in its database, at once after a request that changes something and
within a second after one that only reads.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import Any

from aiohttp import web

from testbed.model.errors import PlatformError
from testbed.platform.apiserver.cluster_state import ClusterKeeper
from testbed.platform.apiserver.routes.http import Handler
from testbed.platform.common import prometheus

SAVE_INTERVAL_S = 1.0

_SHORT = ("/system/function", "/system/scale-function", "/system/namespace")
"""Routes whose label leaves the name at the end out."""

Labels = tuple[str, str, str]


class MetricRoutes:
    """/metrics; `count` is the middleware that counts the requests to /system."""

    def __init__(self, cluster: ClusterKeeper) -> None:
        self._cluster = cluster
        self._durations: dict[Labels, prometheus.Histogram] = {}
        self._unsaved: set[Labels] = set()
        for key, (counts, total) in cluster.request_counts().items():
            histogram = prometheus.Histogram()
            histogram.counts, histogram.total = list(counts), total
            code, method, path = key.split(" ", 2)
            self._durations[code, method, path] = histogram

    def routes(self) -> list[web.RouteDef]:
        return [web.get("/metrics", self._metrics)]

    @web.middleware
    async def count(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Count and time a request to a route under /system."""
        started = time.perf_counter()
        response = await handler(request)
        resource = request.match_info.route.resource
        if resource is not None and request.path.startswith("/system/"):
            path = request.path.rpartition("/")[0]
            path = path if path in _SHORT else request.path
            self._observe((str(response.status), request.method, path), time.perf_counter() - started)
            if request.method != "GET":
                self.save()
        return response

    def _observe(self, labels: Labels, seconds: float) -> None:
        self._durations.setdefault(labels, prometheus.Histogram()).observe(seconds)
        self._unsaved.add(labels)

    def save(self) -> None:
        """Write what has changed to the database."""
        if self._unsaved:
            changed = {" ".join(labels): self._durations[labels] for labels in self._unsaved}
            try:
                self._cluster.keep_request_counts({key: (list(one.counts), one.total) for key, one in changed.items()})
            except PlatformError:
                return  # no room on the disk now: later
            self._unsaved = set()

    async def keep_saving(self, _: web.Application) -> Any:
        """Save every second while the application runs, and at its end."""
        task = asyncio.create_task(self._save_for_ever())
        yield
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        self.save()

    async def _save_for_ever(self) -> None:
        while True:
            await asyncio.sleep(SAVE_INTERVAL_S)
            self.save()

    async def _metrics(self, _: web.Request) -> web.Response:
        totals: list[str] = []
        durations: list[str] = []
        for (code, method, path), histogram in sorted(self._durations.items()):
            labels = {"code": code, "method": method, "path": path}
            totals.append(prometheus.sample("provider_http_requests_total", labels, histogram.count))
            durations += histogram.lines("provider_http_request_duration_seconds", labels)
        text = prometheus.family(
            "provider_http_requests_total", "counter", "Total number of HTTP requests.", totals
        ) + prometheus.family(
            "provider_http_request_duration_seconds", "histogram", "Seconds spent serving HTTP requests.", durations
        )
        return web.Response(body=text.encode(), headers={"Content-Type": prometheus.CONTENT_TYPE})

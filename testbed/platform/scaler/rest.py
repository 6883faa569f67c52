"""The scaler's REST interface: activation, its decisions and settings, a dry run, and metrics for others.

POST /activate, GET /decisions, GET /settings, PUT /dry-run, GET /metrics, GET /metrics-api/<function>/<metric>
(what a metrics-api trigger of KEDA's asks for) and GET /healthz. It decides nothing.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

from aiohttp import web

from testbed.model.audiences import Refusal, Server
from testbed.model.credentials import Keyring
from testbed.model.errors import PlatformError, TestbedError, UsageError
from testbed.platform.common.guard import Guard
from testbed.platform.common.prometheus import CONTENT_TYPE, family, sample
from testbed.platform.scaler.activation import UnknownFunction, WillNotScale
from testbed.platform.scaler.engine import Scaled
from testbed.platform.scaler.keda import is_active
from testbed.platform.scaler.service import Scaler

_STATUS = {UnknownFunction: 404, WillNotScale: 409, UsageError: 400, PlatformError: 503}

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def application(scaler: Scaler, keyring: Keyring) -> web.Application:
    """The routes, for those whom they answer."""
    routes = _Routes(scaler)
    guard = Guard(Server.SCALER, keyring, lambda: scaler.engine.state.deployments, _refused)
    app = web.Application(middlewares=[guard.middleware, _errors])
    app.add_routes(
        [
            web.get("/healthz", routes.healthz),
            web.post("/activate", routes.activate),
            web.get("/decisions", routes.decisions),
            web.get("/settings", routes.settings),
            web.put("/dry-run", routes.dry_run),
            web.get("/metrics", routes.metrics),
            web.get("/metrics-api/{function}/{metric}", routes.metrics_api),
        ]
    )
    guard.check_routes(app)
    return app


def _refused(refusal: Refusal) -> web.Response:
    return web.json_response({"error": refusal.reason}, status=refusal.status)


@web.middleware
async def _errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except TestbedError as error:
        status = next((code for kind, code in _STATUS.items() if isinstance(error, kind)), 500)
        return web.json_response({"error": str(error)}, status=status)


class _Routes:
    def __init__(self, scaler: Scaler) -> None:
        self._scaler = scaler
        self._engine = scaler.engine

    async def healthz(self, _: web.Request) -> web.Response:
        return web.Response(text="OK")

    async def activate(self, request: web.Request) -> web.Response:
        replicas = await self._scaler.activate(str(await _field(request, "function", str)))
        return web.json_response({"replicas": replicas}, status=202)

    async def decisions(self, request: web.Request) -> web.Response:
        """NDJSON: the decisions after number `since` (default: all that are kept), of `function` or of all."""
        since = request.query.get("since", "0")
        if not since.isdecimal():
            raise UsageError(f'"since" must be the number of a decision, not "{since}"')
        found = self._engine.book.since(int(since), request.query.get("function", ""))
        text = "".join(json.dumps(decision, separators=(",", ":")) + "\n" for decision in found)
        return web.Response(text=text, content_type="application/x-ndjson")

    async def settings(self, request: web.Request) -> web.Response:
        """Without `function`: the preset's. `settings` is null for a function that is not scaled."""
        name = request.query.get("function")
        if name is None:
            shown = {"dry_run": self._engine.dry_run, "settings": self._engine.preset.to_json()}
            return web.json_response({**shown, "functions": sorted(self._engine.scaled)})
        settings = self._scaler.settings(self._scaler.function(name))
        return web.json_response({"function": name, "settings": settings.to_json() if settings else None})

    async def dry_run(self, request: web.Request) -> web.Response:
        self._engine.dry_run = bool(await _field(request, "dry_run", bool))
        return web.json_response({"dry_run": self._engine.dry_run})

    async def metrics(self, _: web.Request) -> web.Response:
        text = exposition(self._engine.scaled, self._engine.dry_run)
        return web.Response(body=text.encode(), headers={"Content-Type": CONTENT_TYPE})

    async def metrics_api(self, request: web.Request) -> web.Response:
        """{"value": …}: what a function's metric was when it was last read."""
        name, metric = request.match_info["function"], request.match_info["metric"]
        scaled = self._engine.scaled.get(self._scaler.function(name).full_name)
        found = next((one for one in scaled.metrics if one.name == metric), None) if scaled else None
        if found is None:
            raise UnknownFunction(f"{name} is not scaled by {metric}; GET /settings?function={name} says by what")
        if found.value is None:
            raise PlatformError(f"{metric} of {name} cannot be read: {found.problem}")
        return web.json_response({"value": found.value})


async def _field(request: web.Request, name: str, kind: type) -> Any:
    try:
        value = json.loads(await request.read())[name]
    except (ValueError, KeyError, TypeError):
        value = None
    if not isinstance(value, kind):
        shown = {str: "name.namespace", bool: True}[kind]
        raise UsageError(f"the body must be {json.dumps({name: shown})}")
    return value


def exposition(scaled: Mapping[str, Scaled], dry_run: bool) -> str:
    """KEDA's metrics, under its names, in Prometheus' text format."""

    def samples(name: str, value_of: Callable[[Any], float | None]) -> Iterable[str]:
        for full_name, one in sorted(scaled.items()):
            function, _, namespace = full_name.rpartition(".")
            for metric in one.metrics:
                value = value_of(metric)
                labels = {"namespace": namespace, "scaledObject": function, "metric": metric.name}
                if value is not None:
                    yield sample(name, labels, value)

    def gauge(name: str, help_text: str, value_of: Callable[[Any], float | None]) -> str:
        return family(name, "gauge", help_text, samples(name, value_of))

    return "".join(
        (
            gauge("keda_scaler_metrics_value", "Metric as last read", lambda metric: metric.value),
            gauge("keda_scaler_active", "Whether the metric makes its function active", lambda m: float(is_active(m))),
            gauge("testbed_scaler_failed_readings", "Failed readings in a row", lambda metric: metric.failures),
            family("testbed_scaler_dry_run", "gauge", "1 while nothing is applied",
                   [sample("testbed_scaler_dry_run", {}, float(dry_run))]),
        )
    )  # fmt: skip

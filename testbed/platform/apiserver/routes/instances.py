"""The apiserver's routes for node agents: an instance's phase, timings, secrets, removal. No gateway proxies them."""

from __future__ import annotations

import re
from collections import deque
from typing import Any

from aiohttp import web

from testbed.model.cluster import Instance, Phase
from testbed.model.credentials import Kind
from testbed.model.errors import UsageError
from testbed.platform.apiserver.cluster_state import ClusterKeeper, NotFound
from testbed.platform.apiserver.routes.http import Forbidden, body_of
from testbed.platform.common.guard import caller_of

KEPT_COLD_STARTS = 500

_TIMING = re.compile(r"[a-z][a-z_]{0,30}_ns")


class InstanceRoutes:
    """/instances/{id} and what is under it."""

    def __init__(self, cluster: ClusterKeeper) -> None:
        self._cluster = cluster
        self._reasons: dict[str, str] = {}
        self._cold_starts: deque[dict[str, Any]] = deque(maxlen=KEPT_COLD_STARTS)

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/coldstarts", self._list_cold_starts, allow_head=False),
            web.get("/instances/{id}", self._get, allow_head=False),
            web.get("/instances/{id}/secrets", self._secrets, allow_head=False),
            web.put("/instances/{id}/phase", self._set_phase),
            web.delete("/instances/{id}", self._delete),
        ]

    async def _get(self, request: web.Request) -> web.Response:
        """The instance, the times of its start (monotonic ns, one clock for the whole machine), why it is not ready."""
        instance = self._instance(request)
        more = {"timings": self._cluster.timings(instance.id), "reason": self._reasons.get(instance.id, "")}
        return web.json_response({**instance.to_json(), **more})

    async def _list_cold_starts(self, _: web.Request) -> web.Response:
        """The last instances that became ready, also those that are gone, with the times of their starts."""
        return web.json_response(list(self._cold_starts))

    async def _secrets(self, request: web.Request) -> web.Response:
        function = self._cluster.state.functions[self._instance(request).function_name]
        return web.json_response(self._cluster.secrets.of_function(function))

    async def _set_phase(self, request: web.Request) -> web.Response:
        self._check_node(request)
        body = await body_of(request)
        value = body.get("phase")
        if value not in [phase.value for phase in Phase]:
            raise UsageError(f'"phase" must be one of {", ".join(phase.value for phase in Phase)}, not "{value}"')
        timings = _timings(body.get("timings") or {})
        self._cluster.set_phase(request.match_info["id"], Phase(value), timings)
        instance = self._instance(request)
        self._reasons[instance.id] = str(body.get("reason") or "")
        if "ready_ns" in timings:
            started = {"instance": instance.id, "function": instance.function_name, "node": instance.node}
            version = {"version": self._cluster.state.version}
            self._cold_starts.append({**started, **version, **self._cluster.timings(instance.id)})
        return web.Response(status=204)

    async def _delete(self, request: web.Request) -> web.Response:
        self._check_node(request)
        self._cluster.delete_instance(request.match_info["id"])
        self._reasons.pop(request.match_info["id"], None)
        return web.Response(status=204)

    def _instance(self, request: web.Request) -> Instance:
        self._check_node(request)
        instance = self._cluster.state.instances.get(request.match_info["id"])
        if instance is None:
            raise NotFound(f"there is no instance {request.match_info['id']}")
        return instance

    def _check_node(self, request: web.Request) -> None:
        """An agent speaks of its own node's instances only."""
        caller, instance = caller_of(request), self._cluster.state.instances.get(request.match_info["id"])
        if caller.kind is Kind.COMPONENT and instance is not None and instance.node != caller.number:
            raise Forbidden(f"instance {instance.id} is on node{instance.node}, which is not the node of {caller}")


def _timings(value: Any) -> dict[str, int]:
    good = isinstance(value, dict) and all(
        _TIMING.fullmatch(name) and type(at) is int and at >= 0 for name, at in value.items()
    )
    if not good:
        raise UsageError('"timings" must map names such as ready_ns to monotonic nanoseconds')
    return dict(value)

"""The apiserver's routes for functions: deploy, update, delete, list, scale (the faas-provider contract)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aiohttp import web

from testbed.model.cluster import Function, Phase
from testbed.model.errors import UsageError
from testbed.network.process.cgroups import Cgroups, refusal
from testbed.platform.apiserver import validation
from testbed.platform.apiserver.cluster_state import ClusterKeeper, NotFound
from testbed.platform.apiserver.routes.http import body_of, namespace_of
from testbed.platform.apiserver.usage import UsageMeter
from testbed.platform.images import build


class FunctionRoutes:
    """/system/functions, /system/function/{name}, /system/scale-function/{name}."""

    def __init__(
        self, cluster: ClusterKeeper, images_dir: Path, default_namespace: str, groups: Cgroups | None = None
    ) -> None:
        """`groups` are the lab's cgroups; None: nothing is known of them, and limits are not judged."""
        self._cluster = cluster
        self._groups = groups
        self._usage = UsageMeter(groups)
        self._images_dir = images_dir
        self._default_namespace = default_namespace

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/system/functions", self._list, allow_head=False),
            web.post("/system/functions", self._create),
            web.put("/system/functions", self._update),
            web.delete("/system/functions", self._delete),
            web.get("/system/function/{name}", self._get, allow_head=False),
            web.post("/system/scale-function/{name}", self._scale),
        ]

    @property
    def _functions(self) -> Mapping[str, Function]:
        """Every function by its full name; a store is none."""
        return self._cluster.state.without_stores().functions

    async def _list(self, request: web.Request) -> web.Response:
        namespace = namespace_of(request, self._default_namespace)
        functions = [one for one in self._functions.values() if one.namespace == namespace]
        return web.json_response([self._status(one) for one in functions if not self._cluster.removing(one.full_name)])

    async def _get(self, request: web.Request) -> web.Response:
        full_name = f"{request.match_info['name']}.{namespace_of(request, self._default_namespace)}"
        if full_name not in self._functions or self._cluster.removing(full_name):
            raise NotFound(f"there is no function {full_name}")
        status = self._status(self._functions[full_name])
        if request.query.get("usage", "").lower() in ("1", "t", "true"):
            instances = self._cluster.state.instances.values()
            usage = await self._usage.of([one.id for one in instances if one.function_name == full_name])
            status |= {} if usage is None else {"usage": usage}
        return web.json_response(status)

    async def _create(self, request: web.Request) -> web.Response:
        wanted = validation.function_request(await body_of(request), self._default_namespace)
        self._check(wanted)
        self._cluster.create_function(wanted, self._build_of(wanted.image))
        return web.Response(status=202)

    async def _update(self, request: web.Request) -> web.Response:
        wanted = validation.function_request(await body_of(request), self._default_namespace)
        full_name = f"{wanted.name}.{wanted.namespace}"
        if full_name not in self._cluster.state.functions:  # said before an image or a call is complained about
            raise NotFound(f"there is no function {full_name}")
        self._check(wanted)
        self._cluster.update_function(wanted, self._build_of(wanted.image))
        return web.Response(status=202)

    async def _delete(self, request: web.Request) -> web.Response:
        body = await body_of(request)
        name = body.get("functionName")
        if not isinstance(name, str) or not name:
            raise UsageError('the request names no function; give "functionName" a name')
        self._cluster.remove_function(f"{name}.{namespace_of(request, self._default_namespace, body)}")
        return web.Response(status=202)

    async def _scale(self, request: web.Request) -> web.Response:
        body = await body_of(request)
        name = request.match_info["name"]
        replicas = validation.scale_request(body, name)
        self._cluster.scale_function(f"{name}.{namespace_of(request, self._default_namespace, body)}", replicas)
        return web.Response(status=202)

    def _check(self, wanted: validation.FunctionRequest) -> None:
        if wanted.limits and self._groups is not None and not self._groups.writable:
            raise UsageError(f"function {wanted.name}: {refusal()}")
        secrets = self._cluster.secrets.names(wanted.namespace)
        validation.check(wanted, self._cluster.state, self._build_of, secrets)

    def _build_of(self, image: str) -> str:
        return build.build_of(self._images_dir, image)

    def _status(self, function: Function) -> dict[str, Any]:
        """The FunctionStatus of the faas-provider contract."""
        record = self._cluster.record(function.full_name)
        available = sum(
            one.function_name == function.full_name and one.phase is Phase.READY
            for one in self._cluster.state.instances.values()
        )
        hidden = {"fprocess"} if "envProcess" in record.extra else set()
        optional = {"secrets": list(function.secrets), "limits": dict(function.limits)}
        return {
            "name": function.name,
            "image": function.image,
            "namespace": function.namespace,
            "envVars": {key: value for key, value in function.environment.items() if key not in hidden},
            "labels": dict(function.labels),
            "annotations": dict(function.annotations),
            **{key: value for key, value in optional.items() if value},
            **record.extra,
            "invocationCount": 0,
            "replicas": function.replicas,
            "availableReplicas": available,
            "createdAt": record.created_at,
        }

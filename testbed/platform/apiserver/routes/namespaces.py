"""The apiserver's routes for namespaces: list, make, change, read and remove one, and give it its credential."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiohttp import web

from testbed.model.annotations import ROUTE_ANNOTATION
from testbed.model.cluster import Deployment
from testbed.model.credentials import credential, namespace
from testbed.platform.apiserver import validation
from testbed.platform.apiserver.cluster_state import ClusterKeeper, NotFound
from testbed.platform.apiserver.routes.http import body_of


class NamespaceRoutes:
    """/system/namespaces and /system/namespace/{name}, and /credentials, which no gateway passes on.

    The default namespace is there even before it holds anything.
    """

    def __init__(self, cluster: ClusterKeeper, default_namespace: str, lab_key: bytes) -> None:
        self._lab_key = lab_key
        self._cluster = cluster
        self._default_namespace = default_namespace

    def routes(self) -> list[web.RouteDef]:
        path = "/system/namespace/{name:[-a-zA-Z_0-9.]*}"  # a POST may leave the name to the body, as faas-cli does
        return [
            web.get("/system/namespaces", self._list, allow_head=False),
            web.get(path, self._get, allow_head=False),
            web.post(path, self._create),
            web.put(path, self._update),
            web.delete(path, self._delete),
            web.get("/credentials/{name}", self._credential, allow_head=False),
        ]

    async def _list(self, _: web.Request) -> web.Response:
        return web.json_response(sorted({self._default_namespace, *self._cluster.state.deployments}))

    async def _get(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        deployment = self._cluster.state.deployments.get(name)
        if deployment is None:
            if name != self._default_namespace:
                raise NotFound(f"there is no namespace {name}")
            deployment = Deployment(name)
        metadata = self._cluster.metadata(name)
        annotations = {**metadata.get("annotations", {}), ROUTE_ANNOTATION: deployment.route.value}
        return web.json_response({"name": name, "annotations": annotations, "labels": metadata.get("labels", {})})

    async def _create(self, request: web.Request) -> web.Response:
        await self._put(request, create=True)
        return web.Response(status=201)

    async def _update(self, request: web.Request) -> web.Response:
        await self._put(request, create=False)
        return web.Response(status=202)

    async def _put(self, request: web.Request, *, create: bool) -> None:
        body = await body_of(request)
        name = validation.check_name(self._name(request, body), "namespace")
        route = validation.route_request(body, name)
        self._cluster.put_namespace(name, route, validation.metadata_request(body, name), create=create)

    async def _delete(self, request: web.Request) -> web.Response:
        self._cluster.remove_namespace(self._name(request, await body_of(request)))
        return web.Response(status=202)

    async def _credential(self, request: web.Request) -> web.Response:
        """What proves to be this namespace, as long as it is there."""
        name = request.match_info["name"]
        deployment = self._cluster.state.deployments.get(name)
        if deployment is None:
            raise NotFound(f"there is no namespace {name}")
        return web.json_response({"credential": credential(self._lab_key, namespace(deployment))})

    def _name(self, request: web.Request, body: Mapping[str, Any]) -> str:
        return request.match_info["name"] or validation.text(body, "name")

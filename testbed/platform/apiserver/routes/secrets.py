"""The apiserver's routes for secrets (the faas-provider contract), and the tokens' digests for the gateway.

No answer of these routes, and no error, tells a secret's value.
"""

from __future__ import annotations

from aiohttp import web

from testbed.platform.apiserver import validation
from testbed.platform.apiserver.cluster_state import ClusterKeeper
from testbed.platform.apiserver.routes.http import body_of, namespace_of


class SecretRoutes:
    """/system/secrets; and /tokens, which no gateway passes on."""

    def __init__(self, cluster: ClusterKeeper, default_namespace: str) -> None:
        self._cluster = cluster
        self._default_namespace = default_namespace

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/system/secrets", self._list, allow_head=False),
            web.post("/system/secrets", self._create),
            web.put("/system/secrets", self._update),
            web.delete("/system/secrets", self._delete),
            web.get("/tokens", self._tokens, allow_head=False),
        ]

    async def _list(self, request: web.Request) -> web.Response:
        namespace = namespace_of(request, self._default_namespace)
        names = self._cluster.secrets.names(namespace)
        return web.json_response([{"name": name, "namespace": namespace} for name in names])

    async def _create(self, request: web.Request) -> web.Response:
        self._cluster.secrets.create(await self._read(request))
        return web.Response(status=202)

    async def _update(self, request: web.Request) -> web.Response:
        self._cluster.secrets.update(await self._read(request))
        return web.Response(status=202)

    async def _delete(self, request: web.Request) -> web.Response:
        body = await body_of(request)
        namespace = namespace_of(request, self._default_namespace, body)
        self._cluster.secrets.remove(namespace, validation.secret_name(body))
        return web.Response(status=202)

    async def _tokens(self, _: web.Request) -> web.Response:
        return web.json_response(self._cluster.secrets.token_digests())

    async def _read(self, request: web.Request) -> validation.SecretRequest:
        body = await body_of(request)
        namespace = validation.check_name(namespace_of(request, self._default_namespace, body), "namespace")
        return validation.secret_request(body, namespace)

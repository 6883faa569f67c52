"""Before every route of an aiohttp server: who asks, and may they? Nothing is read or looked up before.

Whom a route answers stands in `testbed.model.audiences`; a route without a row there is not served at all.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from aiohttp import web

from testbed.model import audiences
from testbed.model.audiences import Refusal, Server
from testbed.model.cluster import DEFAULT_NAMESPACE, Deployment
from testbed.model.credentials import Caller, Keyring

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_CALLER = web.RequestKey("caller", Caller)


class Guard:
    """The middleware of one server; it goes before all others."""

    def __init__(
        self,
        server: Server,
        keyring: Keyring,
        deployments: Callable[[], Mapping[str, Deployment]],
        answer: Callable[[Refusal], web.Response],
        default_namespace: str = DEFAULT_NAMESPACE,
    ) -> None:
        """`deployments` are the namespaces that there are; `answer` says a refusal as the server says its errors."""
        self._audiences = audiences.of(server)
        self._keyring = keyring
        self._deployments = deployments
        self._answer = answer
        self._default_namespace = default_namespace
        self._challenges = ["Bearer", *(["Basic"] if keyring.basic_auth else [])]

    def check_routes(self, app: web.Application) -> None:
        """KeyError for a route that has no audience: a mistake of ours, said when the server starts."""
        for route in app.router.routes():
            self._audiences[_method(route.method), _path(route.resource)]

    @web.middleware
    async def middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Refuse, or go on; `caller_of` then says who asks."""
        resource = request.match_info.route.resource  # None: there is no such route
        audience = None if resource is None else self._audiences[_method(request.method), _path(resource)]
        caller = self._keyring.caller(request.headers.get("Authorization"), self._deployments())
        namespace = None
        if audience is not None and audience.own is not None:
            namespace = audiences.concerned(audience.own, request.match_info, request.query, self._default_namespace)
        refusal = audiences.refusal(audience, caller, namespace, f"{request.method} {_path(resource)}")
        if refusal is not None:
            response = self._answer(refusal)
            if refusal.status == 401:
                for challenge in self._challenges:
                    response.headers.add("WWW-Authenticate", f'{challenge} realm="testbed"')
            return response
        if caller is not None:
            request[_CALLER] = caller
        return await handler(request)


def caller_of(request: web.Request) -> Caller:
    """Who asks, on a route that is not for anybody."""
    return request[_CALLER]


def own_namespace(request: web.Request) -> str | None:
    """The one namespace that whoever asks may hear of; None: all."""
    return caller_of(request).own_namespace


def _method(method: str) -> str:
    return "GET" if method == "HEAD" else method


def _path(resource: web.AbstractResource | None) -> str:
    return resource.canonical if resource is not None else ""

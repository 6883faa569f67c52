"""The apiserver: the faas-provider contract and `GET /watch`, over HTTP, in front of the store.

It stands for kube-apiserver and faas-netes. It keeps what is wanted and what node agents report; it
starts no process and carries no invocation. Run as
`python -m testbed.platform.apiserver --cluster FILE --database FILE --images DIR --listen HOST:PORT`.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from aiohttp import web

from testbed.errors import TestbedError, UsageError
from testbed.model import Function, Host, Phase
from testbed.platform import images, validation
from testbed.platform.store import Conflict, NotFound, Store

HEARTBEAT_S = 5.0
DEFAULT_NAMESPACE = "openfaas-fn"
VERSION = {"commit_message": "", "sha": "", "release": "0.1.0"}

_STATUS = {UsageError: 400, NotFound: 404, Conflict: 409}

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Apiserver:
    """The HTTP routes. One event loop, one store; watchers are told of every change at once."""

    def __init__(
        self,
        store: Store,
        images_dir: Path,
        default_namespace: str = DEFAULT_NAMESPACE,
        heartbeat_s: float = HEARTBEAT_S,
    ) -> None:
        self._store = store
        self._images_dir = images_dir
        self._default_namespace = default_namespace
        self._heartbeat_s = heartbeat_s
        self._changed = asyncio.Event()
        self._stopping = False

    def application(self) -> web.Application:
        """The aiohttp application with all routes."""
        app = web.Application(middlewares=[self._errors, self._announce])
        app.on_shutdown.append(self._stop)
        app.add_routes(
            [
                web.get("/healthz", self._healthz),
                web.get("/state", self._state),
                web.get("/watch", self._watch),
                web.get("/system/info", self._info),
                web.get("/system/functions", self._list_functions),
                web.post("/system/functions", self._create_function),
                web.put("/system/functions", self._update_function),
                web.delete("/system/functions", self._delete_function),
                web.get("/system/function/{name}", self._get_function),
                web.post("/system/scale-function/{name}", self._scale_function),
                web.get("/system/namespaces", self._list_namespaces),
                web.get("/system/namespace/{namespace}", self._get_namespace),
                web.post("/system/namespace/{namespace}", self._create_namespace),
                web.put("/system/namespace/{namespace}", self._update_namespace),
                web.delete("/system/namespace/{namespace}", self._delete_namespace),
                web.put("/instances/{id}/phase", self._set_phase),
                web.delete("/instances/{id}", self._delete_instance),
            ]
        )
        return app

    async def _stop(self, _: web.Application) -> None:
        self._stopping = True
        self._changed.set()

    @web.middleware
    async def _errors(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Errors of the family become one line of text with the contract's status codes."""
        try:
            return await handler(request)
        except TestbedError as error:
            status = next((code for kind, code in _STATUS.items() if isinstance(error, kind)), 500)
            return web.Response(status=status, text=f"{error}\n")

    @web.middleware
    async def _announce(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Wake the watchers when the request has changed something."""
        before = self._store.state.version
        try:
            return await handler(request)
        finally:
            if self._store.state.version != before:
                self._changed.set()
                self._changed = asyncio.Event()

    # Reading

    async def _healthz(self, _: web.Request) -> web.Response:
        return web.Response(text="OK")

    async def _state(self, _: web.Request) -> web.Response:
        return web.json_response(self._store.state.to_json())

    async def _watch(self, request: web.Request) -> web.StreamResponse:
        """NDJSON: a snapshot unless `since` can be continued from, then events and heartbeats, without end."""
        since = request.query.get("since", "-1")
        if not since.lstrip("-").isdigit():
            raise UsageError(f'"since" must be a version number, not "{since}"')
        version = int(since)
        response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
        await response.prepare(request)
        with contextlib.suppress(ConnectionResetError):  # the watcher has gone
            while not self._stopping:
                changed = self._changed
                version = await self._send_news(response, version)
                try:
                    await asyncio.wait_for(changed.wait(), self._heartbeat_s)
                except TimeoutError:
                    await _send(response, [{"type": "HEARTBEAT", "version": version}])
        return response

    async def _send_news(self, response: web.StreamResponse, version: int) -> int:
        """Send what happened after `version` (-1: everything); returns the version that is now known there."""
        events = self._store.events_since(version)
        state = self._store.state
        if events is None:
            events = [{"type": "SNAPSHOT", "version": state.version, "object": state.to_json()}]
        await _send(response, events)
        return state.version

    async def _info(self, _: web.Request) -> web.Response:
        return web.json_response({"provider": "directfaas-testbed", "version": VERSION, "orchestration": "mininet"})

    async def _list_functions(self, request: web.Request) -> web.Response:
        namespace = self._namespace(request)
        functions = [one for one in self._store.state.functions.values() if one.namespace == namespace]
        return web.json_response([self._status(one) for one in functions if not self._removing(one)])

    async def _get_function(self, request: web.Request) -> web.Response:
        full_name = f"{request.match_info['name']}.{self._namespace(request)}"
        function = self._store.state.functions.get(full_name)
        if function is None or self._removing(function):
            raise NotFound(f"there is no function {full_name}")
        return web.json_response(self._status(function))

    async def _list_namespaces(self, _: web.Request) -> web.Response:
        return web.json_response(sorted(self._store.state.deployments))

    async def _get_namespace(self, request: web.Request) -> web.Response:
        namespace = request.match_info["namespace"]
        deployment = self._store.state.deployments.get(namespace)
        if deployment is None:
            raise NotFound(f"there is no namespace {namespace}")
        annotations = {validation.ROUTE_ANNOTATION: deployment.route.value}
        return web.json_response({"name": namespace, "annotations": annotations, "labels": {}})

    # Changing

    async def _create_function(self, request: web.Request) -> web.Response:
        wanted = validation.function_request(await _body(request), self._default_namespace)
        validation.check(wanted, self._store.state, self._build_of)
        self._store.create_function(wanted, self._build_of(wanted.image))
        return web.Response(status=202)

    async def _update_function(self, request: web.Request) -> web.Response:
        wanted = validation.function_request(await _body(request), self._default_namespace)
        full_name = f"{wanted.name}.{wanted.namespace}"
        if full_name not in self._store.state.functions:  # said before an image or a call is complained about
            raise NotFound(f"there is no function {full_name}")
        validation.check(wanted, self._store.state, self._build_of)
        self._store.update_function(wanted, self._build_of(wanted.image))
        return web.Response(status=202)

    async def _delete_function(self, request: web.Request) -> web.Response:
        body = await _body(request)
        self._store.remove_function(f"{body.get('functionName', '')}.{self._namespace(request, body)}")
        return web.Response(status=202)

    async def _scale_function(self, request: web.Request) -> web.Response:
        body = await _body(request)
        name = request.match_info["name"]
        replicas = validation.scale_request(body, name)
        self._store.scale_function(f"{name}.{self._namespace(request, body)}", replicas)
        return web.Response(status=202)

    async def _create_namespace(self, request: web.Request) -> web.Response:
        await self._put_namespace(request, create=True)
        return web.Response(status=201)

    async def _update_namespace(self, request: web.Request) -> web.Response:
        await self._put_namespace(request, create=False)
        return web.Response(status=202)

    async def _put_namespace(self, request: web.Request, *, create: bool) -> None:
        namespace = validation.check_name(request.match_info["namespace"], "namespace")
        route = validation.route_request(await _body(request), namespace)
        self._store.put_namespace(namespace, route, create=create)

    async def _delete_namespace(self, request: web.Request) -> web.Response:
        self._store.remove_namespace(request.match_info["namespace"])
        return web.Response(status=202)

    async def _set_phase(self, request: web.Request) -> web.Response:
        value = (await _body(request)).get("phase")
        if value not in [phase.value for phase in Phase]:
            raise UsageError(f'"phase" must be one of {", ".join(phase.value for phase in Phase)}, not "{value}"')
        self._store.set_phase(request.match_info["id"], Phase(value))
        return web.Response(status=204)

    async def _delete_instance(self, request: web.Request) -> web.Response:
        self._store.delete_instance(request.match_info["id"])
        return web.Response(status=204)

    # Shapes

    def _namespace(self, request: web.Request, body: dict[str, Any] | None = None) -> str:
        return (body or {}).get("namespace") or request.query.get("namespace") or self._default_namespace

    def _build_of(self, image: str) -> str:
        return images.build_of(self._images_dir, image)

    def _removing(self, function: Function) -> bool:
        return self._store.record(function.full_name).removing

    def _status(self, function: Function) -> dict[str, Any]:
        """The FunctionStatus of the faas-provider contract."""
        record = self._store.record(function.full_name)
        available = sum(
            one.function_name == function.full_name and one.phase is Phase.READY
            for one in self._store.state.instances.values()
        )
        hidden = {"fprocess"} if "envProcess" in record.extra else set()
        return {
            "name": function.name,
            "image": function.image,
            "namespace": function.namespace,
            "envVars": {key: value for key, value in function.environment.items() if key not in hidden},
            "labels": dict(function.labels),
            "annotations": dict(function.annotations),
            **record.extra,
            "invocationCount": 0,
            "replicas": function.replicas,
            "availableReplicas": available,
            "createdAt": record.created_at,
        }


async def _body(request: web.Request) -> dict[str, Any]:
    try:
        body = json.loads(await request.read() or b"{}")
    except ValueError:
        raise UsageError("the request's body is not JSON") from None
    if not isinstance(body, dict):
        raise UsageError("the request's body must be a JSON object")
    return body


async def _send(response: web.StreamResponse, events: list[dict[str, Any]]) -> None:
    if events:
        await response.write("".join(json.dumps(event, separators=(",", ":")) + "\n" for event in events).encode())


def read_cluster(file: Path) -> tuple[tuple[int, ...], tuple[Host, ...]]:
    """The nodes and static hosts of the lab, as its daemon wrote them."""
    data = json.loads(file.read_text())
    return tuple(data["nodes"]), tuple(Host.from_json(host) for host in data["hosts"])


def main() -> None:
    parser = argparse.ArgumentParser(prog="testbed.platform.apiserver", description=__doc__)
    parser.add_argument("--cluster", type=Path, required=True, help="JSON file with the lab's nodes and hosts")
    parser.add_argument("--database", type=Path, required=True, help="SQLite file; made when it is missing")
    parser.add_argument("--images", type=Path, required=True, help="folder of built images")
    parser.add_argument("--listen", required=True, metavar="HOST:PORT")
    arguments = parser.parse_args()
    host, _, port = arguments.listen.rpartition(":")
    nodes, hosts = read_cluster(arguments.cluster)
    store = Store(arguments.database, nodes, hosts)
    namespace = os.environ.get("function_namespace", DEFAULT_NAMESPACE)  # noqa: SIM112 - OpenFaaS spells it so

    async def application() -> web.Application:
        return Apiserver(store, arguments.images, namespace).application()

    web.run_app(application(), host=host, port=int(port), access_log=None, shutdown_timeout=1.0, print=None)
    store.close()


if __name__ == "__main__":
    main()

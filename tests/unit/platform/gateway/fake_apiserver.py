"""An apiserver that a test writes the state of: its watch, and answers to the gateway's questions."""

from __future__ import annotations

import asyncio
import json
import threading
from typing import Any

from aiohttp import web

from testbed.model.cluster import ClusterState, Deployment, Function, Instance, Phase, Route
from tests.ports import free_port


class FakeApiserver:
    """Serves /watch and a few /system routes from a thread; `put` and friends change the state."""

    def __init__(self, port: int | None = None) -> None:
        self.port = port or free_port()
        self.state = ClusterState()
        self.events: list[dict[str, Any]] = []
        self.requests: list[tuple[str, str, dict[str, str], bytes]] = []
        self.answers: dict[tuple[str, str], list[tuple[int, str]]] = {}
        """(method, path) -> (status, body) to give, one after the other; the last one stays."""
        self.watchers = 0
        self._loop = asyncio.new_event_loop()
        self._changed: asyncio.Event | None = None
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.start()

    def start(self) -> None:
        self._thread.start()
        assert self._ready.wait(10)

    def stop(self) -> None:
        """End it; a second time does nothing."""
        if self._loop.is_closed():
            return
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    def change(self, kind: str, value: Any, *, delete: bool = False) -> None:
        event = {
            "type": "DELETE" if delete else "PUT",
            "version": self.state.version + 1,
            "kind": kind,
            "object": value.to_json(),
        }
        self.state = self.state.apply(event)
        self.events.append(event)
        self._loop.call_soon_threadsafe(self._wake)

    def function(
        self,
        name: str,
        vip: str,
        namespace: str = "openfaas-fn",
        *,
        ingress: bool = True,
        phase: Phase | None = Phase.READY,
        **settings: Any,
    ) -> None:
        """Deploy a function with one instance in `phase`, or none; `settings` go to Function."""
        known = self.state.functions.get(f"{name}.{namespace}")
        number = known.id if known else 256 + len(self.state.functions)
        self.change(
            "function",
            Function(namespace, name, number, vip, ingress=ingress, **{"image": "image", "replicas": 1, **settings}),
        )
        if phase is not None:
            self.instance(f"{name}.{namespace}.1", phase)

    def instance(self, name: str, phase: Phase) -> None:
        function, namespace, _ = name.split(".")
        self.change("instance", Instance(name, namespace, function, 2, "10.202.0.9", phase))

    def asked(self, method: str, path: str) -> list[Any]:
        """The JSON bodies of the requests to this path so far."""
        return [
            json.loads(body or b"null")
            for made, target, _, body in list(self.requests)
            if (made, target.partition("?")[0]) == (method, path)
        ]

    def namespace(self, name: str, route: Route) -> None:
        self.change("deployment", Deployment(name, route))

    def _wake(self) -> None:
        if self._changed is not None:
            self._changed.set()
        self._changed = asyncio.Event()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        application = web.Application()
        application.router.add_get("/watch", self._watch)
        application.router.add_route("*", "/{path:.*}", self._other)
        runner = web.AppRunner(application, shutdown_timeout=0.1)
        self._loop.run_until_complete(runner.setup())
        site = web.TCPSite(runner, "127.0.0.1", self.port, reuse_address=True)
        self._loop.run_until_complete(site.start())
        self._ready.set()
        self._loop.run_forever()
        tasks = asyncio.all_tasks(self._loop)
        for task in tasks:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        self._loop.run_until_complete(runner.cleanup())
        self._loop.close()

    async def _watch(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        since = int(request.query.get("since", -1))
        if since < 0 or since > self.state.version:
            position = len(self.events)
            snapshot = {"type": "SNAPSHOT", "version": self.state.version, "object": self.state.to_json()}
            await response.write(json.dumps(snapshot).encode() + b"\n")
        else:
            position = sum(1 for event in self.events if event["version"] <= since)
        self.watchers += 1
        try:
            while True:
                changed = self._changed = self._changed or asyncio.Event()
                while position < len(self.events):
                    await response.write(json.dumps(self.events[position]).encode() + b"\n")
                    position += 1
                try:
                    await asyncio.wait_for(changed.wait(), 0.5)
                except TimeoutError:
                    await response.write(b'{"type": "HEARTBEAT", "version": %d}\n' % self.state.version)
        finally:
            self.watchers -= 1

    async def _other(self, request: web.Request) -> web.StreamResponse:
        self.requests.append((request.method, request.path_qs, dict(request.headers), await request.read()))
        given = self.answers.get((request.method, request.path))
        if given:
            status, text = given.pop(0) if len(given) > 1 else given[0]
            return web.Response(status=status, text=text)
        if request.path == "/system/logs":
            response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
            await response.prepare(request)
            for number in range(3):
                await response.write(b'{"text": "line %d"}\n' % number)
                await asyncio.sleep(0.05)
            return response
        return web.json_response({"method": request.method, "path": request.path_qs}, status=202)

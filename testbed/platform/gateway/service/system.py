"""Everything but /function: the apiserver's routes behind basic auth, and what the gateway adds to them.

Most requests are only passed on. Lists and statuses get the gateway's own invocation counts, info gets the
gateway's version, alerts are OpenFaaS's own scaler, log answers get the statuses of OpenFaaS's log proxy.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import logging
import platform
import time
from collections.abc import Coroutine
from typing import Any

from testbed.model.errors import PlatformError
from testbed.platform.gateway.http import answers
from testbed.platform.gateway.http.answers import Answer
from testbed.platform.gateway.http.deadlines import Deadlines
from testbed.platform.gateway.http.exchange import Exchange
from testbed.platform.gateway.http.pool import Upstream
from testbed.platform.gateway.service import error_table, routes, ui
from testbed.platform.gateway.service.apiserver_client import ApiserverClient
from testbed.platform.gateway.service.functions import Functions
from testbed.platform.gateway.service.metrics import RequestMetrics
from testbed.platform.gateway.service.routes import Kind
from testbed.platform.gateway.service.waking import ScalingLabels, after_alert

MAX_ALERT_BYTES = 1 << 20
TO_UI = Answer(307, b'<a href="/ui/">Temporary Redirect</a>.\n\n', (b"Location: /ui/", answers.HTML))
VERSION = {"commit_message": "", "sha": "", "release": "0.1.0"}

log = logging.getLogger(__name__)


class System:
    """Serves requests of every kind but FUNCTION; `upstream` is the apiserver, for what is only passed on.

    `authorization`: "user:password" in base64, None without auth.
    """

    def __init__(
        self,
        functions: Functions,
        upstream: Upstream,
        apiserver: ApiserverClient,
        overdue: Deadlines[Exchange],
        authorization: bytes | None,
        namespace: str,
    ) -> None:
        self.metrics = RequestMetrics()
        self._functions = functions
        self._upstream = upstream
        self._apiserver = apiserver
        self._overdue = overdue
        self._authorization = authorization
        self._namespace = namespace
        self._tasks: set[asyncio.Task[None]] = set()

    def serve(self, exchange: Exchange, kind: Kind, target: bytes) -> None:
        """Answer, or send to the apiserver."""
        if kind is Kind.NOTHING:
            exchange.answer(error_table.NOT_FOUND)
        elif exchange.method not in kind.methods:
            exchange.answer(error_table.METHOD_NOT_ALLOWED)
        elif kind is Kind.ROOT:
            exchange.answer(TO_UI)
        elif kind.protected and not self.authorized(exchange):
            exchange.answer(error_table.UNAUTHORIZED)
        elif kind is Kind.UI:
            exchange.answer(self._page(target))
        elif kind is Kind.ALERT:
            exchange.when_complete(MAX_ALERT_BYTES, lambda: self._start(self._alert(exchange, target)))
        elif kind is Kind.INFO:
            self._start(self._info(exchange, target))
        elif exchange.method == b"GET" and kind in (Kind.FUNCTIONS, Kind.STATUS):
            self._start(self._counted(exchange, target))
        else:
            self.pass_on(exchange, kind, target)

    def pass_on(self, exchange: Exchange, kind: Kind, target: bytes) -> None:
        """Send a request to the apiserver as it is."""
        logs = kind is Kind.LOGS
        if not logs:  # a followed log has no end
            self._overdue.add(exchange, exchange.started_s)
        metrics = None if logs else self.metrics.of(exchange.method, target)
        exchange.forward(self._upstream, target, metrics=metrics, instead=error_table.instead_of_log if logs else None)

    def authorized(self, exchange: Exchange) -> bool:
        """Whether the request carries the right basic credentials, or none are needed."""
        if self._authorization is None:
            return True
        scheme, _, credentials = _proof(exchange).partition(b" ")
        return scheme.lower() == b"basic" and hmac.compare_digest(credentials.strip(), self._authorization)

    # What the gateway does itself

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _reply(self, exchange: Exchange, target: bytes, answer: Answer) -> None:
        seconds = time.monotonic() - exchange.started_s
        self.metrics.of(exchange.method, target).finished(answer.status, seconds)
        if not exchange.done:
            exchange.answer(answer)

    def _as(self, exchange: Exchange) -> ApiserverClient:
        """The apiserver, asked with the client's own proof."""
        return self._apiserver.as_client(_proof(exchange))

    async def _counted(self, exchange: Exchange, target: bytes) -> None:
        """A FunctionStatus, or a list of them, with the invocations counted here."""
        try:
            status, body = await self._as(exchange).call("GET", target.decode("latin-1"))
        except PlatformError as error:
            log.warning("%s", error)
            self._reply(exchange, target, answers.BAD_GATEWAY)
            return
        if status != 200:
            self._reply(exchange, target, Answer(status, body, (answers.TEXT,)))
            return
        try:
            found = json.loads(body)
            for function in found if isinstance(found, list) else [found]:
                name = f"{function['name']}.{function.get('namespace') or self._namespace}"
                function["invocationCount"] = self._functions.invocations(name)
        except (ValueError, KeyError, TypeError):
            self._reply(exchange, target, error_table.UNREADABLE_LIST)
            return
        self._reply(exchange, target, Answer(200, json.dumps(found).encode(), (answers.JSON,)))

    async def _info(self, exchange: Exchange, target: bytes) -> None:
        try:
            status, body = await self._as(exchange).call("GET", target.decode("latin-1"))
            provider = json.loads(body) if status == 200 else None
        except (PlatformError, ValueError) as error:
            log.warning("the apiserver's info cannot be read: %s", error)
            provider = None
        info = {"provider": provider, "version": VERSION, "arch": platform.machine()}
        self._reply(exchange, target, Answer(200, json.dumps(info).encode(), (answers.JSON,)))

    async def _alert(self, exchange: Exchange, target: bytes) -> None:
        """What Prometheus's Alertmanager sends: scale each function named, up or down."""
        try:
            wanted = _alerts(b"".join(exchange.body))
        except (ValueError, TypeError, AttributeError):
            self._reply(exchange, target, error_table.BAD_ALERT)
            return
        problems: list[str] = []
        for status, name in wanted:
            try:
                await self._scale(self._as(exchange), status, *routes.full_name(name, self._namespace))
            except PlatformError as error:
                problems.append(f"[{len(problems)}] {error}\n")
        self._reply(exchange, target, Answer(500 if problems else 200, "".join(problems).encode(), (answers.TEXT,)))

    async def _scale(self, apiserver: ApiserverClient, status: str, name: str, namespace: str) -> None:
        code, body = await apiserver.call("GET", f"/system/function/{name}?namespace={namespace}&usage=false")
        if code != 200:
            return  # OpenFaaS ignores alerts for functions that are gone
        try:
            function = json.loads(body)
            before, labels = int(function["replicas"]), ScalingLabels.of(function.get("labels") or {})
        except (ValueError, KeyError, TypeError) as error:
            raise PlatformError(f"the apiserver's status of {name}.{namespace} cannot be read") from error
        replicas = after_alert(status, before, labels)
        if replicas != before:
            await apiserver.set_replicas(name, namespace, replicas)

    def _page(self, target: bytes) -> Answer:
        if target.partition(b"?")[0] != b"/ui/":
            return error_table.NOT_FOUND
        return Answer(200, ui.page(self._functions.rows()), (answers.HTML, b"Cache-Control: no-store"))


def _proof(exchange: Exchange) -> bytes:
    """The value of the request's first Authorization header, b"" without one."""
    line = next((line for line in exchange.lines if line[:14].lower() == b"authorization:"), b"")
    return line[14:].strip()


def _alerts(body: bytes) -> list[tuple[str, str]]:
    """(status, function name) of every alert that names a valid function. ValueError, TypeError or
    AttributeError when the body is no alert."""
    found = json.loads(body)
    alerts = (found.get("alerts") if found is not None else None) or []
    wanted = [(alert.get("status", ""), (alert.get("labels") or {}).get("function_name", "")) for alert in alerts]
    return [(status, name) for status, name in wanted if routes.is_name(name.encode())]

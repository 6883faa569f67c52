"""Before every route of the controller's REST interface: who asks, and may they? Nothing is read or looked up before.

Whom a route answers stands in `testbed.model.audiences`; a route without a row there is not served at all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any
from urllib.parse import parse_qsl

from controllers import sdn
from controllers.northbound.answers import refused
from testbed.model import audiences
from testbed.model.audiences import Audience, Server
from testbed.model.cluster import DEFAULT_NAMESPACE, Deployment
from testbed.model.credentials import Caller, Keyring

_CALLER = "testbed.caller"
LARGEST_BODY_BYTES = 64 << 10


class Guarded(sdn.WSGIApplication):
    """ryu's routes behind the guard. Until `guard` has been called nobody is let in."""

    def __init__(self, **config: Any) -> None:
        super().__init__(**config)
        self._audiences = audiences.of(Server.CONTROLLER)
        self._keyring: Keyring | None = None
        self._deployments: Callable[[], Mapping[str, Deployment]] = dict

    def guard(self, keyring: Keyring, deployments: Callable[[], Mapping[str, Deployment]]) -> None:
        """Let those in whom the keyring knows; `deployments` are the namespaces that there are.

        KeyError for a route that has no audience: a mistake of ours, said when the controller starts.
        """
        for method, path in self.routes():
            self._audiences[method, path]
        self._keyring, self._deployments = keyring, deployments

    def routes(self) -> list[tuple[str, str]]:
        """(method, path) of every route."""
        return [(method, one.routepath) for one in self.mapper.matchlist for method in one.conditions["method"]]

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        refusal = self._refusal(environ)
        if refusal is None:
            if not _is_small(environ):
                reason = (
                    f"the body is longer than {LARGEST_BODY_BYTES} bytes, or does not say how long it is; send less"
                )
                return refused(reason, 413)(environ, start_response)
            return super().__call__(environ, start_response)
        answer = refused(refusal.reason, refusal.status)
        if refusal.status == 401:
            answer.headers["WWW-Authenticate"] = 'Bearer realm="testbed"'
        return answer(environ, start_response)

    def _refusal(self, environ: dict[str, Any]) -> audiences.Refusal | None:
        found = self.mapper.routematch(environ=environ)
        path: dict[str, Any] = found[0] if found else {}
        audience: Audience | None = self._audiences[environ["REQUEST_METHOD"], found[1].routepath] if found else None
        caller = None
        if self._keyring is not None:
            caller = self._keyring.caller(environ.get("HTTP_AUTHORIZATION"), self._deployments())
        environ[_CALLER] = caller
        namespace = None
        if audience is not None and audience.own is not None:
            query = dict(parse_qsl(environ.get("QUERY_STRING", "")))
            namespace = audiences.concerned(audience.own, path, query, DEFAULT_NAMESPACE)
        what = f"{environ['REQUEST_METHOD']} {found[1].routepath if found else ''}"
        return audiences.refusal(audience, caller, namespace, what)


def _is_small(environ: Mapping[str, Any]) -> bool:
    """Whether the body can be read without holding up the switches."""
    length = environ.get("CONTENT_LENGTH") or "0"
    chunked = bool(environ.get("HTTP_TRANSFER_ENCODING"))
    return not chunked and length.isdecimal() and int(length) <= LARGEST_BODY_BYTES


def own_namespace(request: Any) -> str | None:
    """The one namespace that whoever asks may speak of; None: all."""
    caller: Caller = request.environ[_CALLER]
    return caller.own_namespace

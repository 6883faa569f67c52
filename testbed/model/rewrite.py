"""What becomes of callee URLs when an instance starts, and which environments are refused.

On the `direct` route a callee URL becomes http://<vIP>:8080 with path and query kept. On the
`gateway` route a name without a namespace gets its own namespace's, because the gateway looks a
bare name up in the default namespace; nothing else changes. Pure; `testbed.model.stack.callees` recognises.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

from testbed.model.addressing import FUNCTION_PORT
from testbed.model.annotations import CALLS_ANNOTATION
from testbed.model.cluster import Route
from testbed.model.errors import PlatformError, UsageError
from testbed.model.stack import callees
from testbed.model.stack.callees import CalleeUrl


class CalleeMissing(PlatformError):
    """A callee is not deployed yet, so that its vIP is not known."""


def check(name: str, namespace: str, environment: Mapping[str, str], calls: Collection[str], route: Route) -> None:
    """Raise UsageError for the first value that the route does not allow.

    On both routes: a callee URL that names a function outside `calls`, or another namespace's. On
    the direct route also any other mention of the gateway, which no function may reach there.
    """
    for variable, value in environment.items():
        urls = callees.parse(value)
        for url in urls:
            _check_url(name, namespace, variable, url, calls)
        mention = callees.mentions_gateway(value)
        if not urls and mention and route is Route.DIRECT:
            raise UsageError(
                f'environment value {variable} of function {name} contains the gateway ("{mention}") in a form that '
                f"the direct route cannot replace; write http://gateway.openfaas:{FUNCTION_PORT}/function/NAME, or "
                f"deploy namespace {namespace} on the gateway route"
            )


def environment(values: Mapping[str, str], namespace: str, route: Route, vips: Mapping[str, str]) -> dict[str, str]:
    """The environment that an instance in `namespace` gets; `vips` are its namespace's, by function name.

    Raises CalleeMissing when the direct route needs a vIP that is not there.
    """

    def direct(url: CalleeUrl) -> str:
        if url.function not in vips:
            raise CalleeMissing(f"function {url.function} is not deployed in namespace {namespace}; deploy it")
        return f"http://{vips[url.function]}:{FUNCTION_PORT}{url.rest}"

    def qualified(url: CalleeUrl) -> str:
        return replace(url, namespace=url.namespace or namespace).text()

    replacement = direct if route is Route.DIRECT else qualified
    return {variable: callees.replace(value, replacement) or "" for variable, value in values.items()}


def _check_url(name: str, namespace: str, variable: str, url: CalleeUrl, calls: Collection[str]) -> None:
    if url.namespace not in ("", namespace):
        raise UsageError(
            f"environment value {variable} of function {name} names {url.function}.{url.namespace}, a function of "
            f"another namespace than {namespace}; leave the namespace out of the URL"
        )
    if url.function not in calls:
        raise UsageError(
            f"environment value {variable} of function {name} names function {url.function}, which is not among its "
            f"{CALLS_ANNOTATION}; add it there or take the value out"
        )

"""Where the scaler's metrics come from: the gateway's and the switches' counters, and CPU usage by the apiserver.

Each is one HTTP request for all functions, made only when a function's metrics need it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

import aiohttp

from testbed.model.cluster import ClusterState, Function
from testbed.model.credentials import bearer
from testbed.model.errors import PlatformError
from testbed.platform.scaler.rates import Key

READ_TIMEOUT_S = 2.0
GATEWAY = "gateway"

_INVOCATIONS = re.compile(r"gateway_function_invocation_total\{([^}]*)\} (\S+)")
_LABEL = re.compile(r'(\w+)="([^"]*)"')


class NotReadable(PlatformError):
    """A source did not answer, or not completely."""


async def _get(session: aiohttp.ClientSession, url: str, what: str, headers: Mapping[str, str] | None = None) -> str:
    try:
        timeout = aiohttp.ClientTimeout(total=READ_TIMEOUT_S)
        async with session.get(url, timeout=timeout, headers=headers) as answer:
            text = await answer.text()
    except (aiohttp.ClientError, TimeoutError) as error:
        raise NotReadable(f"{what} does not answer ({type(error).__name__})") from error
    if answer.status != 200:
        raise NotReadable(f"{what} answered {answer.status}")
    return text


class GatewayCounters:
    """gateway_function_invocation_total, by function and code: the calls that came by the gateway."""

    def __init__(self, session: aiohttp.ClientSession, url: str, credential: str) -> None:
        """`credential` is for the gateway alone: it may be a program of somebody else's."""
        self._session = session
        self._url = url
        self._headers = {"Authorization": bearer(credential)}

    async def read(self) -> Mapping[Key, float]:
        """(function, code) -> invocations; raises NotReadable."""
        return invocations(await _get(self._session, f"{self._url}/metrics", "the gateway", self._headers))


def invocations(exposition: str) -> dict[Key, float]:
    """The invocation counters in a page of Prometheus' text format."""
    found: dict[Key, float] = {}
    for labels, value in _INVOCATIONS.findall(exposition):
        names = dict(_LABEL.findall(labels))
        if "function_name" in names:
            found[names["function_name"], names.get("code", "")] = float(value)
    return found


class SwitchCounters:
    """First packets of connections, as the switches count them: the calls that functions make directly.

    What the gateway opens to a function is left out: those calls are among the gateway's invocations already.
    """

    def __init__(self, session: aiohttp.ClientSession, url: str, state: Callable[[], ClusterState]) -> None:
        self._session = session
        self._url = url
        self._state = state

    async def read(self) -> Mapping[Key, float]:
        """(callee, caller, node) -> connections; raises NotReadable, also when a switch is missing from the answer."""
        counters = json.loads(await _get(self._session, f"{self._url}/counters", "the controller"))
        return direct_calls(counters, self._state().nodes)


def direct_calls(counters: Mapping[str, Any], nodes: tuple[int, ...]) -> dict[Key, float]:
    """The calls in the controller's GET /counters, once every node is among them (each has drop rows at least)."""
    told = {row["node"] for section in ("calls", "services", "drops") for row in counters[section]}
    if missing := sorted(set(nodes) - told):
        raise NotReadable(f"the switch of node{missing[0]} does not answer")
    return {
        (row["callee"], row["caller"], str(row["node"])): float(row["packets"])
        for row in counters["calls"]
        if row["caller"] != GATEWAY
    }


class CpuUsage:
    """Millicores that all instances of a function use, as the apiserver reads them from cgroups."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self._url = url

    async def read(self, function: Function) -> float:
        """Raises NotReadable, also where this machine lets no cgroup be read."""
        url = f"{self._url}/system/function/{function.name}?namespace={function.namespace}&usage=1"
        usage = json.loads(await _get(self._session, url, "the apiserver")).get("usage") or {}
        if "cpu" not in usage:
            raise NotReadable("the apiserver knows no CPU usage")
        return float(usage["cpu"])

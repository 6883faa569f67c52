"""What the wire alone says: how many trunk crossings, and how many connections, each route costs.

Pure. The model takes round trips as calibrated in the run itself, never as configured, because what
a trunk adds is its delay *and* two more switches. The connection oracle is exact where functions open a
connection for each call: it names every one that a number of requests opens. Where they keep connections it
is a bound: how many a server's threads open and keep is its own business, but never more than calls.

A call costs one round trip on each leg for request and answer, and one more where a connection is
opened first. By gateway the legs are caller-gateway and gateway-callee; direct there is one, caller-callee.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import pairwise

from testbed.model.cluster import Route

GATEWAY = "gateway"
CLIENT = "client"


class Connection(str, Enum):
    """How a function calls: a new connection for each call, or one that stays open."""

    PER_CALL = "per-call"
    KEEPALIVE = "keepalive"


class Upstream(str, Enum):
    """How the gateway calls functions: from its pool, or a new connection for each request."""

    POOLED = "pooled"
    PER_CALL = "per-call"


@dataclass(frozen=True)
class Trunks:
    """Round-trip time that the trunk between two nodes adds over the same path within a node, in ms."""

    added_rtt_ms: Mapping[tuple[int, int], float]

    def between(self, node: int, peer: int) -> float:
        """0 within a node. KeyError: that trunk was not calibrated."""
        return 0.0 if node == peer else self.added_rtt_ms[(min(node, peer), max(node, peer))]


@dataclass(frozen=True)
class WireModel:
    """The wire part of a chain's latency.

    `function_nodes[k]` is the node of the chain's function number k + 1.
    """

    trunks: Trunks
    function_nodes: Sequence[int]
    upstream: Upstream
    connection: Connection
    gateway_node: int = 1
    client_node: int = 1

    def call_ms(self, route: Route, caller: int, callee: int) -> float:
        """Wire time of one call between functions on nodes `caller` and `callee`, there and back."""
        own = 2 if self.connection is Connection.PER_CALL else 1
        if route is Route.DIRECT:
            return own * self.trunks.between(caller, callee)
        return own * self.trunks.between(caller, self.gateway_node) + self._upstream_ms(callee)

    def request_ms(self, route: Route, length: int) -> float:
        """Wire time of a whole request to a chain of `length` functions; the client enters by the gateway."""
        nodes = self.function_nodes[:length]
        entry = 2 * self.trunks.between(self.client_node, self.gateway_node) + self._upstream_ms(nodes[0])
        return entry + sum(self.call_ms(route, *pair) for pair in pairwise(nodes))

    def saved_ms(self, length: int) -> float:
        """What the wire alone makes the direct route faster by, at this length."""
        return self.request_ms(Route.GATEWAY, length) - self.request_ms(Route.DIRECT, length)

    def _upstream_ms(self, node: int) -> float:
        trips = 1 if self.upstream is Upstream.POOLED else 2
        return trips * self.trunks.between(self.gateway_node, node)


def function_name(position: int, namespace: str) -> str:
    """The full name of function number `position` (from 1) of the chain in a namespace."""
    return f"chain-{position}.{namespace}"


def caller_connections(
    route: Route, namespace: str, length: int, requests: int, connection: Connection = Connection.PER_CALL
) -> dict[tuple[str, str], int]:
    """Connections that callers open for `requests` requests, as far as that is certain.

    With `per-call` `length` a request on either route, with `keepalive` the client's alone. Keys are
    (caller, callee) as the controller's counters name them.
    """
    calls = function_calls(route, namespace, length, requests) if connection is Connection.PER_CALL else {}
    return {(CLIENT, GATEWAY): requests, **calls}


def function_calls(route: Route, namespace: str, length: int, requests: int) -> dict[tuple[str, str], int]:
    """Calls that functions make for `requests` requests: no function opens more connections than it makes calls."""
    calls = {}
    for position in range(1, length):
        callee = GATEWAY if route is Route.GATEWAY else function_name(position + 1, namespace)
        calls[(function_name(position, namespace), callee)] = requests
    return calls


def gateway_requests(route: Route, namespace: str, length: int, requests: int) -> dict[str, int]:
    """Requests that the gateway forwards, by function: every one by gateway, the first alone direct.

    With `gateway_upstream=per-call` it opens exactly as many connections.
    """
    last = length if route is Route.GATEWAY else 1
    return {function_name(position, namespace): requests for position in range(1, last + 1)}


def merge(parts: Sequence[Mapping[tuple[str, str], int]]) -> dict[tuple[str, str], int]:
    """The sum of several connection counts."""
    total: dict[tuple[str, str], int] = {}
    for part in parts:
        for key, count in part.items():
            total[key] = total.get(key, 0) + count
    return total


@dataclass(frozen=True)
class Expected:
    """One pair of the oracle: what it expects (`at_most`: at most) and what was counted."""

    caller: str
    callee: str
    expected: int
    counted: int
    at_most: bool = False

    @property
    def exact(self) -> bool:
        """Whether the number was known beforehand, and is what was counted."""
        return not self.at_most and self.expected == self.counted

    @property
    def holds(self) -> bool:
        """Whether what was counted is not against the expectation."""
        return self.counted <= self.expected if self.at_most else self.exact

    @property
    def wanted(self) -> str:
        """The expectation in words."""
        return f"at most {self.expected}" if self.at_most else f"{self.expected}"


def oracle(
    expected: Mapping[tuple[str, str], int],
    counted: Mapping[tuple[str, str], int],
    limits: Mapping[tuple[str, str], int] | None = None,
) -> list[Expected]:
    """Every pair that is expected or was counted, in order of name. Unexpected pairs count against it.

    Of a pair in `limits` at most that many are expected.
    """
    limits = limits or {}
    return [
        Expected(*pair, limits.get(pair, expected.get(pair, 0)), counted.get(pair, 0), pair in limits)
        for pair in sorted(expected.keys() | counted.keys() | limits.keys())
    ]

"""Thousands of consecutive connections, from the same local ports again and again: none refused, none stuck, every one
counted."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from testbed.model import addressing
from testbed.model.cluster import Route
from testbed.model.stack import stack_file
from testbed.network.lab import Lab
from testbed.platform.client.platform import Platform
from tests.lab.conftest import CHECKOUT
from tests.lab.traffic import in_host
from tests.waiting import last

LOCAL_PORTS = "30000 31999"
CONNECTIONS = 6_000
"""Three times as many as a caller has local ports for, so that each comes round while switches still know its last."""
STUCK_S = 1.0
"""A SYN that has to be sent again is answered after a second at the earliest."""
COUNTERS_SETTLE_S = 10.0


@pytest.fixture(scope="module")
def platform(lab: Lab) -> Iterator[Platform]:
    with lab.inside():
        platform = Platform(lab)
        application, _ = stack_file.select(stack_file.load(CHECKOUT / "functions/chain/stack.yaml", {}), "^chain-[12]$")
        platform.deploy(application, "many", Route.DIRECT, "spread")
        platform.wait_ready()
        lab.client.restart("gateway", {"gateway_upstream": "per-call"})
        yield platform
        lab.client.restart("gateway", {"gateway_upstream": "pooled"})
        platform.remove("many")


def calls(platform: Platform) -> dict[tuple[str, str], int]:
    """Connections admitted so far, for each caller and callee, over all nodes."""
    counted: dict[tuple[str, str], int] = {}
    for row in platform.counters()["calls"]:
        key = (row["caller"], row["callee"])
        counted[key] = counted.get(key, 0) + row["packets"]
    return counted


def await_count(platform: Platform, pair: tuple[str, str], wanted: int) -> int:
    """The pair's counter once it has reached `wanted`, or after a while: switches report with a delay."""
    return last(lambda: calls(platform).get(pair, 0), lambda count: count >= wanted, COUNTERS_SETTLE_S, pause_s=0.2)


@contextmanager
def few_local_ports() -> Iterator[None]:
    """In the network namespace that the calling thread is in."""
    setting = Path("/proc/sys/net/ipv4/ip_local_port_range")
    usual = setting.read_text()
    setting.write_text(LOCAL_PORTS)
    try:
        yield
    finally:
        setting.write_text(usual)


def in_turn(lab: Lab, host: str, address: str, target: str) -> tuple[int, list[str]]:
    """`many_requests` from a host with few local ports."""

    def requests_from_there() -> tuple[int, list[str]]:
        with few_local_ports():
            return many_requests(address, target)

    return in_host(lab, host, requests_from_there)


def many_requests(address: str, target: str) -> tuple[int, list[str]]:
    """How many requests were answered 200, and what is to be said of the others and of the slow ones."""
    request = f"GET {target} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n".encode()
    answered, complaints = 0, []
    for number in range(CONNECTIONS):
        started = time.monotonic()
        try:
            with socket.create_connection((address, addressing.FUNCTION_PORT), timeout=10) as connection:
                connection.sendall(request)
                answer = b""
                while chunk := connection.recv(65536):
                    answer += chunk
        except OSError as error:
            complaints.append(f"request {number}: {error}")
            continue
        elapsed_s = time.monotonic() - started
        if elapsed_s > STUCK_S:
            complaints.append(f"request {number} took {elapsed_s:.2f} s")
        answered += answer.startswith(b"HTTP/1.1 200")
    return answered, complaints


def test_one_caller_to_one_vip(lab: Lab, platform: Platform) -> None:
    vip = platform.state().functions["chain-2.many"].vip
    pair = ("chain-1.many", "chain-2.many")
    before = calls(platform).get(pair, 0)
    answered, complaints = in_turn(lab, "chain-1.many.1", vip, "/_/health")
    assert complaints == []
    assert answered == CONNECTIONS
    assert await_count(platform, pair, before + CONNECTIONS) == before + CONNECTIONS


def upstream_connections(platform: Platform, function: str) -> int:
    """How many connections to `function` the gateway says that it has opened."""
    wanted = f'testbed_gateway_upstream_connections_total{{function_name="{function}"}}'
    for line in (platform.gateway_metrics() or "").splitlines():
        if line.startswith(wanted):
            return int(float(line.split()[-1]))
    return 0


def test_one_client_by_gateway_with_a_connection_for_each_call(lab: Lab, platform: Platform) -> None:
    gateway = addressing.vip(addressing.GATEWAY_ID)
    pairs = [("client", "gateway"), ("gateway", "chain-1.many")]
    before = calls(platform)
    opened_before = upstream_connections(platform, "chain-1.many")
    answered, complaints = in_turn(lab, "client", gateway, "/function/chain-1.many?length=1")
    assert complaints == []
    assert answered == CONNECTIONS
    for pair in pairs:
        wanted = before.get(pair, 0) + CONNECTIONS
        assert await_count(platform, pair, wanted) == wanted, pair
    assert upstream_connections(platform, "chain-1.many") - opened_before == CONNECTIONS

"""Functions and clients that misbehave: what their callers get is defined, and no other tenant notices."""

from __future__ import annotations

import http.client
import json
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from testbed.chaos.load import PROBE_PAUSE_S, Requests
from testbed.model import addressing
from testbed.model.cluster import Route
from testbed.model.stack import stack_file
from testbed.network.lab import Lab
from testbed.platform.client.platform import Platform
from tests.lab.conftest import CHECKOUT
from tests.lab.traffic import in_host
from tests.waiting import eventually, until

GATEWAY = addressing.vip(addressing.GATEWAY_ID)
HUGE = 100_000_000
GROWTH_KB = 50_000
SLOW_CLIENTS = 20
NAMESPACES = {"odd-direct": Route.DIRECT, "odd-gateway": Route.GATEWAY}


@pytest.fixture(scope="module")
def platform(lab: Lab) -> Iterator[Platform]:
    with lab.inside():
        platform = Platform(lab)
        misfit = stack_file.load(CHECKOUT / "tests/lab/functions/misfit/stack.yaml", {})
        for namespace, route in NAMESPACES.items():
            platform.deploy(misfit, namespace, route, "node2")
        chain, _ = stack_file.select(stack_file.load(CHECKOUT / "functions/chain/stack.yaml", {}), "^chain-[12]$")
        platform.deploy(chain, "neighbour", Route.DIRECT, "spread")
        await_gateway(lab)
        yield platform
        for namespace in (*NAMESPACES, "neighbour"):
            platform.remove(namespace)


@pytest.fixture(scope="module")
def impatient_gateway(lab: Lab, platform: Platform) -> Iterator[None]:
    """A gateway that gives functions 2 s to answer."""
    lab.client.restart("gateway", {"upstream_timeout": "2s"})
    await_gateway(lab)
    yield
    lab.client.restart("gateway", {"upstream_timeout": ""})
    await_gateway(lab)


@pytest.fixture
def neighbour(lab: Lab, platform: Platform) -> Iterator[None]:
    """Another tenant's calls all the while, from before to after: none fails."""
    with Requests(lab.client, "chain-1.neighbour", pause_s=PROBE_PAUSE_S) as load:
        until(lambda: load.outcome.answered > 0, "the neighbour is answered", within_s=30)
        yield
        answered = load.outcome.answered
        until(lambda: load.outcome.answered > answered, "the neighbour is still answered", within_s=30)
    assert load.outcome.failures == {}


def await_gateway(lab: Lab) -> None:
    until(lambda: get(lab, "/function/nobody.nowhere")[0] == "404", "the gateway knows its functions", within_s=30)


def get(lab: Lab, path: str) -> tuple[str, bytes]:
    """(status, body) of a request to the gateway, or (name of the error, what came before it)."""

    def ask() -> tuple[str, bytes]:
        connection = http.client.HTTPConnection(GATEWAY, addressing.FUNCTION_PORT, timeout=60)
        try:
            connection.request("GET", path, headers={"Connection": "close"})
            answer = connection.getresponse()
            return str(answer.status), answer.read()
        except http.client.IncompleteRead as error:
            return type(error).__name__, error.partial
        except (OSError, http.client.HTTPException) as error:
            return type(error).__name__, b""
        finally:
            connection.close()

    return in_host(lab, "client", ask)


def resident_kb(lab: Lab, component: str) -> int:
    """Memory of a component's process."""
    pid = lab.client.status()["components"][component]["pid"]
    inside = Path(f"/proc/{lab.init_pid}/root/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) for line in inside.splitlines() if line.startswith("VmRSS:"))


def test_the_gateway_passes_a_huge_answer_on_without_keeping_it(lab: Lab, neighbour: None) -> None:
    before_kb = resident_kb(lab, "gateway")
    status, body = get(lab, "/function/misfit.odd-direct/huge")
    assert (status, len(body)) == ("200", HUGE)
    assert resident_kb(lab, "gateway") - before_kb < GROWTH_KB


def test_a_calling_function_gets_a_huge_answer_whole(lab: Lab, neighbour: None) -> None:
    status, body = get(lab, "/function/caller.odd-direct?path=/huge&timeout_s=60")
    assert (status, json.loads(body)) == ("200", {"outcome": "200", "bytes": HUGE})


def test_a_function_that_takes_all_memory_is_ended_at_its_limit_and_returns(
    lab: Lab, platform: Platform, neighbour: None
) -> None:
    misfit = stack_file.load(CHECKOUT / "tests/lab/functions/misfit/stack.yaml", {})
    limited = tuple(replace(spec, limits={"memory": "96Mi"}) for spec in misfit.functions)
    platform.deploy(replace(misfit, functions=limited), "odd-leaky", Route.DIRECT, "node3")
    try:
        status, body = get(lab, "/function/misfit.odd-leaky/leak")
        assert (status, body) == ("500", b"Can't reach service for: misfit.odd-leaky.")
        log = lab.state_folder / "functions" / "misfit.odd-leaky.1.log"
        platform.wait_ready(namespace="odd-leaky")
        fine = eventually(lambda: get(lab, "/function/misfit.odd-leaky/fine") == ("200", b"fine"), within_s=30)
        assert fine, log.read_text()
        assert "OOMKilled" in log.read_text()
    finally:
        platform.remove("odd-leaky")


def read_slowly() -> int:
    """Ask for 100 MB and take a few hundred bytes of it a second; how many came."""
    with socket.create_connection((GATEWAY, addressing.FUNCTION_PORT), timeout=10) as connection:
        connection.sendall(b"GET /function/misfit.odd-direct/huge HTTP/1.1\r\nHost: x\r\n\r\n")
        received = 0
        for _ in range(20):
            received += len(connection.recv(100))
            time.sleep(0.1)
        return received


def test_slow_clients_cost_the_gateway_little_and_others_nothing(lab: Lab, neighbour: None) -> None:
    before_kb = resident_kb(lab, "gateway")
    with ThreadPoolExecutor(SLOW_CLIENTS) as pool:
        running = [pool.submit(in_host, lab, "client", read_slowly) for _ in range(SLOW_CLIENTS)]
        time.sleep(1.5)
        grown_kb = resident_kb(lab, "gateway") - before_kb
        assert all(one.result() > 0 for one in running)
    assert grown_kb < GROWTH_KB


UNREACHABLE = b"Can't reach service for: misfit.odd-direct."


@pytest.mark.parametrize(
    ("path", "status", "body"),
    [
        ("/hang", "502", b""),
        ("/garbage", "500", UNREACHABLE),
        ("/early", "500", UNREACHABLE),
        ("/cut", "IncompleteRead", b"begun"),
        ("/fine", "200", b"fine"),
    ],
)
def test_what_the_gateway_answers_for_a_misfit(
    lab: Lab, impatient_gateway: None, neighbour: None, path: str, status: str, body: bytes
) -> None:
    assert get(lab, f"/function/misfit.odd-direct{path}") == (status, body)


@pytest.mark.parametrize(
    ("path", "direct", "by_gateway"),
    [
        ("/hang", "TimeoutError", "502"),
        ("/garbage", "BadStatusLine", "500"),
        ("/early", "RemoteDisconnected", "500"),
        ("/cut", "IncompleteRead", "IncompleteRead"),
        ("/fine", "200", "200"),
    ],
)
def test_what_a_calling_function_gets(
    lab: Lab, impatient_gateway: None, neighbour: None, path: str, direct: str, by_gateway: str
) -> None:
    """On the direct route a caller has its own time limit only; on the gateway route the gateway may be first."""
    status, body = get(lab, f"/function/caller.odd-direct?path={path}&timeout_s=1")
    assert (status, json.loads(body)["outcome"]) == ("200", direct)
    status, body = get(lab, f"/function/caller.odd-gateway?path={path}&timeout_s=60")
    # The outer call has the same time as the inner one, so its end may come first.
    assert (status if status != "200" else json.loads(body)["outcome"]) == by_gateway

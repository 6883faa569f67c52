"""Another gateway program in our gateway's place: HAProxy with a static configuration, in front of the provider.

It knows nothing of the testbed; what makes it a gateway is that it passes everything to a faas-provider.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from testbed.model import addressing
from testbed.model.cluster import Route
from testbed.model.stack import stack_file
from testbed.network.lab import Lab
from testbed.platform.client.platform import Platform
from tests.lab.conftest import CHECKOUT, command_line, lab_with_gateway
from tests.lab.traffic import in_host
from tests.waiting import last

CONFIGURATION = """
global
    maxconn 1000
defaults
    mode http
    timeout connect 5s
    timeout client 65s
    timeout server 65s
frontend gateway
    bind :8080
    default_backend provider
backend provider
    server provider 127.0.0.1:8081
"""
CHAIN = 3
REQUESTS = 20
SETTLE_S = 10.0


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    configuration = tmp_path_factory.mktemp("haproxy") / "gateway.cfg"
    configuration.write_text(CONFIGURATION)
    with lab_with_gateway(f"haproxy -db -f {configuration}") as running:
        yield running


@pytest.fixture(scope="module")
def platform(lab: Lab) -> Iterator[Platform]:
    with lab.inside():
        platform = Platform(lab)
        application, _ = stack_file.select(
            stack_file.load(CHECKOUT / "functions/chain/stack.yaml", {}), f"^chain-[1-{CHAIN}]$"
        )
        platform.deploy(application, "foreign", Route.GATEWAY, "spread")
        platform.wait_ready()
    yield platform


def calls(lab: Lab, platform: Platform) -> dict[tuple[str, str], int]:
    counted: dict[tuple[str, str], int] = {}
    with lab.inside():
        rows = platform.counters()["calls"]
    for row in rows:
        key = (row["caller"], row["callee"])
        counted[key] = counted.get(key, 0) + row["packets"]
    return counted


def test_the_program_runs_as_the_gateway_and_the_provider_beside_it(lab: Lab, platform: Platform) -> None:
    components = lab.client.status()["components"]
    assert components["gateway"]["pid"] and components["provider"]["pid"]
    assert "haproxy" in lab.client.status()["gateway_command"][0]
    shown = command_line("status", "--name", lab.name)
    assert "gateway program: " in shown.stdout and "provider" in shown.stdout


def test_a_chain_runs_through_it_and_its_traffic_is_on_the_switches(lab: Lab, platform: Platform) -> None:
    gateway = addressing.vip(addressing.GATEWAY_ID)
    functions = [f"chain-{number}.foreign" for number in range(1, CHAIN + 1)]
    before = calls(lab, platform)

    def ask() -> list[str]:
        url = f"http://{gateway}:8080/function/chain-1.foreign"
        with requests.Session() as session:
            session.trust_env = False
            return [session.get(url, timeout=20).json()["functions"] for _ in range(REQUESTS)][-1]

    assert in_host(lab, "client", ask) == [f"chain-{number}" for number in range(1, CHAIN + 1)]
    wanted = {(caller, "gateway"): REQUESTS for caller in functions[:-1]}  # a connection for each call

    def has_grown(now: dict[tuple[str, str], int]) -> bool:
        return all(now.get(pair, 0) - before.get(pair, 0) == count for pair, count in wanted.items())

    now = last(lambda: calls(lab, platform), has_grown, SETTLE_S, pause_s=0.2)
    grown = {pair: count - before.get(pair, 0) for pair, count in now.items()}
    assert {pair: grown[pair] for pair in wanted} == wanted
    assert all(now[("gateway", function)] >= 1 for function in functions)
    assert grown[("client", "gateway")] == 1


def test_the_loopback_port_of_the_machine_leads_to_it(lab: Lab, platform: Platform) -> None:
    with requests.Session() as session:
        session.trust_env = False
        answer = session.get(f"{lab.gateway_url}/function/chain-1.foreign?length=1", timeout=20)
    assert answer.json()["functions"] == ["chain-1"]


def test_the_providers_statuses_and_its_basic_auth(lab: Lab, platform: Platform) -> None:
    def ask() -> tuple[list[int], list[str]]:
        provider = f"http://127.0.0.1:{addressing.PROVIDER_PROXY_PORT}"
        asked = [
            requests.get(f"{provider}/system/functions?namespace=foreign", timeout=5),
            requests.get(f"{provider}/system/functions?namespace=foreign", timeout=5, auth=lab.credentials),
            requests.get(f"{provider}/healthz", timeout=5),
            requests.get(f"{provider}/function/ghost.foreign", timeout=5),
            requests.get(f"{provider}/state", timeout=5),
        ]
        return [answer.status_code for answer in asked], sorted(one["name"] for one in asked[1].json())

    statuses, names = in_host(lab, "gateway", ask)
    assert statuses == [401, 200, 200, 503, 404]
    assert names == [f"chain-{number}" for number in range(1, CHAIN + 1)]


def test_a_program_that_is_not_there_is_one_sentence_and_nothing_is_left() -> None:
    name = f"absent-{os.getpid()}"
    done = command_line("up", "--name", name, "--port", "0", TESTBED_GATEWAY_CMD="/no/such/gateway --flag")
    assert done.returncode == 2
    assert done.stderr.strip() == (
        "testbed: TESTBED_GATEWAY_CMD names /no/such/gateway, which is not there; give a program's path"
    )
    assert not Path("/run/testbed", name).exists()

"""A trunk, a component, an instance fails, or more is asked than there is: what goes on, and what returns."""

from __future__ import annotations

import http.client
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families

from testbed.chaos.load import PROBE_PAUSE_S, Outcome, Requests
from testbed.model import addressing
from testbed.model.application import Application
from testbed.model.cluster import Phase, Route
from testbed.model.errors import PlatformError
from testbed.model.stack import stack_file
from testbed.network.lab import Lab
from testbed.platform.client.platform import Platform
from tests import waiting
from tests.lab.calls import of_apiserver, switches_agree
from tests.lab.conftest import CHECKOUT
from tests.lab.traffic import in_host

NAMESPACE = "outages"
EVENT_S = 30.0
OUT_OF_GROUP_S = 1.0
until = partial(waiting.until, within_s=EVENT_S, pause_s=0.02)
CRASHES = 3
"""The middle one of their times is judged: on a busy machine one may have had to wait for a processor."""
GATEWAY = f"http://{addressing.vip(addressing.GATEWAY_ID)}:{addressing.FUNCTION_PORT}"
KEPT = (
    "gateway_function_invocation",
    "gateway_function_invocation_started",
    "gateway_functions_seconds",
    "testbed_gateway_upstream_connections",
)
Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def application() -> Application:
    """A chain of two on two nodes that gives a call up after 2 s, and is too busy for more than two at once."""
    chain, _ = stack_file.select(stack_file.load(CHECKOUT / "functions/chain/stack.yaml", {}), "^chain-[12]$")
    more = {"CALL_TIMEOUT_S": "2", "max_inflight": "2"}
    return replace(chain, functions=tuple(replace(f, environment={**f.environment, **more}) for f in chain.functions))


@pytest.fixture(scope="module")
def platform(lab: Lab) -> Iterator[Platform]:
    with lab.inside():
        platform = Platform(lab)
        platform.deploy(application(), NAMESPACE, Route.DIRECT, "spread")
        yield platform
        platform.remove(NAMESPACE)


class DirectCalls:
    """Calls from chain-1's host straight to chain-2's vIP, each on a connection of its own, and what became of them."""

    def __init__(self, lab: Lab, platform: Platform) -> None:
        self.outcome = Outcome()
        state = platform.state()
        self._vip = state.functions[f"chain-2.{NAMESPACE}"].vip
        caller = next(i.id for i in state.instances.values() if i.function_name == f"chain-1.{NAMESPACE}")
        self._stop = threading.Event()
        self._thread = threading.Thread(target=in_host, args=(lab, caller, self._run))

    def __enter__(self) -> DirectCalls:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(PROBE_PAUSE_S):
            connection = http.client.HTTPConnection(self._vip, addressing.FUNCTION_PORT, timeout=10)
            try:
                connection.request("GET", "/", headers={"Connection": "close"})
                status = connection.getresponse().status
                reason = None if status == 200 else f"HTTP {status}"
            except (OSError, http.client.HTTPException) as error:
                reason = type(error).__name__
            finally:
                connection.close()
            if reason:
                self.outcome.failures[reason] += 1
            else:
                self.outcome.answered += 1

    def await_more(self, count: int) -> None:
        wanted = self.outcome.answered + count
        until(lambda: self.outcome.answered >= wanted, f"{count} more answers; {self.outcome.failures}")


def call(lab: Lab, query: str = "") -> requests.Response:
    """One call of the chain by way of the gateway."""
    return in_host(lab, "client", lambda: requests.get(f"{GATEWAY}/function/chain-1.{NAMESPACE}{query}", timeout=20))


def works(lab: Lab, query: str = "") -> bool:
    try:
        return call(lab, query).status_code == 200
    except requests.RequestException:
        return False


def settled(platform: Platform) -> bool:
    """Whether apiserver and controller answer, all is ready, and every switch holds what it should."""
    try:
        platform.wait_ready()
    except PlatformError:
        return False
    return switches_agree(platform)


def kill(lab: Lab, pid: int) -> None:
    subprocess.run(lab.command("root", ["kill", "-KILL", str(pid)]), check=True)


def pid_of(lab: Lab, component: str) -> int:
    return int(lab.client.status()["components"][component]["pid"] or 0)


def instance_processes(lab: Lab) -> dict[str, str]:
    """Instance -> the number of its process."""
    return {file.stem: file.read_text() for file in (lab.state_folder / "agents").glob(f"node*/*.{NAMESPACE}.*.pid")}


def replaced(lab: Lab, component: str, before: int) -> bool:
    return pid_of(lab, component) not in (0, before)


# A trunk


def test_calls_over_a_lost_trunk_fail_in_their_time_and_work_again(lab: Lab, platform: Platform) -> None:
    nodes = {i.function: i.node for i in platform.state().instances.values() if i.namespace == NAMESPACE}
    assert sorted(nodes.values()) == [2, 3]
    assert call(lab).status_code == 200
    lab.client.set_link(2, 3, loss_pct=100)
    try:
        failed = call(lab)
        assert failed.status_code == 502
        assert "timed out" in failed.text
        assert call(lab, "?length=1").status_code == 200  # it crosses another trunk
    finally:
        lab.client.set_link(2, 3, loss_pct=0)
    until(lambda: works(lab), "a call over the trunk")
    with DirectCalls(lab, platform) as calls:
        calls.await_more(20)
    assert not calls.outcome.failures


# Components


@pytest.mark.parametrize("component", ["gateway", "apiserver", "scaler", "agent2", "agent3"])
def test_direct_calls_go_on_without(lab: Lab, platform: Platform, component: str) -> None:
    """And what was deployed is what is deployed afterwards, under the same addresses, in the same processes."""
    before = platform.state()
    processes = instance_processes(lab)
    pid = pid_of(lab, component)
    with DirectCalls(lab, platform) as calls:
        calls.await_more(20)
        kill(lab, pid)
        until(lambda: replaced(lab, component, pid), f"a new {component}")
        calls.await_more(100)
    assert not calls.outcome.failures
    until(lambda: settled(platform), "all is ready again")
    after = platform.state()
    assert instance_processes(lab) == processes
    assert after.functions == before.functions
    assert after.deployments == before.deployments
    assert {i.id: i.eip for i in after.instances.values()} == {i.id: i.eip for i in before.instances.values()}
    until(lambda: works(lab), "a call by way of the gateway")


def kept_samples(platform: Platform) -> Samples:
    """The gateway's counters of functions; nothing while it is away."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(platform.gateway_metrics() or "")
        for sample in family.samples
        if family.name in KEPT
    }


@pytest.mark.parametrize("number", ["KILL", "TERM"])
def test_no_counter_of_the_gateway_goes_back(lab: Lab, platform: Platform, number: str) -> None:
    pid = pid_of(lab, "gateway")
    for _ in range(5):
        assert call(lab).status_code == 200
    before = kept_samples(platform)  # and at once, before what is kept every second can be
    subprocess.run(lab.command("root", ["kill", f"-{number}", str(pid)]), check=True)
    until(lambda: replaced(lab, "gateway", pid) and bool(kept_samples(platform)), "a new gateway's counters")
    after = kept_samples(platform)
    assert any(value >= 5 for (name, _), value in before.items() if name == "gateway_function_invocation_total")
    assert {key: (value, after.get(key)) for key, value in before.items() if after.get(key, -1) < value} == {}
    until(lambda: works(lab), "a call by way of the gateway")
    assert sum(kept_samples(platform).values()) > sum(before.values())


def counted_calls(platform: Platform) -> dict[tuple[str, str, int], int]:
    return {(row["caller"], row["callee"], row["node"]): row["packets"] for row in platform.counters()["calls"]}


def test_no_counter_of_a_switch_goes_back_when_the_controller_restarts(lab: Lab, platform: Platform) -> None:
    with DirectCalls(lab, platform) as calls:
        calls.await_more(20)
        before = counted_calls(platform)
        assert max(before.values()) >= 20
        pid = pid_of(lab, "controller")
        kill(lab, pid)
        until(lambda: replaced(lab, "controller", pid), "a new controller")
        until(lambda: settled(platform), "a controller that knows its switches")
        after = counted_calls(platform)
        calls.await_more(20)
    assert not calls.outcome.failures
    assert {key: (value, after.get(key)) for key, value in before.items() if after.get(key, -1) < value} == {}


def ofctl(lab: Lab, node: int, *arguments: str) -> None:
    """Change a switch behind the controller's back."""
    verb, *rest = arguments
    bridge = f"unix:{lab.state_folder}/ovs/s{node}/s{node}.mgmt"
    subprocess.run(["ovs-ofctl", "-O", "OpenFlow13", verb, bridge, *rest], check=True, capture_output=True)


def test_what_changed_while_the_controller_was_away_is_put_right(lab: Lab, platform: Platform) -> None:
    (caller,) = (i for i in platform.state().instances.values() if i.function_name == f"chain-1.{NAMESPACE}")
    lab.client.keep_away("controller", EVENT_S)
    try:
        ofctl(lab, caller.node, "add-flow", "table=6,priority=1000,tcp,actions=drop")
        assert call(lab).status_code == 502  # chain-1 is reached by the gateway, chain-2 by nobody
    finally:
        lab.client.restart("controller")
    until(lambda: settled(platform), "rows as the generator has them")
    assert call(lab).status_code == 200


def deployed_secrets(platform: Platform, namespace: str) -> tuple[list[dict[str, str]], dict[str, str]]:
    """The names of a namespace's secrets, and the digests of all namespaces' tokens."""
    names = of_apiserver(platform, f"/system/secrets?namespace={namespace}")
    return names.json(), of_apiserver(platform, "/tokens").json()


def test_secrets_outlive_the_apiserver(lab: Lab, platform: Platform) -> None:
    platform.provider.create_secret("gateway-token", NAMESPACE, b"open-sesame")
    try:
        before = deployed_secrets(platform, NAMESPACE)
        assert before[1][NAMESPACE] not in ("", "open-sesame")
        pid = pid_of(lab, "apiserver")
        kill(lab, pid)
        until(lambda: replaced(lab, "apiserver", pid) and settled(platform), "a new apiserver")
        assert deployed_secrets(platform, NAMESPACE) == before
    finally:
        platform.provider.remove_secret("gateway-token", NAMESPACE)
    until(lambda: works(lab), "a call that needs no token")


# An instance


def group_endpoints(platform: Platform, function: str) -> set[str]:
    """The eIPs that callers' switches hand the function's calls to."""
    rows = [row for row in platform.counters()["endpoints"] if row["instance"].startswith(f"{function}.")]
    return {row["instance"] for row in rows}


def crash(lab: Lab, platform: Platform, victim: str) -> float:
    """Kill the instance's process; the seconds until no group has it any more."""
    (pid_file,) = (lab.state_folder / "agents").glob(f"node*/{victim}.pid")
    began_s = time.monotonic()
    kill(lab, int(pid_file.read_text()))
    until(lambda: victim not in group_endpoints(platform, f"chain-2.{NAMESPACE}"), "out of its group")
    return time.monotonic() - began_s


def test_a_crashed_instance_leaves_its_group_at_once_and_returns(lab: Lab, platform: Platform) -> None:
    platform.scale("chain-2", NAMESPACE, 2)
    platform.wait_ready()
    instances = [i.id for i in platform.state().instances.values() if i.function_name == f"chain-2.{NAMESPACE}"]
    times_s = []
    for number in range(CRASHES):
        victim = instances[number % 2]
        times_s.append(crash(lab, platform, victim))
        with DirectCalls(lab, platform) as calls:  # the other one has them all
            calls.await_more(20)
        assert not calls.outcome.failures
        until(lambda victim=victim: platform.state().instances[victim].phase is Phase.READY, "it runs again")  # type: ignore[misc]
        platform.wait_ready()
        assert group_endpoints(platform, f"chain-2.{NAMESPACE}") == set(instances)
    assert sorted(times_s)[CRASHES // 2] < OUT_OF_GROUP_S
    platform.scale("chain-2", NAMESPACE, 1)
    platform.wait_ready()


# More than there is


def answers_by_code(platform: Platform) -> dict[str, float]:
    """The gateway's count of answers of chain-1 by status code."""
    return {
        dict(labels)["code"]: value
        for (name, labels), value in kept_samples(platform).items()
        if name == "gateway_function_invocation_total" and dict(labels)["function_name"] == f"chain-1.{NAMESPACE}"
    }


def test_load_above_capacity_is_refused_counted_and_leaves_the_control_plane_answering(
    lab: Lab, platform: Platform
) -> None:
    before = answers_by_code(platform)
    asked = 0
    with Requests(lab.client, f"chain-1.{NAMESPACE}", clients=24) as load:
        deadline = time.monotonic() + EVENT_S
        while (not load.outcome.failures or load.outcome.answered < 20 or asked < 20) and time.monotonic() < deadline:
            assert platform.state().functions
            assert platform.counters()["calls"]
            asked += 1
    assert asked >= 20
    assert load.outcome.answered >= 20
    refused = {reason.removeprefix("HTTP "): count for reason, count in load.outcome.failures.items()}
    assert refused.get("429", 0) > 0
    assert set(refused) <= {"429", "502"}  # 502: chain-1 was given a 429 by chain-2
    after = answers_by_code(platform)
    for code, count in {**refused, "200": load.outcome.answered}.items():
        assert after[code] - before.get(code, 0) == count, code
    until(lambda: works(lab), "a call when the load is gone")

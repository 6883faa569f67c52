"""A provider's own policies with real packets, and `trace` against what the packets do."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import pytest

from testbed import addressing, stack
from testbed.commands.trace_verb import ask_switch
from testbed.errors import PlatformError
from testbed.model import ClusterState, Route
from testbed.network.lab import Lab
from testbed.platform import tracing
from testbed.platform.client import Platform
from tests.lab.conftest import CHECKOUT, command_line
from tests.lab.traffic import in_host, matrix, reaches, send_frames, syn_frame

T = TypeVar("T")
TENANTS = {"rules-a": Route.DIRECT, "rules-b": Route.DIRECT}
CALLER, CALLEE, OTHER = "chain-2", "chain-3", "chain-1"
SETTLED_S = 10.0


@pytest.fixture(scope="module")
def platform(lab: Lab) -> Iterator[Platform]:
    with lab.inside():
        platform = Platform(lab)
        application, _ = stack.select(stack.load(CHECKOUT / "functions/chain/stack.yaml", {}), "^chain-[1-3]$")
        for tenant, route in TENANTS.items():
            platform.deploy(application, tenant, route, "spread")
        platform.wait_ready()
        yield platform
        for tenant in TENANTS:
            platform.remove(tenant)


@pytest.fixture(scope="module")
def state(platform: Platform) -> ClusterState:
    return platform.state()


@contextmanager
def policy(platform: Platform, **body: Any) -> Iterator[dict[str, Any]]:
    """A policy for as long as the block lasts."""
    added = platform.add_policy({"name": "tested", "namespace": "rules-a", **body})
    try:
        yield added
    finally:
        platform.remove_policy("tested")


def host(state: ClusterState, function: str, tenant: str = "rules-a") -> str:
    return next(one.id for one in state.instances.values() if one.function_name == f"{function}.{tenant}")


def vip(state: ClusterState, function: str, tenant: str = "rules-a") -> str:
    return state.functions[f"{function}.{tenant}"].vip


def eventually(condition: Callable[[], bool]) -> bool:
    """Whether it comes true; switches forget and count with a delay."""
    deadline = time.monotonic() + SETTLED_S
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


def settled(value: Callable[[], T], wanted: T) -> T:
    """The value, as soon as it is the wanted one, or as it is in the end."""
    found: list[T] = []
    eventually(lambda: found.append(value()) is None and found[-1] == wanted)
    return found[-1]


def everything(lab: Lab, state: ClusterState) -> dict[tuple[str, str], bool]:
    hosts = [one.id for one in state.instances.values()]
    return matrix(lab, hosts, [function.vip for function in state.functions.values()])


def test_an_allow_opens_exactly_one_pair(lab: Lab, platform: Platform, state: ClusterState) -> None:
    before = everything(lab, state)
    with policy(platform, kind="allow", **{"from": CALLEE, "to": OTHER}) as added:
        assert added["state"] == "in force on 1 call"
        opened = {**before, (host(state, CALLEE), vip(state, OTHER)): True}
        assert opened != before
        assert settled(lambda: everything(lab, state), opened) == opened
    assert settled(lambda: everything(lab, state), before) == before


def request(connection: socket.socket) -> bool:
    """Whether an established HTTP connection still answers."""
    try:
        connection.sendall(b"GET /_/health HTTP/1.1\r\nHost: f\r\n\r\n")
        return connection.recv(65536).startswith(b"HTTP/1.1 200")
    except OSError:
        return False


def test_a_deny_closes_its_edge_and_ends_what_is_established(lab: Lab, platform: Platform, state: ClusterState) -> None:
    caller, address = host(state, CALLER), vip(state, CALLEE)

    def connect() -> socket.socket:
        return socket.create_connection((address, addressing.FUNCTION_PORT), timeout=1)

    with in_host(lab, caller, connect) as connection:
        assert request(connection)
        before = everything(lab, state)
        with policy(platform, kind="deny", **{"from": CALLER, "to": CALLEE}):
            assert not request(connection)
            closed = {**before, (caller, address): False}
            assert closed != before
            assert settled(lambda: everything(lab, state), closed) == closed
            assert eventually(lambda: platform.policies()[0]["hits"] > 0)
    assert eventually(lambda: reaches(lab, caller, address))


def attempts(lab: Lab, name: str, address: str, count: int) -> int:
    """How many of so many connections, begun together, are answered before a SYN would be repeated."""

    def connect() -> int:
        opened = [socket.socket() for _ in range(count)]
        for one in opened:
            one.setblocking(False)
            one.connect_ex((address, addressing.FUNCTION_PORT))
        time.sleep(0.7)
        answered = sum(_is_connected(one) for one in opened)
        for one in opened:
            one.close()
        return answered

    return in_host(lab, name, connect)


def _is_connected(connection: socket.socket) -> bool:
    try:
        connection.getpeername()
    except OSError:
        return False
    return True


def test_a_rate_limit_lets_so_many_connections_begin(lab: Lab, platform: Platform, state: ClusterState) -> None:
    caller, address, other = host(state, CALLER), vip(state, CALLEE), host(state, OTHER)
    rate, count = 5, 60
    assert attempts(lab, caller, address, count) == count
    with policy(platform, kind="rate-limit", rate={"connections_per_s": rate}, **{"from": CALLER, "to": CALLEE}):
        limited = attempts(lab, caller, address, count)
        assert rate / 2 <= limited <= 3 * rate
        assert attempts(lab, other, address, count) == count  # another caller is not meant
        assert eventually(lambda: platform.policies()[0]["dropped"] >= count - 3 * rate)
    assert settled(lambda: attempts(lab, caller, address, count), count) == count


def test_a_limited_call_is_counted_once_a_connection_that_passed(
    lab: Lab, platform: Platform, state: ClusterState
) -> None:
    caller, address = host(state, CALLER), vip(state, CALLEE)

    def counted() -> int:
        pair = (f"{CALLER}.rules-a", f"{CALLEE}.rules-a")
        calls = platform.counters()["calls"]
        return sum(call["packets"] for call in calls if (call["caller"], call["callee"]) == pair)

    time.sleep(1.5)  # until the switches have reported what came before
    before = counted()
    with policy(platform, kind="rate-limit", rate={"connections_per_s": 5}, **{"from": CALLER, "to": CALLEE}):
        passed = attempts(lab, caller, address, 40)
        assert eventually(lambda: counted() >= before + passed)
        assert counted() == before + passed


def upload_s(address: str, size: int) -> float:
    """How long an upload to a function takes until it is answered, in s."""
    head = f"POST /?length=1 HTTP/1.1\r\nHost: f\r\nContent-Length: {size}\r\nConnection: close\r\n\r\n"
    started = time.monotonic()
    with socket.create_connection((address, addressing.FUNCTION_PORT), timeout=60) as connection:
        connection.sendall(head.encode() + bytes(size))
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
    assert answer.startswith(b"HTTP/1.1 200"), answer[:100]
    return time.monotonic() - started


def test_a_rate_limit_in_kbit_is_what_a_call_gets(lab: Lab, platform: Platform, state: ClusterState) -> None:
    caller, address, other = host(state, CALLER), vip(state, CALLEE), host(state, OTHER)
    size, rate = 1_500_000, 4_000
    with policy(platform, kind="rate-limit", rate={"kbit_per_s": rate}, **{"from": CALLER, "to": CALLEE}):
        limited_s = in_host(lab, caller, lambda: upload_s(address, size))
        # A second's worth passes at once; TCP, which takes losses for congestion, uses most of the rest.
        used = (size * 8 / 1000 - rate) / limited_s / rate
        print(f"\nof {rate} kbit/s a call used {used:.0%}")
        assert 0.3 <= used <= 1.1
        assert eventually(lambda: platform.policies()[0]["dropped"] > 0)
        assert in_host(lab, other, lambda: upload_s(address, size)) < limited_s / 2  # another caller is not meant
    assert in_host(lab, caller, lambda: upload_s(address, size)) < limited_s / 2


@contextmanager
def sniffed(lab: Lab, name: str, address: str) -> Iterator[list[tuple[str, str, int]]]:
    """(source, destination, TCP flags) of what comes to a host from or to an address that is not its own."""
    seen: list[tuple[str, str, int]] = []
    ended = threading.Event()

    def listener() -> socket.socket:
        raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0800))
        raw.bind(("eth0", 0))
        raw.settimeout(0.1)
        return raw

    def listen(raw: socket.socket) -> None:
        while not ended.is_set():
            try:
                frame = raw.recv(65536)
            except TimeoutError:
                continue
            source, target = socket.inet_ntoa(frame[26:30]), socket.inet_ntoa(frame[30:34])
            if address in (source, target):
                seen.append((source, target, frame[47]))

    with in_host(lab, name, listener) as raw:
        thread = threading.Thread(target=listen, args=(raw,))
        thread.start()
        try:
            yield seen
        finally:
            ended.set()
            thread.join()


def test_a_mirror_to_a_node_where_no_call_begins_says_so(platform: Platform, state: ClusterState) -> None:
    node = state.instances[host(state, CALLER)].node
    elsewhere = next(number for number in state.nodes if number != node)
    with policy(platform, kind="mirror", mirror_to=f"probe{elsewhere}", **{"from": CALLER, "to": CALLEE}) as added:
        assert added["state"].startswith(f"copies nothing: none of the calls begins on node{elsewhere}")


def test_a_mirror_shows_both_directions_of_a_call_and_does_not_disturb_it(
    lab: Lab, platform: Platform, state: ClusterState
) -> None:
    instance = state.instances[host(state, CALLER)]
    address, probe = vip(state, CALLEE), f"probe{instance.node}"
    with policy(platform, kind="mirror", mirror_to="probe", **{"from": CALLER, "to": CALLEE}):
        with sniffed(lab, probe, instance.eip) as seen:
            connection = in_host(
                lab, instance.id, lambda: socket.create_connection((address, addressing.FUNCTION_PORT), timeout=2)
            )
            with connection:
                assert request(connection)
            assert eventually(lambda: any(flags & 0x01 for _, _, flags in seen))
            assert reaches(lab, host(state, OTHER), address)  # not the mirrored call
        assert eventually(lambda: platform.policies()[0]["hits"] >= len(seen))
    syns = [(source, target) for source, target, flags in seen if flags & 0x12 == 0x02]
    answers = [(source, target) for source, target, flags in seen if flags & 0x12 == 0x12]
    callees = {one.eip for one in state.instances.values() if one.function_name == f"{CALLEE}.rules-a"}
    assert [source for source, _ in syns] == [instance.eip]
    assert {target for _, target in syns} <= callees
    assert answers == [(address, instance.eip)]
    with sniffed(lab, probe, instance.eip) as seen:
        assert reaches(lab, instance.id, address)
    assert seen == []


@pytest.mark.parametrize("target", [f"{CALLEE}.rules-b", "*.rules-b"])
def test_a_tenants_policy_does_not_reach_another_tenant(platform: Platform, target: str) -> None:
    with pytest.raises(PlatformError, match="outside namespace rules-a"):
        platform.add_policy({"name": "wide", "kind": "deny", "namespace": "rules-a", "to": target})
    assert platform.policies() == []


def test_an_operators_allow_joins_two_tenants(lab: Lab, platform: Platform, state: ClusterState) -> None:
    caller, address = host(state, CALLER), vip(state, CALLEE, "rules-b")
    assert not reaches(lab, caller, address)
    ends = {"from": CALLER, "to": f"{CALLEE}.rules-b"}
    with policy(platform, kind="allow", operator=True, **ends):
        assert reaches(lab, caller, address)


def test_a_name_is_taken_once_and_only_what_is_there_is_removed(platform: Platform) -> None:
    with policy(platform, kind="deny", **{"from": CALLEE}), pytest.raises(PlatformError, match="there is a policy"):
        platform.add_policy({"name": "tested", "kind": "deny", "namespace": "rules-a"})
    with pytest.raises(PlatformError, match="there is no policy tested; there are: none"):
        platform.remove_policy("tested")


def test_policies_outlive_the_controller(lab: Lab, platform: Platform, state: ClusterState) -> None:
    caller, address = host(state, CALLER), vip(state, CALLEE)
    with policy(platform, kind="deny", **{"from": CALLER, "to": CALLEE}):
        wanted = platform.policies()[0]["calls"]
        lab.client.restart("controller")

        def is_back() -> bool:
            try:
                switches = platform.switches().values()
                return all(s["connected"] and s["digest"] == s["desired_digest"] for s in switches)
            except PlatformError:
                return False

        assert not reaches(lab, caller, address)
        deadline = time.monotonic() + 60
        while not is_back():
            assert time.monotonic() < deadline, "the controller did not come back"
            time.sleep(0.2)
        assert platform.policies()[0]["calls"] == wanted
        assert not reaches(lab, caller, address)
    assert eventually(lambda: reaches(lab, caller, address))


# What trace says, packets do.


def traced(
    lab: Lab, platform: Platform, source: str, target: str, to_eip: bool = False, source_ip: str = ""
) -> tracing.Trace:
    state = platform.state()
    sender = tracing.speaker(state, source)
    packet = tracing.first_packet(sender, tracing.destination(state, target, to_eip), 8080, source_ip)
    return tracing.follow(sender, target, packet, lambda node, flow: ask_switch(lab, node, flow), platform.flows)


def test_trace_and_packets_agree(lab: Lab, platform: Platform, state: ClusterState) -> None:
    cases = [
        (CALLER, f"{CALLEE}.rules-a", vip(state, CALLEE), False, "allowed: call"),
        (CALLEE, f"{OTHER}.rules-a", vip(state, OTHER), False, "may not call this vIP"),
        (CALLER, f"{CALLEE}.rules-b", vip(state, CALLEE, "rules-b"), False, "may not call this vIP"),
        (CALLER, f"{CALLEE}.rules-a", state.instances[host(state, CALLEE)].eip, True, "past the vIP"),
        (CALLER, addressing.CONTROL_PLANE_IP, addressing.CONTROL_PLANE_IP, False, "what is no vIP"),
    ]
    for caller, target, address, to_eip, verdict in cases:
        trace = traced(lab, platform, f"{caller}.rules-a", target, to_eip)
        assert verdict in trace.verdict, (caller, target)
        assert trace.admitted == reaches(lab, host(state, caller), address), (caller, target)


def test_trace_follows_a_call_over_the_trunk_to_its_instance(lab: Lab, platform: Platform, state: ClusterState) -> None:
    result = command_line("trace", f"{CALLER}.rules-a", f"{CALLEE}.rules-a", "--json", "--name", lab.name)
    assert result.returncode == 0
    trace = json.loads(result.stdout)
    nodes = {state.instances[host(state, name)].node for name in (CALLER, CALLEE)}
    assert {step["node"] for step in trace["steps"]} == nodes
    assert trace["verdict"] == (
        f"allowed: call {CALLER}.rules-a → {CALLEE}.rules-a, sent to {host(state, CALLEE)} "
        f"on node{state.instances[host(state, CALLEE)].node}"
    )


def test_trace_and_packets_agree_on_a_lie(lab: Lab, platform: Platform, state: ClusterState) -> None:
    liar, victim = state.instances[host(state, CALLER, "rules-b")], state.instances[host(state, CALLER)]
    trace = traced(lab, platform, liar.id, f"{CALLEE}.rules-a", source_ip=victim.eip)
    assert not trace.admitted
    assert trace.verdict == f"denied on node{liar.node} in SpoofGuard: source IP or MAC is not the port's own"

    def spoofed() -> int:
        return sum(drop["packets"] for drop in platform.counters()["drops"] if drop["reason"] == "spoofed-source")

    before = spoofed()
    send_frames(lab, liar.id, [syn_frame(addressing.mac(liar.eip), victim.eip, vip(state, CALLEE), 20_000)])
    assert eventually(lambda: spoofed() > before)


def test_trace_names_the_policy_that_denies(lab: Lab, platform: Platform, state: ClusterState) -> None:
    with policy(platform, kind="deny", **{"from": CALLER, "to": CALLEE}):
        trace = traced(lab, platform, f"{CALLER}.rules-a", f"{CALLEE}.rules-a")
    assert not trace.admitted
    assert trace.verdict.endswith(f"{CALLER}.rules-a to {CALLEE}.rules-a: denied by policy tested")


def test_trace_of_a_name_that_nobody_has_says_so(lab: Lab, platform: Platform) -> None:
    result = command_line("trace", "chain-2", "chain-3.rules-a", "--name", lab.name)
    assert result.returncode == 2
    assert "no function, instance or host 'chain-2'; did you mean chain-2.rules-a or chain-2.rules-b?" in result.stderr

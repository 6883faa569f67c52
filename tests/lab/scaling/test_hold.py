"""Calls to functions at zero: held until there is an instance, released once, counted once; or refused, never hung."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from controllers.desired.calls import PUNTS_AT_ONCE, PUNTS_PER_S
from controllers.hold.machine import EXPIRY_S
from testbed.model import addressing
from testbed.model.cluster import Route
from testbed.model.stack import stack_file
from testbed.network.lab import Lab
from testbed.platform.client.platform import Platform
from tests.lab.calls import Books, request
from tests.lab.conftest import CHECKOUT
from tests.lab.traffic import in_host, send_frames, syn_frame
from tests.waiting import until

CONCURRENT, ONE_BY_ONE, FLOOD = 50, 5, 3000
START_S = 1.5
"""Longer than a caller's TCP waits before it sends its SYN again."""
CONNECTED_S = 6.0
"""OVS reports its connections every 5 s. Where an earlier test has restarted the controller since, a switch would
wait up to 8 s between its attempts to connect, and a call is held for 10."""
CHAIN, SLOW, REFUSED = "hold", "hold-slow", "hold-refused"


@pytest.fixture(scope="module")
def platform(lab: Lab) -> Iterator[Platform]:
    with lab.inside():
        platform = Platform(lab)
        application, _ = stack_file.select(
            stack_file.load(CHECKOUT / "functions/chain/stack.yaml", {}), "^chain-[1-3]$"
        )
        pairs, _ = stack_file.select(application, "^chain-[12]$")
        chain1, chain2 = pairs.functions
        late = replace(chain2, fprocess=f"sh -c 'sleep {START_S}; exec python index.py'")
        never = replace(chain2, annotations={**chain2.annotations, "autoscaling.keda.sh/maxReplicaCount": "0"})
        platform.deploy(application, CHAIN, Route.DIRECT, "spread")
        platform.deploy(replace(pairs, functions=(chain1, late)), SLOW, Route.DIRECT, "spread")
        platform.deploy(replace(pairs, functions=(chain1, never)), REFUSED, Route.DIRECT, "spread")
        platform.wait_ready()
        yield platform
        for namespace in (CHAIN, SLOW, REFUSED):
            platform.remove(namespace)


def to_zero(platform: Platform, namespace: str, *names: str) -> None:
    for name in names:
        platform.scale(name, namespace, 0)
    platform.wait_ready(namespace=namespace)


def caller(platform: Platform, namespace: str) -> str:
    """The host of chain-1's instance."""
    return next(i.id for i in platform.state().instances.values() if i.function_name == f"chain-1.{namespace}")


def vip(platform: Platform, name: str) -> str:
    return platform.state().functions[name].vip


def given(platform: Platform, function: str) -> int:
    """Connections that switches gave to the function's present instances."""
    return sum(
        int(row["connections"])
        for row in platform.counters()["endpoints"]
        if row["instance"].rpartition(".")[0] == function
    )


def invocations(lab: Lab, platform: Platform, function: str) -> int:
    """What the function's present instances say that they served."""
    logs = [
        lab.state_folder / "functions" / f"{i.id}.log"
        for i in platform.state().instances.values()
        if i.function_name == function
    ]
    return sum(log.read_text().count('"invocation"') for log in logs)


def test_fifty_first_calls_at_once_of_a_chain_that_is_all_at_zero(lab: Lab, platform: Platform) -> None:
    names = ("chain-1", "chain-2", "chain-3")
    to_zero(platform, CHAIN, *names)
    books, target = Books(platform), vip(platform, f"chain-1.{CHAIN}")

    def at_once() -> list[str]:
        with ThreadPoolExecutor(CONCURRENT) as pool:
            return list(pool.map(lambda _: request(target, "/?length=3"), range(CONCURRENT)))

    assert in_host(lab, "gateway", at_once) == ["200"] * CONCURRENT
    full = [f"{name}.{CHAIN}" for name in names]
    for pair in zip(["gateway", *full], full, strict=False):
        assert books.calls(*pair, CONCURRENT) == CONCURRENT, pair
    for function in full:
        assert given(platform, function) == CONCURRENT, function
        assert invocations(lab, platform, function) == CONCURRENT, function
        ended = books.of(function)
        assert (ended["now"], ended["reset"], ended["expired"]) == (0, 0, 0), function
        assert 0 < ended["held"] == ended["released"] <= CONCURRENT, function


def test_cold_calls_one_after_another_are_all_answered(lab: Lab, platform: Platform) -> None:
    platform.scale("chain-1", CHAIN, 1)
    platform.wait_ready(namespace=CHAIN)
    books, target = Books(platform), vip(platform, f"chain-2.{CHAIN}")
    for number in range(ONE_BY_ONE):
        to_zero(platform, CHAIN, "chain-2")
        assert in_host(lab, caller(platform, CHAIN), lambda: request(target)) == "200", number
    pair = (f"chain-1.{CHAIN}", f"chain-2.{CHAIN}")
    assert books.calls(*pair, ONE_BY_ONE) == ONE_BY_ONE
    assert books.of(pair[1])["released"] == ONE_BY_ONE


def test_a_syn_that_is_sent_again_during_a_long_start_is_one_call(lab: Lab, platform: Platform) -> None:
    to_zero(platform, SLOW, "chain-2")
    books, target = Books(platform), vip(platform, f"chain-2.{SLOW}")
    assert in_host(lab, caller(platform, SLOW), lambda: request(target)) == "200"
    assert books.calls(f"chain-1.{SLOW}", f"chain-2.{SLOW}", 1) == 1
    assert given(platform, f"chain-2.{SLOW}") == 1
    assert invocations(lab, platform, f"chain-2.{SLOW}") == 1
    ended = books.of(f"chain-2.{SLOW}")
    assert (ended["held"], ended["released"]) == (1, 1)
    assert ended["repeated"] >= 1


def test_a_controller_that_restarts_forgets_and_the_next_syn_reminds_it(lab: Lab, platform: Platform) -> None:
    to_zero(platform, SLOW, "chain-2")
    books, target = Books(platform), vip(platform, f"chain-2.{SLOW}")
    host = caller(platform, SLOW)
    time.sleep(CONNECTED_S)
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(lambda: in_host(lab, host, lambda: request(target)))
        await_held(platform, f"chain-2.{SLOW}")
        lab.client.restart("controller")
        assert answer.result() == "200"
    platform.wait_ready()
    assert books.calls(f"chain-1.{SLOW}", f"chain-2.{SLOW}", 1) == 1


def test_what_will_not_be_scaled_is_refused_and_nothing_hangs(lab: Lab, platform: Platform) -> None:
    to_zero(platform, REFUSED, "chain-2")
    books, target = Books(platform), vip(platform, f"chain-2.{REFUSED}")
    started = time.monotonic()
    assert in_host(lab, caller(platform, REFUSED), lambda: request(target)) == "ConnectionRefusedError"
    assert time.monotonic() - started < EXPIRY_S
    ended = books.of(f"chain-2.{REFUSED}")
    assert (ended["held"], ended["reset"], ended["expired"]) == (1, 1, 0)
    assert books.calls(f"chain-1.{REFUSED}", f"chain-2.{REFUSED}", 0) == 0


def test_a_flood_of_one_namespace_is_metered_and_harms_no_other(lab: Lab, platform: Platform) -> None:
    to_zero(platform, REFUSED, "chain-2")
    to_zero(platform, CHAIN, "chain-2")
    books = Books(platform)
    evil, good = caller(platform, REFUSED), caller(platform, CHAIN)
    eip = platform.state().instances[evil].eip
    flooded, wanted = vip(platform, f"chain-2.{REFUSED}"), vip(platform, f"chain-2.{CHAIN}")
    frames = [syn_frame(addressing.mac(eip), eip, flooded, 10_000 + n) for n in range(FLOOD)]
    started = time.monotonic()
    with ThreadPoolExecutor(1) as pool:
        flood = pool.submit(send_frames, lab, evil, frames)
        assert in_host(lab, good, lambda: request(wanted)) == "200"
        flood.result()
    elapsed_s = time.monotonic() - started
    assert books.calls(f"chain-1.{CHAIN}", f"chain-2.{CHAIN}", 1) == 1
    ended = books.of(f"chain-2.{REFUSED}")
    reached = ended["held"] + ended["overflowed"]
    assert 0 < reached <= PUNTS_AT_ONCE + PUNTS_PER_S * (elapsed_s + 1)
    assert reached < FLOOD


def test_a_function_that_is_removed_while_its_call_is_held_resets_it(lab: Lab, platform: Platform) -> None:
    to_zero(platform, SLOW, "chain-2")
    target, host = vip(platform, f"chain-2.{SLOW}"), caller(platform, SLOW)
    started = time.monotonic()
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(lambda: in_host(lab, host, lambda: request(target)))
        await_held(platform, f"chain-2.{SLOW}")
        platform.remove_function("chain-2", SLOW)
        assert answer.result() == "ConnectionRefusedError"
    assert time.monotonic() - started < EXPIRY_S


def await_held(platform: Platform, function: str) -> None:
    """Wait until a call of the function is held."""

    def held() -> bool:
        return any(row["now"] for row in platform.counters()["holds"] if row["function"] == function)

    until(held, f"a call of {function} is held", pause_s=0.02)

"""What the datapath itself must do: held calls given out, and policies that drop, meter and copy packets.

One small deployment, so that it can be run on every datapath there is; the lab kernel runs it on the kernel's.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest

from testbed.model import addressing
from testbed.model.cluster import Instance, Route
from testbed.model.stack import stack_file
from testbed.network.lab import Lab
from testbed.platform.client.platform import Platform
from tests.lab.calls import Books, attempts, request, sniffed, still_answers, upload_s
from tests.lab.conftest import CHECKOUT
from tests.lab.traffic import in_host, reaches
from tests.waiting import eventually

NAMESPACE = "slice"
CALLER, CALLEE = f"chain-1.{NAMESPACE}", f"chain-2.{NAMESPACE}"
AT_ONCE = 10


@pytest.fixture(scope="module")
def platform(lab: Lab) -> Iterator[Platform]:
    with lab.inside():
        platform = Platform(lab)
        application, _ = stack_file.select(stack_file.load(CHECKOUT / "functions/chain/stack.yaml", {}), "^chain-[12]$")
        platform.deploy(application, NAMESPACE, Route.DIRECT, "spread")
        platform.wait_ready(namespace=NAMESPACE)
        yield platform
        platform.remove(NAMESPACE)


@pytest.fixture(scope="module")
def caller(platform: Platform) -> Instance:
    return next(one for one in platform.state().instances.values() if one.function_name == CALLER)


@pytest.fixture(scope="module")
def vip(platform: Platform) -> str:
    return platform.state().functions[CALLEE].vip


@contextmanager
def policy(platform: Platform, kind: str, **more: Any) -> Iterator[None]:
    """A policy on the call, for as long as the block lasts."""
    ends = {"from": CALLER, "to": CALLEE}
    platform.add_policy({"name": "tried", "namespace": NAMESPACE, "kind": kind, **ends, **more})
    try:
        yield
    finally:
        platform.remove_policy("tried")


def counted(platform: Platform, what: str) -> int:
    """`hits` or `dropped` of the one policy."""
    return int(platform.policies()[0][what])


def test_first_calls_are_held_until_there_is_an_instance_and_counted_once(
    lab: Lab, platform: Platform, caller: Instance, vip: str
) -> None:
    platform.scale("chain-2", NAMESPACE, 0)
    platform.wait_ready(namespace=NAMESPACE)
    books = Books(platform)

    def at_once() -> list[str]:
        with ThreadPoolExecutor(AT_ONCE) as pool:
            return list(pool.map(lambda _: request(vip), range(AT_ONCE)))

    assert in_host(lab, caller.id, at_once) == ["200"] * AT_ONCE
    assert books.calls(CALLER, CALLEE, AT_ONCE) == AT_ONCE
    ended = books.of(CALLEE)
    assert (ended["now"], ended["reset"], ended["expired"]) == (0, 0, 0)
    assert 0 < ended["held"] == ended["released"] <= AT_ONCE


def test_a_deny_ends_what_is_established_and_lets_nothing_new_begin(
    lab: Lab, platform: Platform, caller: Instance, vip: str
) -> None:
    with in_host(
        lab, caller.id, lambda: socket.create_connection((vip, addressing.FUNCTION_PORT), timeout=2)
    ) as connection:
        assert still_answers(connection)
        with policy(platform, "deny"):
            assert eventually(lambda: not reaches(lab, caller.id, vip))
            assert not still_answers(connection)
            assert eventually(lambda: counted(platform, "hits") > 0)
    assert eventually(lambda: reaches(lab, caller.id, vip))


def test_a_limit_lets_so_many_connections_begin(lab: Lab, platform: Platform, caller: Instance, vip: str) -> None:
    rate, count = 5, 40
    assert eventually(lambda: attempts(lab, caller.id, vip, count) == count)
    with policy(platform, "rate-limit", rate={"connections_per_s": rate}):
        assert rate / 2 <= attempts(lab, caller.id, vip, count) <= 3 * rate
        assert eventually(lambda: counted(platform, "dropped") >= count - 3 * rate)


def test_a_limit_in_kbit_is_what_a_call_gets(lab: Lab, platform: Platform, caller: Instance, vip: str) -> None:
    size, rate = 1_000_000, 2_000
    with policy(platform, "rate-limit", rate={"kbit_per_s": rate}):
        limited_s = in_host(lab, caller.id, lambda: upload_s(vip, size))
        # A second's worth passes at once; TCP, which takes losses for congestion, uses most of the rest. Without the
        # limit it would be several times the rate.
        used = (size * 8 / 1000 - rate) / limited_s / rate
        print(f"\nof {rate} kbit/s a call used {used:.0%}")
        assert 0.25 <= used <= 1.1
        assert eventually(lambda: counted(platform, "dropped") > 0)


def test_a_mirror_copies_both_directions_once(lab: Lab, platform: Platform, caller: Instance, vip: str) -> None:
    with policy(platform, "mirror"), sniffed(lab, f"probe{caller.node}", caller.eip) as seen:
        assert in_host(lab, caller.id, lambda: request(vip)) == "200"
        assert eventually(lambda: any(flags & 0x01 for _, _, flags in seen))
    instances = platform.state().instances.values()
    callee = next(one.eip for one in instances if one.function_name == CALLEE)
    assert [ends[:2] for ends in seen if ends[2] & 0x12 == 0x02] == [(caller.eip, callee)]
    assert [ends[:2] for ends in seen if ends[2] & 0x12 == 0x12] == [(vip, caller.eip)]

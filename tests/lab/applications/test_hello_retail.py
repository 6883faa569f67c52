"""Hello, Retail! on both routes of one lab: the same answers, the bytes, connections and statements of the original."""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

from experiments.application_requests import Request, load
from experiments.chain_session import parse_gateway_connections, sum_calls
from testbed.commands.app_matrix import try_matrix
from testbed.model.cluster import Route
from testbed.model.stack import stack_file
from testbed.network.lab import Lab
from testbed.platform.client import seeding
from testbed.platform.client.platform import Platform
from testbed.platform.datastores import access
from tests import waiting
from tests.lab.applications.hello_retail_lab import ask, exchanges, records, statements_of, wire_of
from tests.lab.conftest import CHECKOUT, command_line
from tests.lab.traffic import in_host

REQUESTS = load("hello_retail")
until = partial(waiting.until, within_s=10)
SHOPS = {"shop-gateway": Route.GATEWAY, "shop-direct": Route.DIRECT}
PAIRS = 8
"""How often chains 1 and 2 are asked for on each route."""

ORCHESTRATORS = {
    "photo-request": ("photo-assign", "photo-message", "photo-record"),
    "photo-acquire": ("photo-receive", "photo-success", "photo-report"),
    "product-purchase": ("product-purchase-get-price", "product-purchase-authorize-cc", "product-purchase-publish"),
}
WIRE = {
    "photo-request": [(358, 600), (644, None), (677, 677)],
    "photo-acquire": [(84, 263), (263, 290), (290, 314)],
    "product-purchase": [(62, 92), (92, 141), (141, 98)],
}
"""Bodies of the three calls of each chain, in bytes; None: as long as the headers that it echoes. An authorisation is
taken for one of 16 digits, elapsed milliseconds for one digit."""

STORE_USE = {"photo-request": (3, 12), "photo-acquire": (4, 15), "product-purchase": (2, 5)}
"""Connections to the database and statements, with those that are not waited for."""

REPORTED_S = 1.2
"""Within this time a switch has counted what has passed it."""

VARIABLE = [(rb'"authorization":\d+', b'"authorization":0'), (rb'Elapse":\d+', b'Elapse":0')]


@pytest.fixture(scope="module")
def platform(lab: Lab) -> Iterator[Platform]:
    with lab.inside():
        platform = Platform(lab)
        deploy(platform)
        yield platform
        for shop in SHOPS:
            platform.remove(shop)


def deploy(platform: Platform, **variables: str) -> None:
    """Hello, Retail! in both shops, with these settings."""
    application = stack_file.load(CHECKOUT / "functions/hello_retail/stack.yaml", variables)
    for shop, route in SHOPS.items():
        platform.deploy(application, shop, route, "spread")


@pytest.fixture
def seeded(lab: Lab, platform: Platform) -> Platform:
    """Both shops with nine free photographers."""
    seed(lab, 9)
    return platform


def seed(lab: Lab, photographers: int) -> None:
    script = seeding.seed_script("hello_retail", {"photographers": photographers})
    for shop in SHOPS:
        seeding.seed(lab.state_folder, shop, script)


def by_client(lab: Lab, action: Callable[[], Any]) -> Any:
    return in_host(lab, "client", action)


def previous(lab: Lab, name: str, shop: str) -> Any:
    """The answer that a chain follows; None where it follows none."""
    if not REQUESTS[name].after:
        return None
    reply = by_client(lab, lambda: ask(REQUESTS[REQUESTS[name].after], shop))
    assert reply.status == 200, reply
    return reply.value


def constant(body: bytes) -> bytes:
    """An answer without its random number and its elapsed times."""
    for pattern, replacement in VARIABLE:
        body = re.sub(pattern, replacement, body)
    return body


def test_all_three_chains_answer_the_same_on_both_routes_as_often_as_asked(lab: Lab, platform: Platform) -> None:
    arguments = ("seed", "hello_retail", "--photographers", str(PAIRS), "--name", lab.name)
    result = command_line("app", *arguments)
    assert result.returncode == 0, result.stderr
    assert result.stdout == "hello_retail is seeded in shop-direct, shop-gateway\n"

    def rounds(shop: str) -> list[tuple[bytes, ...]]:
        found = []
        for _ in range(PAIRS):
            first = ask(REQUESTS["photo-request"], shop)
            second = ask(REQUESTS["photo-acquire"], shop, first.value)
            third = ask(REQUESTS["product-purchase"], shop)
            assert [one.status for one in (first, second, third)] == [200] * 3, (first, second, third)
            found.append(tuple(constant(one.body) for one in (first, second, third)))
        return found

    by_gateway, directly = (by_client(lab, lambda shop=shop: rounds(shop)) for shop in SHOPS)
    assert by_gateway == directly
    photographers = [json.loads(first)["data"]["photographer"]["id"] for first, _, _ in directly]
    assert photographers == [f"{number}" for number in range(1, PAIRS + 1)]


@pytest.mark.parametrize("shop", SHOPS)
def test_errors_are_those_of_the_original(lab: Lab, platform: Platform, shop: str) -> None:
    seed(lab, 1)

    def errors() -> list[tuple[int, str]]:
        purchase, request, acquire = (REQUESTS[name] for name in ("product-purchase", "photo-request", "photo-acquire"))
        replies = [ask(purchase, shop, creditCard="0"), ask(purchase, shop, user="nobody"), ask(purchase, shop, id="0")]
        assigned = ask(request, shop).value
        replies.append(ask(request, shop))
        assert ask(acquire, shop, assigned).status == 200
        replies.append(ask(acquire, shop, assigned))
        return [(reply.status, reply.value["error"]) for reply in replies]

    assert by_client(lab, errors) == [
        (500, "failed to publish"),
        (500, "failed to authorize credit card"),
        (500, "failed to publish"),
        (500, "Failed in photo-assign"),
        (500, "failed to receive photo"),
    ]


@pytest.mark.parametrize("shop", SHOPS)
def test_every_described_request_has_its_status_and_sizes(lab: Lab, seeded: Platform, shop: str) -> None:
    for name, request in REQUESTS.items():
        before = previous(lab, name, shop)
        reply = by_client(lab, lambda request=request, before=before: ask(request, shop, before))
        assert reply.status == request.status, name
        assert request.answer_bytes[0] <= len(reply.body) <= request.answer_bytes[1], name


@pytest.mark.parametrize("name", ORCHESTRATORS)
def test_bodies_on_the_wire_have_the_sizes_of_the_original(lab: Lab, seeded: Platform, name: str) -> None:
    """Up to the digits of random numbers and of elapsed milliseconds."""
    for shop in SHOPS:
        host = next(one for one in seeded.state().instances.values() if one.function_name == f"{name}.{shop}")
        before = previous(lab, name, shop)
        with wire_of(lab, host.id) as kept:
            reply = by_client(lab, lambda shop=shop, before=before: ask(REQUESTS[name], shop, before))
            assert reply.status == 200
            until(lambda kept=kept, host=host: len(exchanges(kept, host.eip)) == 3, "every call is recorded")
        for seen, (request, answer) in zip(exchanges(kept, host.eip), WIRE[name], strict=True):
            assert (seen.request, seen.answer if answer else None) == (request, answer), (shop, seen)


@pytest.fixture
def per_call(lab: Lab, seeded: Platform) -> Iterator[Platform]:
    """The gateway opens a connection to a function for each request."""
    restart_gateway(lab, "per-call")
    yield seeded
    restart_gateway(lab, "pooled")


def restart_gateway(lab: Lab, upstream: str) -> None:
    lab.client.restart("gateway", {"gateway_upstream": upstream})
    for shop in SHOPS:
        until(lambda shop=shop: by_client(lab, lambda: answers(shop)), "the gateway is back")


def answers(shop: str) -> bool:
    try:
        return ask(REQUESTS["list-categories"], shop).status == 200
    except OSError:
        return False


def counted(platform: Platform) -> Counter[tuple[str, str]]:
    """Connections so far, as the switches have counted them."""
    return Counter(sum_calls(platform.counters()["calls"]))


def settled(platform: Platform) -> Counter[tuple[str, str]]:
    """The counters, once they stand still: switches report with a delay."""
    last = counted(platform)
    for _ in range(20):
        time.sleep(REPORTED_S)
        earlier, last = last, counted(platform)
        if earlier == last:
            return last
    raise AssertionError("the counters do not stand still")


def each_chain(lab: Lab, shop: str) -> Iterator[str]:
    """Ask for each chain once, the second one for the photo of the first; its name, once it has answered."""
    answered: dict[str, Any] = {}
    for name in ORCHESTRATORS:
        before = answered.get(REQUESTS[name].after or "")
        reply = by_client(lab, lambda name=name, before=before: ask(REQUESTS[name], shop, before))
        assert reply.status == 200, reply
        answered[name] = reply.value
        yield name


def connections_of_each_chain(lab: Lab, platform: Platform) -> Counter[tuple[str, str]]:
    """The connections of each chain once, in both shops, without those to stores."""
    earlier = settled(platform)
    for shop in SHOPS:
        assert list(each_chain(lab, shop)) == list(ORCHESTRATORS)
    found = settled(platform) - earlier
    return Counter({pair: n for pair, n in found.items() if not pair[1].startswith(("mariadb.", "mail."))})


def test_a_chain_takes_eight_connections_by_gateway_and_five_directly(lab: Lab, per_call: Platform) -> None:
    wanted: Counter[tuple[str, str]] = Counter()
    for shop, route in SHOPS.items():
        in_shop: Counter[tuple[str, str]] = Counter()
        for name, names in ORCHESTRATORS.items():
            orchestrator, callees = f"{name}.{shop}", [f"{callee}.{shop}" for callee in names]
            in_shop += Counter([("client", "gateway"), ("gateway", orchestrator)])
            if route is Route.GATEWAY:
                in_shop += Counter([(orchestrator, "gateway")] * 3 + [("gateway", callee) for callee in callees])
            else:
                in_shop += Counter([(orchestrator, callee) for callee in callees])
        assert in_shop.total() == (8 if route is Route.GATEWAY else 5) * len(ORCHESTRATORS)
        wanted += in_shop
    assert connections_of_each_chain(lab, per_call) == wanted


def test_with_a_pooled_upstream_callers_still_open_four_and_the_gateway_what_it_says(
    lab: Lab, seeded: Platform
) -> None:
    opened = gateway_opened(seeded)
    found = connections_of_each_chain(lab, seeded)
    chains = len(SHOPS) * len(ORCHESTRATORS)
    assert sum(number for (caller, _), number in found.items() if caller != "gateway") == 4 * chains
    assert {pair: number for pair, number in found.items() if pair[0] == "gateway"} == gateway_opened(seeded) - opened


def gateway_opened(platform: Platform) -> Counter[tuple[str, str]]:
    """Connections that the gateway says it has opened."""
    return Counter(parse_gateway_connections(platform.gateway_metrics() or ""))


def test_connections_to_the_database_and_statements_are_those_of_the_original(lab: Lab, seeded: Platform) -> None:
    earlier = settled(seeded)
    for shop in SHOPS:
        with statements_of(lab, shop) as said:
            seen = said()
            for name in each_chain(lab, shop):
                opened, statements = STORE_USE[name]
                wanted = seen + Counter(Connect=opened, Query=statements, Quit=opened)
                until(lambda wanted=wanted: said()["Quit"] == wanted["Quit"], f"{name}'s statements; {said()}")
                assert said() == wanted, name
                seen = wanted
    found = settled(seeded) - earlier
    for shop in SHOPS:
        on_switches = sum(number for (_, callee), number in found.items() if callee == f"mariadb.{shop}")
        assert on_switches == sum(opened for opened, _ in STORE_USE.values()), shop


@pytest.mark.parametrize("shop", SHOPS)
def test_message_and_record_overlap_and_the_mail_arrives(lab: Lab, seeded: Platform, shop: str) -> None:
    mails = len(list(access.messages(lab.state_folder, shop)))
    invocations = len(records(lab, shop)["photo-message"])
    for _ in range(9):
        assert by_client(lab, lambda: ask(REQUESTS["photo-request"], shop)).status == 200
    until(lambda: len(list(access.messages(lab.state_folder, shop))) == mails + 9, "all mails are there")
    mail = list(access.messages(lab.state_folder, shop))[-1]
    assert mail["subject"] == "Hello Retail: please photograph Striped Wool Socks, Three Pair"
    assert len(records(lab, shop)["photo-message"]) == invocations + 9
    assign, message, record = (records(lab, shop)[name][-9:] for name in ORCHESTRATORS["photo-request"])
    for one, two, three in zip(assign, message, record, strict=True):
        assert one["ended_ns"] <= min(two["started_ns"], three["started_ns"])
    assert overlaps(message, record) > 0, "message and record never ran at the same time"


def overlaps(some: list[dict[str, Any]], others: list[dict[str, Any]]) -> int:
    """How many of the invocations ran at the same time as their counterpart."""
    return sum(
        max(one["started_ns"], other["started_ns"]) < min(one["ended_ns"], other["ended_ns"])
        for one, other in zip(some, others, strict=True)
    )


def test_a_parallel_purchase_answers_the_same_and_its_calls_overlap(lab: Lab, seeded: Platform) -> None:
    def purchases(shop: str) -> tuple[set[bytes], int]:
        """The answers to nine, and how often price and authorisation were asked for at the same time."""
        replies = [by_client(lab, lambda: ask(REQUESTS["product-purchase"], shop)) for _ in range(9)]
        assert {reply.status for reply in replies} == {200}
        price, card, _ = (records(lab, shop)[name][-9:] for name in ORCHESTRATORS["product-purchase"])
        return {constant(reply.body) for reply in replies}, overlaps(price, card)

    one_after_the_other = {shop: purchases(shop) for shop in SHOPS}
    assert [number for _, number in one_after_the_other.values()] == [0, 0]
    deploy(seeded, PURCHASE_PARALLEL="true")
    try:
        at_the_same_time = {shop: purchases(shop) for shop in SHOPS}
    finally:
        deploy(seeded)
    for shop, (answers, number) in at_the_same_time.items():
        assert answers == one_after_the_other[shop][0]
        assert number > 0, f"price and authorisation were never asked for at the same time in {shop}"


def test_the_operators_function_is_closed_to_the_outside_on_the_direct_route(lab: Lab, seeded: Platform) -> None:
    card = Request("add-card", "product-purchase-add-cc", body={"user": "mallory", "creditCard": "1"})
    assert by_client(lab, lambda: ask(card, "shop-direct")).status >= 400
    rows = access.execute(lab.state_folder, "shop-direct", "SELECT rowkey FROM creditCardAuthority")
    assert [key for (key,) in rows] == ["prabkumar"]


OWNERS = {
    "mail": {"photo-message"},
    "mariadb": {
        "product-catalog-api", "product-catalog-builder", "photo-record", "photo-assign", "photo-register",
        "photo-receive", "photo-report", "product-purchase-get-price", "product-purchase-authorize-cc",
    },
}  # fmt: skip
OPERATORS = {"product-purchase-add-cc"}
"""Not one of the paper's 15 functions."""


@pytest.mark.parametrize("shop", SHOPS)
def test_of_all_pairs_of_the_15_functions_exactly_the_nine_edges_pass(lab: Lab, platform: Platform, shop: str) -> None:
    """The paper's Table 1 for this application; by gateway all pairs pass, which is the paper's problem P3."""
    application = stack_file.load(CHECKOUT / "functions/hello_retail/stack.yaml", {})
    found = try_matrix(lab, application, platform.state(), shop)
    functions = set(found.callers) - found.stores - OPERATORS
    pairs = {pair for pair in found.cells if functions.issuperset(pair)}
    edges = {(caller, callee) for caller, callees in ORCHESTRATORS.items() for callee in callees}
    assert (len(functions), len(pairs), len(edges)) == (15, 210, 9)
    passed = {pair for pair, cell in found.cells.items() if cell.passes}
    assert passed & pairs == (edges if SHOPS[shop] is Route.DIRECT else pairs)
    for store, owners in OWNERS.items():
        assert {caller for caller, callee in passed if callee == store} - OPERATORS == owners
        assert not [callee for caller, callee in passed if caller == store]
    assert len(found.differences()) == (0 if SHOPS[shop] is Route.DIRECT else 1)


def test_reset_empties_the_database_of_the_named_namespace(lab: Lab, seeded: Platform) -> None:
    result = command_line("app", "reset", "hello_retail", "-n", "shop-direct", "--name", lab.name)
    assert result.returncode == 0, result.stderr
    tables = {shop: len(access.execute(lab.state_folder, shop, "SHOW TABLES")) for shop in SHOPS}
    assert tables == {"shop-direct": 0, "shop-gateway": 7}
    reply = by_client(lab, lambda: ask(REQUESTS["photo-request"], "shop-direct"))
    assert (reply.status, reply.value["error"]) == (500, "Failed in photo-assign")

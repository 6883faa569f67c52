"""The matrix says what passed, and calls everything a difference that the call graph does not say."""

from __future__ import annotations

from dataclasses import replace

import pytest

from testbed.model import addressing
from testbed.model.application import Application, FunctionSpec
from testbed.model.cluster import ClusterState, Deployment, Function, Instance, Phase, Route
from testbed.model.errors import UsageError
from testbed.network.hosts.attempts import Attempt, Outcome, Result
from testbed.observe import matrix
from testbed.observe.matrix import Matrix, Plan

SHOP = Application(
    "shop",
    (
        FunctionSpec("front", "python3-http", "front", "shop/front", ingress=True, calls=("price",)),
        FunctionSpec("price", "python3-http", "price", "shop/price", calls=("stock",)),
        FunctionSpec("stock", "python3-http", "stock", "shop/stock"),
    ),
)
NAMES = ("front", "price", "stock")
VIPS = {name: f"10.96.1.{number}" for number, name in enumerate(NAMES)}
EIPS = {name: f"10.202.0.{number}" for number, name in enumerate(NAMES)}
GATEWAY_VIP = addressing.vip(addressing.GATEWAY_ID)
STORE_VIP, STORE_EIP = "10.96.1.9", "10.202.0.99"
PAIRS = [(a, b) for a in NAMES for b in NAMES if a != b]
ANSWERED, SILENT = Outcome(Result.ANSWERED), Outcome(Result.SILENT)


def state(route: Route, phases: dict[str, Phase] | None = None, twice: str = "") -> ClusterState:
    functions = {f"{name}.t": Function("t", name, 256 + number, VIPS[name], f"shop/{name}", 1)
                 for number, name in enumerate(NAMES)}  # fmt: skip
    instances = [
        Instance(f"{name}.t.1", "t", name, 2, EIPS[name], (phases or {}).get(name, Phase.READY)) for name in NAMES
    ]
    if twice:
        instances.append(Instance(f"{twice}.t.2", "t", twice, 3, "10.203.0.9", Phase.READY))
    return ClusterState(
        deployments={"t": Deployment("t", route)}, functions=functions, instances={one.id: one for one in instances}
    )


def with_store(route: Route, phase: Phase = Phase.READY) -> tuple[Application, ClusterState]:
    """The shop with a data store that `stock` owns."""
    functions = tuple(replace(one, stores=("mariadb",)) if one.name == "stock" else one for one in SHOP.functions)
    before = state(route)
    store = Function("t", "mariadb", 300, STORE_VIP, "", 1, port=3306, store=True)
    instance = Instance("mariadb.t.1", "t", "mariadb", 2, STORE_EIP, phase)
    return replace(SHOP, functions=functions), replace(
        before,
        functions={**before.functions, store.full_name: store},
        instances={**before.instances, instance.id: instance},
    )


def kind(attempt: Attempt) -> tuple[str, str, str]:
    """(caller's instance, what is tried, callee)."""
    caller = attempt.host.removesuffix(".1").removesuffix(".t")
    ways = (("vip", {**VIPS, "mariadb": STORE_VIP}), ("eip", {**EIPS, "mariadb": STORE_EIP}))
    for way, addresses in ways:
        for name, address in addresses.items():
            if attempt.address == address:
                return caller, way, name
    assert attempt.address == GATEWAY_VIP
    asked = attempt.request.decode().partition("/function/")[2].partition(".t/")[0]
    return caller, "by gateway" if asked else "gateway", asked


def judged(plan: Plan, passing: set[tuple[str, str, str]], status: bytes = b"200 OK") -> Matrix:
    """The matrix when exactly these attempts are answered."""
    outcomes: dict[Attempt, Outcome] = {}
    for attempt in (*plan.attempts(), *plan.by_gateway()):
        answered = Outcome(Result.ANSWERED, b"HTTP/1.1 " + status if attempt.request else b"")
        outcomes[attempt] = answered if kind(attempt) in passing else SILENT
    return plan.judge(outcomes)


DIRECT = {("front", "vip", "price"), ("price", "vip", "stock")}
BY_GATEWAY = {(name, "gateway", "") for name in NAMES} | {(a, "by gateway", b) for a, b in PAIRS}


def test_every_pair_is_tried_by_vip_and_past_it_and_the_gateway_by_everybody() -> None:
    tried = sorted(map(kind, Plan(SHOP, state(Route.DIRECT), "t").attempts()))
    expected = [(a, way, b) for a, b in PAIRS for way in ("vip", "eip")] + [(name, "gateway", "") for name in NAMES]
    assert tried == sorted(expected)


def test_exactly_the_call_graph_is_no_difference() -> None:
    found = judged(Plan(SHOP, state(Route.DIRECT), "t"), DIRECT)
    assert found.differences() == []
    assert {pair for pair, cell in found.cells.items() if cell.passes} == {("front", "price"), ("price", "stock")}
    assert found.verdict() == (
        "t (direct route): exactly the 2 calls of the call graph pass; the other 4 pairs, every instance past its vIP "
        "and the gateway are out of reach"
    )


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({("stock", "vip", "front")}, "stock → front passes and is not in the call graph"),
        ({("front", "vip", "price")}, "front → price is in the call graph and 1 of 1 instances fail"),
        ({("price", "eip", "front")}, "price → front reaches an instance past its vIP"),
        ({("front", "eip", "price")}, "front → price reaches an instance past its vIP"),
        ({("stock", "gateway", "")}, "stock reaches the gateway, and with it every function"),
    ],
)
def test_each_difference_on_the_direct_route_is_named(change: set[tuple[str, str, str]], sentence: str) -> None:
    assert judged(Plan(SHOP, state(Route.DIRECT), "t"), DIRECT ^ change).differences() == [sentence]


def test_on_the_gateway_route_every_pair_passes_and_that_is_a_difference() -> None:
    found = judged(Plan(SHOP, state(Route.GATEWAY), "t"), BY_GATEWAY)
    assert all(cell.passes for cell in found.cells.values())
    assert found.differences() == [
        "4 pairs that the call graph does not name pass by the gateway, which forwards to any function"
    ]


def test_a_gateway_that_asks_for_the_namespaces_token_lets_its_functions_pass() -> None:
    found = judged(Plan(SHOP, state(Route.GATEWAY), "t"), BY_GATEWAY, b"401 Unauthorized")
    assert all(cell.by_gateway for cell in found.cells.values())


def test_a_gateway_that_answers_itself_reaches_nobody() -> None:
    found = judged(Plan(SHOP, state(Route.GATEWAY), "t"), BY_GATEWAY, b"502 Bad Gateway")
    assert not any(cell.by_gateway for cell in found.cells.values())
    assert "front → price is in the call graph and does not pass by the gateway" in found.differences()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({("front", "vip", "price")}, "front → price passes without the gateway"),
        ({("front", "eip", "stock")}, "front → stock reaches an instance past its vIP"),
        ({("front", "gateway", "")}, "front does not reach the gateway"),
    ],
)
def test_each_difference_on_the_gateway_route_is_named(change: set[tuple[str, str, str]], sentence: str) -> None:
    assert sentence in judged(Plan(SHOP, state(Route.GATEWAY), "t"), BY_GATEWAY ^ change).differences()


def test_one_instance_of_several_that_fails_is_a_difference() -> None:
    plan = Plan(SHOP, state(Route.DIRECT, twice="front"), "t")
    outcomes = {attempt: ANSWERED if kind(attempt) in DIRECT else SILENT for attempt in plan.attempts()}
    found = plan.judge(outcomes)  # front.t.1 gets through, front.t.2 does not
    assert found.cells["front", "price"].through == 1
    assert found.differences() == ["front → price is in the call graph and 1 of 2 instances fail"]


def test_what_must_be_answered_and_was_not_is_tried_again() -> None:
    plan = Plan(SHOP, state(Route.DIRECT), "t")
    assert {kind(one) for one in plan.expected()} == DIRECT
    outcomes = dict.fromkeys(plan.attempts(), SILENT)
    outcomes[next(one for one in plan.attempts() if kind(one) == ("front", "vip", "price"))] = ANSWERED
    assert [kind(one) for one in matrix.second_tries(plan.expected(), outcomes)] == [("price", "vip", "stock")]


def test_a_function_without_a_ready_instance_is_named() -> None:
    with pytest.raises(UsageError) as refused:
        Plan(SHOP, state(Route.DIRECT, {"stock": Phase.PENDING}), "t")
    assert str(refused.value) == (
        "stock.t has no ready instance, which the matrix needs of everybody; first `testbed scale stock.t 1`"
    )


@pytest.mark.parametrize("route", list(Route))
def test_a_store_is_reached_by_its_owners_only_at_its_own_port(route: Route) -> None:
    plan = Plan(*with_store(route), "t")
    expected = (DIRECT if route is Route.DIRECT else BY_GATEWAY) | {("stock", "vip", "mariadb")}
    assert {one.port for one in plan.attempts() if kind(one)[2] == "mariadb"} == {3306}
    assert {kind(one) for one in plan.by_gateway()} == (BY_GATEWAY - {(name, "gateway", "") for name in NAMES}
                                                        if route is Route.GATEWAY else set())  # fmt: skip
    assert [one for one in judged(plan, expected).differences() if "mariadb" in one] == []
    for wrong, sentence in {
        ("front", "vip", "mariadb"): "front → mariadb passes and is not in the call graph",
        ("stock", "vip", "mariadb"): "stock → mariadb is in the call graph and 1 of 1 instances fail",
        ("stock", "eip", "mariadb"): "stock → mariadb reaches an instance past its vIP",
        ("mariadb", "gateway", ""): "mariadb reaches the gateway, and with it every function",
    }.items():
        assert sentence in judged(plan, expected ^ {wrong}).differences()


def test_a_store_that_is_not_ready_is_named() -> None:
    with pytest.raises(UsageError, match=r"^mariadb\.t has no ready instance, .*; see `testbed status`$"):
        Plan(*with_store(Route.DIRECT, Phase.PENDING), "t")


def test_the_table_marks_what_should_not_be() -> None:
    found = judged(Plan(SHOP, state(Route.DIRECT), "t"), {("front", "vip", "stock"), ("front", "vip", "price")})
    assert matrix.lines(found) == [
        "          1  2  3  gateway",
        " 1 front     ●  +  ·",
        " 2 price  ·     -  ·",
        " 3 stock  ·  ·     ·",
    ]


def test_a_row_a_pair_for_other_programs() -> None:
    rows = judged(Plan(SHOP, state(Route.DIRECT), "t"), DIRECT).rows()
    assert len(rows) == len(PAIRS)
    assert rows[0] == {
        "namespace": "t", "route": "direct", "caller": "front", "callee": "price", "declared": True, "passes": True,
        "instances_tried": 1, "instances_through": 1, "past_vip": False, "by_gateway": False,
    }  # fmt: skip


def test_the_call_graph_of_the_stack_file_counts_not_the_deployed_one() -> None:
    """What the controller was told is what is on trial."""
    deployed = state(Route.DIRECT)
    told = replace(deployed.functions["stock.t"], calls=("front",))
    plan = Plan(SHOP, replace(deployed, functions={**deployed.functions, "stock.t": told}), "t")
    assert judged(plan, DIRECT | {("stock", "vip", "front")}).differences()

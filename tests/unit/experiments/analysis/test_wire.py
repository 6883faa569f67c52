"""The wire model agrees with DESIGN's formula, and the oracle names every connection."""

import pytest

from experiments.analysis.wire import (
    Connection,
    Trunks,
    Upstream,
    WireModel,
    caller_connections,
    function_calls,
    gateway_requests,
    merge,
    oracle,
)
from testbed.model.cluster import Route

TRUNKS = Trunks({(1, 2): 1.0, (1, 3): 1.0, (2, 3): 1.0})  # 2d = 1 ms everywhere


@pytest.mark.parametrize(
    ("upstream", "nodes", "saved"),
    [
        (Upstream.POOLED, (2, 2), 3.0),
        (Upstream.PER_CALL, (2, 2), 4.0),
        (Upstream.POOLED, (2, 3), 1.0),
        (Upstream.PER_CALL, (2, 3), 2.0),
    ],
)
def test_saved_per_call_is_2d_times_the_trips_that_go_away(upstream, nodes, saved):
    model = WireModel(TRUNKS, nodes, upstream, Connection.PER_CALL)
    assert model.saved_ms(2) == saved


def test_length_one_is_the_same_path_on_both_routes():
    model = WireModel(TRUNKS, (2,), Upstream.PER_CALL, Connection.PER_CALL)
    assert model.saved_ms(1) == 0.0
    assert model.request_ms(Route.GATEWAY, 1) == model.request_ms(Route.DIRECT, 1) == 2.0


def test_each_trunk_counts_with_its_own_calibration():
    model = WireModel(Trunks({(1, 2): 1.0, (1, 3): 2.0, (2, 3): 5.0}), (2, 3), Upstream.POOLED, Connection.PER_CALL)
    assert model.call_ms(Route.GATEWAY, 2, 3) == 2 * 1.0 + 2.0
    assert model.call_ms(Route.DIRECT, 2, 3) == 2 * 5.0
    assert model.saved_ms(2) == -6.0  # the model does not presume that direct wins


def test_kept_connections_need_no_handshake():
    model = WireModel(TRUNKS, (2, 2, 2), Upstream.POOLED, Connection.KEEPALIVE)
    assert model.saved_ms(3) == 2 * 2.0


def test_an_uncalibrated_trunk_is_an_error_not_a_zero():
    with pytest.raises(KeyError):
        WireModel(Trunks({}), (2, 3), Upstream.POOLED, Connection.PER_CALL).saved_ms(2)


@pytest.mark.parametrize("length", [1, 2, 6])
@pytest.mark.parametrize("route", list(Route))
def test_callers_open_one_connection_a_function_on_either_route(route, length):
    assert sum(caller_connections(route, "a", length, 10).values()) == 10 * length


def test_per_call_totals_are_2n_by_gateway_and_n_plus_1_direct():
    for route, total in ((Route.GATEWAY, 2 * 3), (Route.DIRECT, 3 + 1)):
        callers = sum(caller_connections(route, "a", 3, 1).values())
        assert callers + sum(gateway_requests(route, "a", 3, 1).values()) == total


def test_direct_callers_go_to_the_next_function_and_never_to_the_gateway():
    opened = caller_connections(Route.DIRECT, "b", 3, 7)
    assert opened == {("client", "gateway"): 7, ("chain-1.b", "chain-2.b"): 7, ("chain-2.b", "chain-3.b"): 7}


def test_kept_connections_are_bounded_by_calls_and_the_clients_are_certain():
    assert caller_connections(Route.DIRECT, "b", 3, 7, Connection.KEEPALIVE) == {("client", "gateway"): 7}
    calls = function_calls(Route.GATEWAY, "b", 3, 7)
    assert calls == {("chain-1.b", "gateway"): 7, ("chain-2.b", "gateway"): 7}
    counted = {("chain-1.b", "gateway"): 7, ("chain-2.b", "gateway"): 8}
    rows = {row.caller: row for row in oracle({}, counted, calls)}
    assert [(row.holds, row.exact) for row in rows.values()] == [(True, False), (False, False)]
    assert rows["chain-2.b"].wanted == "at most 7"


def test_the_oracle_names_what_is_missing_and_what_is_too_much():
    expected = merge([{("client", "gateway"): 5}, {("client", "gateway"): 5, ("x.a", "gateway"): 5}])
    rows = oracle(expected, {("client", "gateway"): 10, ("x.a", "gateway"): 4, ("y.a", "gateway"): 1})
    assert [(row.caller, row.exact) for row in rows] == [("client", True), ("x.a", False), ("y.a", False)]

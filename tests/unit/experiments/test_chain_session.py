"""What the session reads from a lab, and what it does with it, without one."""

import pytest

from experiments import chain_session
from experiments.chain_session import cpu_hogs
from experiments.rawdata import RawWriter, invocation_rows
from testbed.model.cluster import ClusterState, Instance
from testbed.model.errors import LabError
from testbed.model.stack import stack_file

METRICS = """# HELP testbed_gateway_upstream_connections_total Connections opened to functions.
# TYPE testbed_gateway_upstream_connections_total counter
testbed_gateway_upstream_connections_total{function_name="chain-1.chain-gateway"} 12
testbed_gateway_upstream_connections_total{function_name="chain-1.chain-direct"} 3
# TYPE gateway_service_count gauge
gateway_service_count{function_name="chain-1.chain-gateway"} 1
"""


def instance(namespace, node, function="chain-1"):
    return Instance(f"{function}.{namespace}.1", namespace, function, node, "10.202.0.9")


def state_of(*instances):
    return ClusterState(instances={one.id: one for one in instances})


def test_call_counters_are_summed_over_nodes():
    calls = [
        {"caller": "a.x", "callee": "gateway", "node": 2, "packets": 3},
        {"caller": "a.x", "callee": "gateway", "node": 3, "packets": 4},
        {"caller": "client", "callee": "gateway", "node": 1, "packets": 5},
    ]
    assert chain_session.sum_calls(calls) == {("a.x", "gateway"): 7, ("client", "gateway"): 5}


def test_the_gateways_own_count_is_read_from_its_metrics():
    assert chain_session.parse_gateway_connections(METRICS) == {
        ("gateway", "chain-1.chain-gateway"): 12,
        ("gateway", "chain-1.chain-direct"): 3,
    }


def test_lost_upcalls_are_summed_and_silence_is_not_zero():
    shown = "netdev@ovs-netdev:\n  lookups: hit:10 missed:2 lost:3\nsystem@x:\n  lookups: hit:1 missed:1 lost:1\n"
    assert chain_session.parse_lost_upcalls(shown) == 4
    assert chain_session.parse_lost_upcalls("") is None


def test_both_directions_of_a_trunk_are_read_back():
    link = {"a": 1, "b": 3, "readback": [{"delay_ms": 0.5}, {"delay_ms": 0.7}]}
    assert chain_session.read_back(link) == {"1-3": 0.5, "3-1": 0.7}


def test_all_arms_must_share_one_placement():
    arms = ("chain-gateway", "chain-direct", "chain-aa")
    assert chain_session.common_placement(state_of(*(instance(arm, 3) for arm in arms))) == {"chain-1": 3}
    with pytest.raises(LabError, match=r"chain-1 runs on nodes \[2, 3\] in different arms"):
        chain_session.common_placement(state_of(instance(arms[0], 2), instance(arms[1], 3)))


def test_the_planted_millisecond_goes_into_the_first_function_alone():
    application, _ = stack_file.select(stack_file.load(chain_session.STACK_FILE, {}), "^(chain-1|chain-2)$")
    slower = chain_session.slower_first_function(application)
    assert [function.environment["SERVICE_MS"] for function in slower.functions] == ["1", "0"]
    assert slower.calls() == application.calls()


def test_hogs_end_with_their_block():
    with pytest.raises(ZeroDivisionError), cpu_hogs(wanted=True) as hogs:
        assert all(hog.poll() is None for hog in hogs)
        raise ZeroDivisionError
    assert hogs
    assert all(hog.poll() is not None for hog in hogs)
    with cpu_hogs(wanted=False) as none:
        assert none == []


def test_invocation_records_are_found_among_other_lines(tmp_path):
    log = tmp_path / "chain-1.log"
    log.write_text(
        "Serving\n"
        '{"invocation":{"call_id":"c","caller":"","function":"chain-1","namespace":"n","instance":"i",'
        '"started_ns":1,"ended_ns":2,"cold":true,"status":200}}\n'
        '{"invocation":{"call_id":"cut'
    )
    (row,) = invocation_rows([log])
    assert (row["call_id"], row["started_ns"], row["cold"]) == ("c", 1, True)


def test_raw_rows_are_appended_under_one_header(tmp_path):
    raw = RawWriter(tmp_path)
    raw.rows("a", [{"x": 1, "y": True}])
    raw.rows("a", [])
    raw.rows("a", [{"x": 2, "y": False}])
    assert (tmp_path / "a.csv").read_text().split() == ["x,y", "1,1", "2,0"]

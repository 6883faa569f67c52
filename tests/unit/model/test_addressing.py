"""The address plan: no two things of a lab share an address, and names fit where they are used."""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from testbed.model import addressing
from testbed.model.errors import UsageError

ids = st.integers(1, addressing.LAST_ID)
nodes = st.integers(1, addressing.MAX_NODE)


@given(nodes, ids)
def test_an_eip_tells_its_node_and_lies_in_the_subnet_that_arp_answers_for(node: int, index: int) -> None:
    address = addressing.eip(node, index)
    assert addressing.node_of(address) == node
    assert IPv4Address(address) in addressing.EIP_NETWORK
    assert IPv4Address(address) not in addressing.VIP_NETWORK


@given(st.tuples(nodes, ids), st.tuples(nodes, ids))
def test_different_hosts_have_different_addresses_macs_and_ports(one: tuple[int, int], two: tuple[int, int]) -> None:
    first, second = addressing.eip(*one), addressing.eip(*two)
    plan = (addressing.mac, addressing.port_name, str)
    assert [(function(first) == function(second)) for function in plan] == [one == two] * 3


@given(nodes, ids)
def test_a_port_name_fits_a_linux_interface(node: int, index: int) -> None:
    assert len(addressing.port_name(addressing.eip(node, index))) <= 15


@given(ids, ids)
def test_different_functions_have_different_vips(one: int, two: int) -> None:
    assert (addressing.vip(one) == addressing.vip(two)) == (one == two)


def test_the_plan_is_the_documented_one() -> None:
    assert addressing.vip(addressing.GATEWAY_ID) == "10.96.0.1"
    assert addressing.vip(addressing.FIRST_FUNCTION_ID) == "10.96.1.0"
    assert addressing.eip(2, 5) == "10.202.0.5"
    assert addressing.port_name("10.202.0.5") == "n2p5"
    assert addressing.mac("10.202.0.5") == "02:00:0a:ca:00:05"
    assert addressing.management_ip(3) == "172.31.0.13"
    assert (addressing.trunk_name(1, 2), addressing.trunk_name(1, 12)) == ("t12", "t1-12")


@pytest.mark.parametrize("number", [0, addressing.LAST_ID + 1])
def test_numbers_outside_the_plan_are_refused(number: int) -> None:
    with pytest.raises(UsageError, match=f"workload id {number} is outside 1..65533"):
        addressing.vip(number)
    with pytest.raises(UsageError, match=f"host number {number} on node2 is outside 1..65533"):
        addressing.eip(2, number)
    with pytest.raises(UsageError, match=r"node number 16 is outside 1\.\.15"):
        addressing.eip(16, 1)


@given(nodes, ids, nodes, ids)
def test_two_hosts_have_no_user_in_common_and_no_user_of_the_machine(a: int, i: int, b: int, j: int) -> None:
    first, second = (addressing.user_id("lab", addressing.eip(node, index)) for node, index in ((a, i), (b, j)))
    assert (first == second) == ((a, i) == (b, j))
    assert 1 << 28 <= first < 1 << 31
    assert addressing.user_id("another", addressing.eip(a, i)) != first

"""What the table simulator refuses to answer: tables that leave open what becomes of a packet."""

from __future__ import annotations

import pytest

from controllers import pipeline as p
from controllers.desired.base import base_rows
from controllers.rows import Foreign, Row, Tables, match
from controllers.simulator import Network, SimulationError, tcp
from testbed.model import addressing

HOST = addressing.eip(1, 1)


def network(*rows: Row) -> Network:
    return Network.of({1: Tables.of([*base_rows(1), *rows])})


def row(priority: int, *actions: Foreign, **fields: int) -> Row:
    return Row(p.CLASSIFIER.number, priority, match(**fields), actions, 0)


def test_two_rows_of_one_priority_that_take_one_packet_are_an_error() -> None:
    with pytest.raises(SimulationError, match="two rows of one priority take the packet on node1"):
        network(row(p.Priority.NORMAL, ip_proto=6)).send(tcp(1, HOST, addressing.vip(1)))


def test_an_action_that_it_does_not_know_is_an_error() -> None:
    with pytest.raises(SimulationError, match="is unknown to the simulator"):
        network(row(250, Foreign("learn"), ip_proto=6)).send(tcp(1, HOST, addressing.vip(1)))


def test_only_what_was_handed_to_the_controller_can_be_released() -> None:
    cluster, packet = network(), tcp(1, HOST, addressing.vip(1))
    dropped = cluster.send(packet)
    assert dropped.reason == "spoofed-source"
    with pytest.raises(SimulationError, match="was not handed to the controller"):
        cluster.release(dropped, packet, p.DAG_POLICY.number)

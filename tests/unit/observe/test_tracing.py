"""What OVS's own trace says, in words: tables, the way over a trunk, and the verdict."""

from __future__ import annotations

from typing import Any

import pytest

from testbed.model import addressing
from testbed.model.cluster import ClusterState, Deployment, Function, Host, Instance, Phase, Role, Route
from testbed.model.errors import LabError, UsageError
from testbed.observe import tracing

A = Function("t", "a", 256, addressing.vip(256), "i", 1, calls=("b",))
B = Function("t", "b", 257, addressing.vip(257), "i", 2)
EMPTY = Function("t", "none", 258, addressing.vip(258), "i", 0)
STATE = ClusterState(
    1,
    (1, 2, 3),
    {"t": Deployment("t", Route.DIRECT)},
    {f.full_name: f for f in (A, B, EMPTY)},
    {
        i.id: i
        for i in (
            Instance("a.t.1", "t", "a", 2, "10.202.0.3", Phase.READY),
            Instance("b.t.1", "t", "b", 3, "10.203.0.2", Phase.NOT_READY),
            Instance("b.t.2", "t", "b", 3, "10.203.0.4", Phase.READY),
        )
    },
    {"gateway": Host("gateway", Role.GATEWAY, 1, 1, "10.201.0.1")},
)

SOURCE_NODE = """Flow: tcp,in_port=5

bridge("s2")
------------
 0. tcp, priority 200, cookie 0x1010000000000
    goto_table:4
 4. ip, priority 200, cookie 0x1010000000000
    ct(table=5,zone=102,nat)

recirc(0x1) - resume conntrack with ct_state=new|trk
Replacing src/dst IP/ports to simulate NAT:
 Initial flow:
 Modified flow:

bridge("s2")
------------
    thaw
        Resuming from table 5
 5. ct_state=+new+trk,ip,reg0=0x1, priority 190, cookie 0x1010000000000
    goto_table:6
 6. tcp,reg1=0x100,nw_dst=10.96.1.1,tp_dst=8080, priority 200, cookie 0x1030001000101
    goto_table:7
 7. tcp,nw_dst=10.96.1.1,tp_dst=8080, priority 200, cookie 0x1040000000101
    group:257

recirc(0x2) - resume conntrack with ct_state=new|trk
Replacing src/dst IP/ports to simulate NAT:
 Initial flow: nw_src=10.202.0.3,tp_src=40000,nw_dst=10.96.1.1,tp_dst=8080
 Modified flow: nw_src=10.202.0.3,tp_src=40000,nw_dst=10.203.0.4,tp_dst=8080

bridge("s2")
 9. ip,nw_dst=10.203.0.0/16, priority 190, cookie 0x1050000000003
    goto_table:10
10. priority 200, cookie 0x1010000000000
    output:NXM_NX_REG2[]
"""
TARGET_NODE = """
 0. tcp, priority 200, cookie 0x1010000000000
 9. ip,nw_dst=10.203.0.4, priority 200, cookie 0x105000acb0004
"""
DENIED = """
 0. tcp, priority 200, cookie 0x1010000000000
 6. ip,nw_dst=10.96.0.0/16, priority 100, cookie 0x1070000000009
    drop
"""
HELD = """
 6. tcp,reg1=0x100,reg4=0x1, priority 202, cookie 0x1080001000101
    CONTROLLER:65535
"""


def row(table: int, priority: int, cookie: int, category: str, sentence: str, **more: str) -> dict[str, Any]:
    texts = {"match": "", "actions": "goto", "object": "", **more}
    name = f"T{table}"
    head = {"table": table, "table_name": name, "priority": priority, "cookie": f"{cookie:#x}"}
    return {**head, "category": category, "sentence": sentence, **texts}


BASE = 0x1010000000000
ROWS = {
    2: [
        row(0, 200, BASE, "base", "arp", match="eth_type=0x806"),
        row(0, 200, BASE, "base", "tcp", match="eth_type=0x800"),
        row(4, 200, BASE, "base", "conntrack"),
        row(5, 190, BASE, "base", "from a trunk", match="ct_state=0x21/0x21,reg0=2"),
        row(5, 190, BASE, "base", "local", match="ct_state=0x21/0x21,reg0=1"),
        row(6, 200, 0x1030001000101, "policy", "allows"),
        row(6, 202, 0x1080001000101, "hold", "Holds it", actions="meter:256,controller"),
        row(6, 100, 0x1070000000009, "drop", "Drops and counts: the caller may not call this", actions="drop"),
        row(7, 200, 0x1040000000101, "service", "chooses", object="b.t"),
        row(9, 190, 0x1050000000003, "forwarding", "to the trunk", object="node3"),
        row(10, 200, BASE, "base", "out"),
    ],
    3: [
        row(0, 200, BASE, "base", "tcp"),
        row(9, 200, 0x105000ACB0004, "forwarding", "delivers", object="b.t.2"),
    ],
}


def follow(answers: dict[int, str]) -> tuple[tracing.Trace, list[tuple[int, str]]]:
    asked = []

    def ask(node: int, flow: str) -> str:
        asked.append((node, flow))
        return answers[node]

    sender = tracing.speaker(STATE, "a.t")
    packet = tracing.first_packet(sender, tracing.destination(STATE, "b.t", to_eip=False), 8080)
    return tracing.follow(sender, "b.t", packet, ask, lambda node: {"rows": ROWS[node]}), asked


def test_a_call_is_followed_over_the_trunk_with_the_address_that_nat_gave_it() -> None:
    trace, asked = follow({2: SOURCE_NODE, 3: TARGET_NODE})
    assert trace.admitted
    assert trace.verdict == "allowed: call a.t → b.t, sent to b.t.2 on node3"
    assert [(step.node, step.table, step.sentence) for step in trace.steps] == [
        (2, 0, "tcp"),
        (2, 4, "conntrack"),
        (2, 5, "local"),
        (2, 6, "allows"),
        (2, 7, "chooses"),
        (2, 9, "to the trunk"),
        (2, 10, "out"),
        (3, 0, "tcp"),
        (3, 9, "delivers"),
    ]
    (_, first), (node, second) = asked
    assert "in_port=n2p3,dl_src=02:00:0a:ca:00:03" in first
    assert "nw_dst=10.96.1.1" in first
    assert node == 3
    assert "in_port=t32," in second
    assert "nw_dst=10.203.0.4" in second


def test_a_dropped_packet_says_where_and_why() -> None:
    trace, _ = follow({2: DENIED})
    assert (trace.admitted, trace.verdict) == (False, "denied on node2 in T6: the caller may not call this")


def test_a_held_packet_is_an_allowed_one() -> None:
    trace, _ = follow({2: HELD})
    assert (trace.admitted, trace.verdict) == (True, "allowed, and held on node2 in T6: Holds it")


def test_a_row_that_the_controller_does_not_know_is_said_to_be_a_strangers() -> None:
    trace, _ = follow({2: " 6. ip, priority 300, cookie 0x7\n    drop\n"})
    assert trace.verdict == "denied on node2 in table 6: No row of the controller's took the packet"


def test_a_switch_that_does_not_trace_is_an_error() -> None:
    with pytest.raises(LabError, match="node2's switch did not trace the packet; it said: Bad flow"):
        follow({2: "Bad flow"})


def test_a_function_speaks_by_a_ready_instance() -> None:
    assert tracing.speaker(STATE, "b.t").name == "b.t.2"
    assert tracing.speaker(STATE, "b.t.1").eip == "10.203.0.2"
    assert tracing.speaker(STATE, "gateway").node == 1


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("b", r"no function, instance or host 'b'; did you mean b.t\?"),
        ("x.t", "`testbed status` lists both"),
        ("none.t", "none.t has no instance that could send"),
    ],
)
def test_who_cannot_speak_is_named(name: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        tracing.speaker(STATE, name)


def test_a_destination_is_a_vip_an_eip_or_an_address() -> None:
    def address(name: str, to_eip: bool = False) -> str:
        return tracing.destination(STATE, name, to_eip)

    assert (address("b.t"), address("b.t.1"), address("gateway")) == (B.vip, B.vip, addressing.vip(1))
    assert (address("b.t.1", True), address("b.t", True)) == ("10.203.0.2", "10.203.0.4")
    assert address("172.31.0.1") == "172.31.0.1"
    with pytest.raises(UsageError, match="no function, instance or host 'zz'"):
        address("zz")


def test_a_lie_is_told_to_the_switch() -> None:
    packet = tracing.first_packet(tracing.speaker(STATE, "a.t"), B.vip, 80, "10.202.0.9", "02:00:00:00:00:01")
    assert "dl_src=02:00:00:00:00:01" in packet.flow()
    assert "nw_src=10.202.0.9" in packet.flow()
    assert "tp_dst=80," in packet.flow()

"""What the translator says, a real ovs-vswitchd understands and repeats. Needs no root (dummy datapath)."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from controllers import pipeline as p
from controllers import sdn
from controllers.desired.generator import Generator
from controllers.hold import effects
from controllers.hold.machine import Punt as Punted
from controllers.rows import (
    Foreign,
    Goto,
    Meter,
    MeterUnit,
    OutputPort,
    PacketOut,
    Resubmit,
    Row,
    SetField,
    Tables,
    ToGroup,
    UseMeter,
    match,
)
from controllers.switch import decoding, translator
from controllers.switch.flushing import Flush
from controllers.switch.reconcile import DeleteMeter, DeleteRow, PutMeter, PutRow, reconcile
from controllers.switch.state import Switch
from testbed.model import addressing
from testbed.model.cluster import Phase
from tests.unit.controllers.clusters import put, small
from tests.unit.controllers.frames import syn
from tests.unit.controllers.switch.dummy_ovs import Connection, add_bridge, vswitchd


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    # A UNIX socket's path is limited to 108 characters, and pytest's own folders can be long.
    with vswitchd(tmp_path_factory.mktemp("o")) as running:
        yield running


@pytest.fixture
def generator() -> Generator:
    generator = Generator()
    generator.load(small())
    return generator


@pytest.fixture
def switch(folder: Path, request: pytest.FixtureRequest, generator: Generator) -> Iterator[Connection]:
    name = f"s{abs(hash(request.node.name)) % 10_000_000}"
    add_bridge(folder, name, sorted({port for row in generator.desired[2].rows.values() for port in row.ports()}))
    connection = Connection(folder, name)
    connection.bridge, connection.folder = name, folder  # type: ignore[attr-defined]
    yield connection
    connection.close()
    subprocess.run(["ovs-vsctl", f"--db=unix:{folder}/db.sock", "del-br", name], check=True, timeout=30)


def entries(connection: Connection) -> list[decoding.Entry]:
    return decoding.entries(connection.ask(translator.flows_request(connection.datapath)))


def tables(connection: Connection) -> Tables:
    found = entries(connection)
    groups = decoding.groups(connection.ask(translator.groups_request(connection.datapath)))
    meters = decoding.meters(connection.ask(translator.meters_request(connection.datapath)))
    return Tables.of((entry.row for entry in found), groups, meters)


def install(connection: Connection, desired: Tables, believed: Switch) -> list[object]:
    ordered = believed.read(tables(connection), 0, desired)
    return connection.deliver(translator.encode(connection.datapath, ordered, (), believed.round, 1))


def ofctl(connection: Connection, *arguments: str) -> None:
    target = f"unix:{connection.folder}/{connection.bridge}.mgmt"  # type: ignore[attr-defined]
    subprocess.run(["ovs-ofctl", "-O", "OpenFlow13", arguments[0], target, *arguments[1:]], check=True, timeout=30)


def test_a_whole_node_loads_in_one_bundle_and_reads_back_to_the_same_digest(
    switch: Connection, generator: Generator
) -> None:
    believed = Switch(2, switch.ports())
    assert install(switch, generator.desired[2], believed) == []
    assert believed.held_back(generator.desired[2]) == 0
    actual, wanted = tables(switch), believed.wanted(generator.desired[2])
    assert actual == wanted
    assert actual.digest() == wanted.digest()


def test_reading_back_finds_nothing_to_do(switch: Connection, generator: Generator) -> None:
    believed = Switch(2, switch.ports())
    install(switch, generator.desired[2], believed)
    assert Switch(2, switch.ports()).read(tables(switch), 1, generator.desired[2]) == ()


def test_an_instances_life_keeps_switch_and_desire_equal(switch: Connection, generator: Generator) -> None:
    believed = Switch(2, switch.ports())
    install(switch, generator.desired[2], believed)
    instance = small().instances["b.d.2"]
    for version, phase in enumerate((Phase.DRAINING, Phase.NOT_READY, Phase.READY), start=2):
        delta = generator.apply(put(instance.__class__(**{**vars(instance), "phase": phase}), version))[2]
        ordered = believed.update(delta, generator.desired[2])
        assert switch.deliver(translator.encode(switch.datapath, ordered, (), 1, version)) == []
        assert tables(switch) == believed.wanted(generator.desired[2])


def test_a_strangers_rows_are_swept_whatever_they_do(switch: Connection, generator: Generator) -> None:
    believed = Switch(2, switch.ports())
    install(switch, generator.desired[2], believed)
    strange = ("table=5,ip,nw_ttl=5,actions=drop", "table=5,ip,nw_frag=first,cookie=0x7,actions=drop")  # ryu cannot say
    for row in (*strange, "table=6,priority=300,ip,actions=normal", "table=3,ipv6,actions=controller,drop,"):
        ofctl(switch, "add-flow", row.removesuffix(",drop,"))
    ofctl(switch, "add-group", "group_id=4000,type=all,bucket=actions=in_port")
    ofctl(switch, "del-flows", "table=10")
    assert install(switch, generator.desired[2], believed) == []
    assert tables(switch) == believed.wanted(generator.desired[2])


def test_a_refused_change_leaves_nothing_of_its_bundle_behind(switch: Connection) -> None:
    good = Row(6, 200, match(eth_type=0x800), (Goto(7),), p.cookie(p.Category.BASE, 0))
    bad = Row(6, 201, match(eth_type=0x800), (ToGroup(999),), p.cookie(p.Category.BASE, 0))  # there is no such group
    encoded = translator.encode(switch.datapath, [PutRow(good), PutRow(bad)], (), 1, 1)
    errors = switch.deliver(encoded)
    assert PutRow(bad) in [encoded.purpose.get(error.xid) for error in errors]  # type: ignore[attr-defined]
    assert PutRow(good) not in [encoded.purpose.get(error.xid) for error in errors]  # type: ignore[attr-defined]
    assert tables(switch).rows == {}


def metered(rate: int) -> Tables:
    row = Row(6, 200, match(eth_type=0x800), (UseMeter(65_536), Goto(7)), p.cookie(p.Category.BASE, 0))
    units = ((65_536, MeterUnit.PACKETS), (7, MeterUnit.KBIT))
    return Tables.of([row], meters=[Meter(number, unit, rate, 2 * rate) for number, unit in units])


def test_meters_come_change_and_go_with_the_rows_that_use_them(switch: Connection) -> None:
    for number, wanted in enumerate((metered(5), metered(9), Tables(), metered(3)), 1):
        ordered = reconcile(wanted, tables(switch))
        assert switch.deliver(translator.encode(switch.datapath, ordered, (), 1, number)) == []
        assert tables(switch) == wanted
        assert tables(switch).digest() == wanted.digest()


def test_what_a_meter_saw_and_dropped_is_read(switch: Connection) -> None:
    switch.deliver(translator.encode(switch.datapath, reconcile(metered(5), Tables()), (), 1, 1))
    packets = decoding.meter_packets(switch.ask(translator.meter_counters_request(switch.datapath)))
    assert packets == {7: (0, 0), 65_536: (0, 0)}


def test_a_meter_is_put_before_the_row_that_uses_it_and_deleted_after() -> None:
    kinds = [type(change) for change in reconcile(metered(5), Tables())]
    assert kinds == [PutMeter, PutMeter, PutRow]
    kinds = [type(change) for change in reconcile(Tables(), metered(5))]
    assert kinds == [DeleteRow, DeleteMeter, DeleteMeter]


def test_keeping_counters_modifies_and_keeps_the_cookie(switch: Connection) -> None:
    cookie = p.cookie(p.Category.SERVICE, 300)
    row = Row(7, 200, match(eth_type=0x800), (), cookie)
    other = Row(7, 200, match(eth_type=0x800), (Goto(9),), cookie)
    switch.deliver(translator.encode(switch.datapath, [PutRow(row)], (), 1, 1))
    switch.deliver(translator.encode(switch.datapath, [PutRow(other, keep_counters=True)], (), 2, 2))
    (entry,) = decoding.entries(switch.ask(translator.flows_request(switch.datapath)))
    assert (entry.row, entry.round) == (other, 1)


def test_questions_about_one_category_bring_only_that(switch: Connection, generator: Generator) -> None:
    install(switch, generator.desired[2], Switch(2, switch.ports()))
    found = decoding.entries(switch.ask(translator.flows_request(switch.datapath, p.Category.POLICY)))
    assert {p.category_of(entry.row.cookie) for entry in found} == {p.Category.POLICY}
    assert len(found) == sum(
        row.table == p.DAG_POLICY.number and row.priority == 200 for row in tables(switch).rows.values()
    )


def test_conntrack_flushes_are_accepted(switch: Connection) -> None:
    flushes = [
        Flush(2, source="10.202.0.11"),
        Flush(2, replier="10.202.0.11"),
        Flush(2, source="10.202.0.11", destination="10.96.1.1"),
    ]
    assert switch.deliver(translator.encode(switch.datapath, (), flushes, 1, 1)) == []


def test_a_flush_is_encoded_as_ovs_ofctl_does() -> None:
    """Bytes that `ovs-ofctl ct-flush BRIDGE zone=102 'ct_nw_src=10.202.0.5,ct_nw_dst=10.96.1.2'` of OVS 3.1 sends."""
    datapath = sdn.ProtocolDesc(version=sdn.ofproto.OFP_VERSION)
    datapath.xid = 1
    flush = Flush(2, source="10.202.0.5", destination="10.96.1.2")
    data = translator.encode(datapath, (), [flush], 1, 1).data
    wanted = (
        "0404005800000002 0000232000000020 0000000000000000 0000003800000000"
        "0000001400000000 000000000000ffff 0aca000500000000"
        "0001001400000000 000000000000ffff 0a60010200000000 0002000800660000"
    )
    assert data[:0x58] == bytes.fromhex(wanted)


def test_what_we_cannot_say_is_foreign_and_never_equal_to_ours(switch: Connection) -> None:
    ofctl(switch, "add-flow", "table=10,priority=200,actions=normal")
    (row,) = tables(switch).rows.values()
    assert isinstance(row.actions[0], Foreign)
    assert reconcile(Tables(), tables(switch)) == (DeleteRow(row),)


def test_a_packet_in_a_bundle_meets_the_tables_as_the_bundle_leaves_them(
    switch: Connection, generator: Generator
) -> None:
    state, believed = small(), Switch(2, switch.ports())
    held = Tables(dict(generator.desired[2].rows), dict(generator.desired[2].groups), generator.desired[2].meters)
    assert install(switch, held, believed) == []
    starting = state.instances["c.d.1"]
    generator.apply(put(starting.__class__(**{**vars(starting), "phase": Phase.READY}), 2))
    ordered = reconcile(believed.wanted(generator.desired[2]), tables(switch))
    frame = syn(addressing.eip(2, 12), addressing.vip(258), 40_000, 7)
    identity = (SetField("reg0", 1), SetField("reg1", 257), Resubmit(p.DAG_POLICY.number))
    packet = PacketOut(frame, switch.ports()["n2p12"], identity)
    assert switch.deliver(translator.encode(switch.datapath, ordered, (), 1, 2, [packet])) == []
    counted = {entry.row.cookie: entry.packets for entry in entries(switch)}
    assert counted[p.cookie(p.Category.POLICY, p.call_object(257, 258))] == 1
    assert counted[p.cookie(p.Category.SERVICE, 258)] == 1


def test_a_packet_for_a_port_goes_nowhere_else(switch: Connection, generator: Generator) -> None:
    install(switch, generator.desired[2], Switch(2, switch.ports()))
    packet = PacketOut(b"\0" * 60, None, (OutputPort(switch.ports()["n2p12"]),))
    assert switch.deliver(translator.encode(switch.datapath, (), (), 1, 2, [packet])) == []
    assert sum(entry.packets for entry in entries(switch)) == 0


@pytest.mark.parametrize(("table", "held"), [(p.DAG_POLICY, True), (p.SERVICE_LB, False)])
def test_a_punt_is_the_whole_packet_and_says_who_calls_whom(
    switch: Connection, generator: Generator, table: p.Table, held: bool
) -> None:
    install(switch, generator.desired[2], Switch(2, switch.ports()))
    sent = syn(addressing.eip(2, 12), addressing.vip(258), 40_000, 7) + b"x" * 900
    port = switch.ports()["n2p12"]
    identity = (SetField("reg1", 257), SetField("reg4", p.HELD), Resubmit(table.number))
    message = switch.punt_of(translator.packet_out(switch.datapath, PacketOut(sent, port, identity)))
    punt = effects.read(2, message.cookie, message.match, message.data)
    assert punt == Punted(2, port, caller=257, callee=258, frame=sent, counted=not held)

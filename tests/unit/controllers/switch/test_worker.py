"""The conductor with switches that are values: versions, failures, reconnects, what it records."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from controllers import conductor as c
from controllers import pipeline as p
from controllers import sdn
from controllers.hold import segments
from controllers.northbound.counters import Readings, counters
from controllers.northbound.explain import Names
from controllers.northbound.metrics import exposition
from controllers.policy.rules import added
from controllers.rows import OutputPort, PacketOut, Resubmit, Row, SetField, Tables, match
from controllers.switch import translator
from controllers.switch.channel import Channel, NoAnswer
from controllers.switch.fleet import Batch
from controllers.switch.reconcile import Flush, apply
from controllers.watch import Watch
from testbed.model import addressing
from testbed.model.cluster import Phase
from tests.unit.controllers.clusters import delete, put, small, snapshot
from tests.unit.controllers.frames import syn


@dataclass
class FakeEncoded:
    """A batch, "encoded"."""

    batch: Batch
    purpose: dict[int, Any]
    packets: tuple[PacketOut, ...]


@dataclass
class FakeChannel:
    """A switch that does what it is told, unless it is told to fail."""

    node: int
    numbers: dict[str, int]
    held: Tables = field(default_factory=Tables)
    fails: int = 0
    flushes: list[Flush] = field(default_factory=list)
    closed: bool = False
    can_flush: bool = True
    batches: int = 0
    packets: list[PacketOut] = field(default_factory=list)

    def ports(self) -> dict[str, int]:
        return self.numbers

    def encode(self, batch: Batch, _: int, packets: Sequence[PacketOut] = ()) -> Any:
        return FakeEncoded(batch, dict(enumerate(batch.changes)), tuple(packets))

    def send_packets(self, packets: Iterable[PacketOut]) -> None:
        self.packets += packets

    def send(self, encoded: Any) -> Any:
        self.batches += 1
        if self.fails:
            self.fails -= 1
            return False
        apply(self.held, encoded.batch.changes)
        self.flushes += encoded.batch.flushes
        self.packets += encoded.packets
        return True

    def settle(self, sent: Any) -> bool:
        return bool(sent)

    def tables(self) -> tuple[Tables, int]:
        if self.closed:
            raise NoAnswer("gone")
        return Tables(dict(self.held.rows), dict(self.held.groups), dict(self.held.meters)), 1

    def close(self) -> None:
        self.closed = True


@pytest.fixture(autouse=True)
def later(monkeypatch: pytest.MonkeyPatch) -> list[tuple[float, Any]]:
    """What was put off, instead of waiting for it."""
    put_off: list[tuple[float, Any]] = []
    monkeypatch.setattr(sdn.hub, "spawn_after", lambda s, do, what: put_off.append((s, what)))
    return put_off


def deal(conductor: c.Conductor, *items: c.Item) -> None:
    for together in c._merged(list(items)):
        conductor._deal_with(together)


def started() -> tuple[c.Conductor, dict[int, FakeChannel]]:
    conductor = c.Conductor()
    deal(conductor, c.Watched(snapshot(small())))
    channels = {}
    for node in (1, 2, 3):
        rows = conductor.fleet.desired(node).rows.values()
        names = sorted({name for row in rows for name in row.ports()})
        channels[node] = FakeChannel(node, {name: number for number, name in enumerate(names, 1)})
        deal(conductor, c.Connected(channels[node]))  # type: ignore[arg-type]
    return conductor, channels


def is_as_desired(conductor: c.Conductor, channel: FakeChannel) -> bool:
    return channel.held == conductor.fleet.switches[channel.node].wanted(conductor.fleet.desired(channel.node))


def readiness(version: int, phase: Phase = Phase.NOT_READY) -> c.Watched:
    return c.Watched(put(replace(small().instances["b.d.1"], phase=phase), version))


def test_a_version_is_applied_when_every_connected_switch_has_it() -> None:
    conductor, channels = started()
    assert conductor.applied == 1
    deal(conductor, readiness(2))
    assert conductor.applied == 2
    assert all(is_as_desired(conductor, channel) for channel in channels.values())


def test_a_switch_that_connects_before_the_snapshot_is_left_alone_until_then() -> None:
    conductor = c.Conductor()
    stranger = Row(10, 200, match(), (), 0)
    channel = FakeChannel(2, {}, Tables.of([stranger]))
    deal(conductor, c.Connected(channel))  # type: ignore[arg-type]
    assert (channel.batches, list(channel.held.rows.values()), conductor.applied) == (0, [stranger], 0)
    deal(conductor, c.Watched(snapshot(small())))
    assert is_as_desired(conductor, channel)
    assert conductor.applied == 1


def test_a_refused_change_is_not_applied_until_the_switch_was_read_again(later: list[tuple[float, Any]]) -> None:
    conductor, channels = started()
    channels[2].fails = 1
    deal(conductor, readiness(2))
    assert conductor.applied == 0
    (again,) = [item for _, item in later if isinstance(item, c.ReadAgain)]
    deal(conductor, again)
    assert conductor.applied == 2
    assert is_as_desired(conductor, channels[2])


def test_policies_are_confirmed_once_every_connected_switch_has_them(later: list[tuple[float, Any]]) -> None:
    conductor, channels = started()
    policy = added({}, {"name": "shut", "kind": "deny", "namespace": "d", "from": "a", "to": "b"})
    for channel in channels.values():
        channel.fails = 1
    done = sdn.hub.Event()
    deal(conductor, c.NewPolicies({policy.name: policy}, done))
    assert not done.is_set()
    deal(conductor, *(item for _, item in later))
    assert done.is_set()
    assert all(is_as_desired(conductor, channel) for channel in channels.values())


def test_an_empty_switch_that_comes_back_gets_its_rows_at_once() -> None:
    conductor, channels = started()
    deal(conductor, c.Disconnected(channels[3]))  # type: ignore[arg-type]
    deal(conductor, readiness(2))
    assert conductor.applied == 2  # of those that are connected
    restarted = FakeChannel(3, channels[3].numbers)
    deal(conductor, c.Connected(restarted))  # type: ignore[arg-type]
    assert is_as_desired(conductor, restarted)


def test_a_late_goodbye_of_an_old_connection_changes_nothing() -> None:
    conductor, channels = started()
    fresh = FakeChannel(3, channels[3].numbers)
    deal(conductor, c.Connected(fresh), c.Disconnected(channels[3]))  # type: ignore[arg-type]
    assert conductor.channels[3] is fresh  # type: ignore[comparison-overlap]


def test_events_that_wait_together_become_one_change() -> None:
    conductor, channels = started()
    before = channels[2].batches, len(conductor.measurements)
    deal(conductor, readiness(2), readiness(3, Phase.READY), readiness(4))
    assert (channels[2].batches, len(conductor.measurements)) == (before[0] + 1, before[1] + 1)
    last = conductor.latencies()[-1]
    assert (last["version"], last["events"], last["messages"]) == (4, 3, 1)


def test_flushes_are_repeated_because_ovs_may_admit_the_connection_again(later: list[tuple[float, Any]]) -> None:
    conductor, channels = started()
    deal(conductor, c.Watched(delete(small().instances["b.d.1"], 2)))
    once = list(channels[3].flushes)
    repeats = [(seconds, item) for seconds, item in later if isinstance(item, c.FlushAgain)]
    assert [seconds for seconds, _ in repeats] == list(c.FLUSH_AGAIN_S)
    deal(conductor, repeats[0][1])
    assert channels[3].flushes == once * 2


def test_a_switch_that_does_not_take_a_repeated_flush_is_read_again(later: list[tuple[float, Any]]) -> None:
    conductor, channels = started()
    deal(conductor, c.Watched(delete(small().instances["b.d.1"], 2)))
    (repeat, *_) = [item for _, item in later if isinstance(item, c.FlushAgain)]
    channels[3].fails = 1
    deal(conductor, repeat)
    assert conductor.applied == 0
    deal(conductor, *(item for _, item in later if isinstance(item, c.ReadAgain)))
    assert conductor.applied == 2


# The channel: which answer belongs to what.


class FakeDatapath(sdn.ProtocolDesc):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__(version=sdn.ofproto.OFP_VERSION)
        self.id, self.ports, self.sent, self.xid = 2, {}, [], 0

    def set_xid(self, message: Any) -> None:
        self.xid += 1
        message.set_xid(self.xid)

    def send(self, data: bytes) -> None:
        self.sent.append(data)


@dataclass
class Message:
    xid: int
    type: int = 1
    code: int = 2


def test_an_error_is_booked_to_the_row_it_belongs_to(caplog: pytest.LogCaptureFixture) -> None:
    channel = Channel(FakeDatapath())
    conductor = c.Conductor()
    conductor.fleet.events([snapshot(small())])
    conductor.fleet.connected(2, {})
    (stage,) = conductor.fleet.read(2, Tables(), 0)
    encoded = channel.encode(stage[2], 1)
    sent = channel.send(encoded)
    xid, change = next(iter(encoded.purpose.items()))
    channel.refused(Message(xid))
    channel.answered(Message(encoded.barrier))
    assert channel.settle(sent) is False
    assert str(change) in caplog.text


def test_a_switch_that_cannot_flush_is_remembered_and_spared(caplog: pytest.LogCaptureFixture) -> None:
    channel = Channel(FakeDatapath())
    encoded = channel.encode(Batch(flushes=(Flush(2, source="10.202.0.1"),)), 1)
    sent = channel.send(encoded)
    channel.refused(Message(next(iter(encoded.purpose))))
    channel.answered(Message(encoded.barrier))
    assert channel.settle(sent) is True
    assert channel.can_flush is False
    assert "OVS >= 3.1" in caplog.text
    assert channel.encode(Batch(flushes=(Flush(2, source="10.202.0.1"),)), 1).purpose == {}


def test_nobody_waits_for_a_connection_that_is_lost() -> None:
    channel = Channel(FakeDatapath())
    sent = channel.send(channel.encode(Batch(), 1))
    channel.lost()
    assert channel.settle(sent) is False


# The watch.


def test_a_gap_in_the_versions_asks_for_a_snapshot() -> None:
    heard: list[Any] = []
    watch = Watch("http://127.0.0.1:9", heard.append)
    watch._take({"type": "SNAPSHOT", "version": 5})
    watch._take({"type": "HEARTBEAT", "version": 5})
    watch._take({"type": "PUT", "version": 6})
    with pytest.raises(ValueError, match="8 does not follow 6"):
        watch._take({"type": "PUT", "version": 8})
    assert [event["version"] for event in heard] == [5, 6]
    assert watch._version is None


# Counters.


def test_counters_have_the_names_that_people_use() -> None:
    conductor, channels = started()
    entries = [translator.Entry(row, 1, 7, 0, 0.0) for row in channels[2].held.rows.values()]
    groups = list(channels[2].held.groups.values())
    packets = {group.id: tuple(range(1, len(group.buckets) + 1)) for group in groups}
    index = conductor.fleet.generator.index
    found = counters({2: Readings(entries, groups, packets)}, Names(index.workloads, index.ports))
    assert {"caller": "a.d", "callee": "b.d", "node": 2, "packets": 7} in found["calls"]
    assert {"function": "b.d", "node": 2, "connections": 7} in found["services"]
    assert {"instance": "b.d.2", "node": 2, "connections": 1} in found["endpoints"]
    assert {"instance": "b.d.1", "node": 2, "connections": 2} in found["endpoints"]
    reasons = {drop["reason"] for drop in found["drops"]}
    assert reasons == {reason.label for reason in p.DropReason} - {p.DropReason.DENIED.label}
    page = exposition(found, conductor.latencies(), {"applied": 1, "seen": 1}, 3).decode()
    assert 'directfaas_call_connections_total{callee="b.d",caller="a.d",node="2"} 7.0' in page
    assert "directfaas_switches_connected 3.0" in page


def test_intents_in_json_are_names() -> None:
    conductor, _ = started()
    text = json.dumps(conductor.fleet.generator.index.intents().to_json())
    assert '{"caller": "client", "callee": "gateway"}' in text


# Hold-and-release, as the conductor takes part in it.


SYN = syn(addressing.eip(3, 11), addressing.vip(258), 40_000, 7)
HELD_CALL = p.cookie(p.Category.HOLD, p.call_object(257, 258))


@pytest.fixture
def questions(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The functions that the scaler is asked for, instead of asking it."""
    asked: list[Any] = []
    monkeypatch.setattr(sdn.hub, "spawn", lambda _, callee: asked.append(callee))
    return asked


def c_is(phase: Phase, version: int) -> c.Watched:
    return c.Watched(put(replace(small().instances["c.d.1"], phase=phase), version))


def punted(conductor: c.Conductor, frame: bytes = SYN) -> None:
    conductor.holding.punted(3, p.with_round(HELD_CALL, 1), {"in_port": 2}, frame)


def tables_of(channel: FakeChannel) -> list[int]:
    return [action.table for packet in channel.packets for action in packet.actions if isinstance(action, Resubmit)]


def test_held_calls_go_in_the_bundle_that_opens_the_function(questions: list[Any]) -> None:
    conductor, channels = started()
    punted(conductor)
    assert (questions, channels[3].packets) == ([258], [])
    (statistics,) = conductor.holding.statistics()
    assert (statistics["function"], statistics["now"], statistics["held"]) == ("c.d", 1, 1)
    deal(conductor, c_is(Phase.READY, 2))
    (packet,) = channels[3].packets
    assert (packet.frame, packet.in_port) == (SYN, 2)
    assert packet.actions == (SetField("reg0", 1), SetField("reg1", 257), Resubmit(p.DAG_POLICY.number))
    (statistics,) = conductor.holding.statistics()
    assert (statistics["now"], statistics["released"]) == (0, 1)
    page = exposition(counters({}, Names({}, {}), [statistics]), [], {}, 3).decode()
    assert 'directfaas_holds_total{function="c.d",outcome="released"} 1.0' in page


def test_what_a_stale_flow_punts_afterwards_goes_on_at_once(questions: list[Any]) -> None:
    conductor, channels = started()
    deal(conductor, c_is(Phase.READY, 2))
    punted(conductor)
    assert (questions, tables_of(channels[3])) == ([], [p.CONNTRACK_ZONE.number])
    deal(conductor, c_is(Phase.DRAINING, 3))
    punted(conductor)
    assert (questions, len(channels[3].packets)) == ([258], 1)


def test_calls_stay_held_until_the_instances_own_switch_has_its_rows(questions: list[Any]) -> None:
    conductor, channels = started()
    punted(conductor)
    numbers = channels[2].numbers
    port = addressing.port_name(small().instances["c.d.1"].eip)
    channels[2].numbers = {name: number for name, number in numbers.items() if name != port}
    deal(conductor, c.PortsChanged(2), c_is(Phase.READY, 2))
    assert channels[3].packets == []
    channels[2].numbers = numbers
    deal(conductor, c.PortsChanged(2))
    assert tables_of(channels[3]) == [p.CONNTRACK_ZONE.number]


def test_calls_whose_bundle_was_refused_are_released_when_the_switch_was_read_again(
    questions: list[Any], later: list[tuple[float, Any]]
) -> None:
    conductor, channels = started()
    punted(conductor)
    channels[3].fails = 1
    deal(conductor, c_is(Phase.READY, 2))
    assert (channels[3].packets, conductor.holding.holds.now(258)) == ([], 1)
    deal(conductor, *(item for _, item in later if isinstance(item, c.ReadAgain)))
    assert tables_of(channels[3]) == [p.CONNTRACK_ZONE.number]


@pytest.mark.parametrize("gone", ["function", "call"])
def test_calls_to_what_is_removed_are_reset(questions: list[Any], gone: str) -> None:
    conductor, channels = started()
    punted(conductor)
    functions = small().functions
    event = delete(functions["c.d"], 2) if gone == "function" else put(replace(functions["b.d"], calls=()), 2)
    deal(conductor, c.Watched(event))
    assert [packet.actions for packet in channels[3].packets] == [(OutputPort(2),)]
    assert channels[3].packets[0].frame == segments.reset(SYN)


def test_a_punt_by_no_row_of_ours_is_ignored(questions: list[Any]) -> None:
    conductor, channels = started()
    conductor.holding.punted(3, p.cookie(p.Category.DROP, 1), {"in_port": 2}, SYN)
    assert (questions, channels[3].packets, conductor.holding.holds.busy) == ([], [], False)

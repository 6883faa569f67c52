"""The channel: which answer belongs to what, and who waits for whom."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from controllers import sdn
from controllers.desired.generator import Generator
from controllers.rows import PacketOut, Tables
from controllers.switch.channel import Channel, NoAnswer, _Shared
from controllers.switch.flushing import Flush
from controllers.switch.reconcile import Change
from controllers.switch.state import Switch
from tests.unit.controllers.clusters import small


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
    encoded = channel.encode(changes(), (), 1)
    sent = channel.send(encoded)
    xid, change = next(iter(encoded.purpose.items()))
    channel.refused(Message(xid))
    channel.answered(Message(encoded.barrier))
    assert channel.settle(sent) is False
    assert str(change) in caplog.text


def test_a_switch_that_cannot_flush_is_remembered_and_spared(caplog: pytest.LogCaptureFixture) -> None:
    channel = Channel(FakeDatapath())
    encoded = channel.encode((), (Flush(2, source="10.202.0.1"),), 1)
    sent = channel.send(encoded)
    channel.refused(Message(next(iter(encoded.purpose))))
    channel.answered(Message(encoded.barrier))
    assert channel.settle(sent) is True
    assert channel.can_flush is False
    assert "OVS >= 3.1" in caplog.text
    assert channel.encode((), (Flush(2, source="10.202.0.1"),), 1).purpose == {}


def test_nobody_waits_for_a_connection_that_is_lost() -> None:
    channel = Channel(FakeDatapath())
    sent = channel.send(channel.encode((), (), 1))
    channel.lost()
    assert channel.settle(sent) is False


def test_several_who_ask_at_once_are_answered_once_and_never_too_early() -> None:
    """Who comes while an answer is under way gets the next one: the first may be older than his question."""
    asked, open_ = [], sdn.hub.Event()

    def ask() -> int:
        asked.append(len(asked) + 1)
        open_.wait()
        return len(asked)

    shared: _Shared[int] = _Shared(ask)
    answers: list[int] = []
    first = sdn.hub.spawn(lambda: answers.append(shared()))
    sdn.hub.sleep(0)
    others = [sdn.hub.spawn(lambda: answers.append(shared())) for _ in range(3)]
    sdn.hub.sleep(0)
    assert asked == [1]
    open_.set()
    sdn.hub.joinall([first, *others])
    assert (asked, answers) == ([1, 2], [1, 2, 2, 2])


def test_everybody_who_asked_is_told_that_there_is_no_answer() -> None:
    def ask() -> int:
        raise NoAnswer("gone")

    shared: _Shared[int] = _Shared(ask)
    for _ in range(2):
        with pytest.raises(NoAnswer, match="gone"):
            shared()


def test_packets_are_dropped_rather_than_waited_with(monkeypatch: pytest.MonkeyPatch) -> None:
    datapath = FakeDatapath()
    monkeypatch.setattr(sdn, "would_wait", lambda _: True)
    Channel(datapath).send_packets([PacketOut(b"x" * 60, None, ())])
    assert datapath.sent == []
    monkeypatch.setattr(sdn, "would_wait", lambda _: False)
    Channel(datapath).send_packets([PacketOut(b"x" * 60, None, ())])
    assert len(datapath.sent) == 1


def changes() -> tuple[Change, ...]:
    generator = Generator()
    generator.load(small())
    return Switch(2).read(Tables(), 0, generator.desired[2])


def test_an_error_that_belongs_to_nothing_under_way_spoils_nothing() -> None:
    channel = Channel(FakeDatapath())
    encoded = channel.encode(changes(), (), 1)
    sent = channel.send(encoded)
    channel.refused(Message(9999))
    channel.answered(Message(encoded.barrier))
    assert channel.settle(sent) is True


def test_an_error_of_the_commit_is_the_bundles() -> None:
    channel = Channel(FakeDatapath())
    encoded = channel.encode(changes(), (), 1)
    sent = channel.send(encoded)
    channel.refused(Message(encoded.commit))
    channel.answered(Message(encoded.barrier))
    assert channel.settle(sent) is False


def test_nobody_waits_on_a_connection_that_was_lost_before_he_asked() -> None:
    channel = Channel(FakeDatapath())
    channel.lost()
    sent = channel.send(channel.encode((), (), 1))
    assert sent.barrier.done.is_set()
    assert channel.settle(sent) is False


def test_a_question_that_was_refused_is_answered_by_that() -> None:
    channel = Channel(FakeDatapath())
    question = channel._expect(77)
    channel.refused(Message(77))
    with pytest.raises(NoAnswer):
        channel._wait(question)
    assert channel._questions == {}

"""One switch's OpenFlow connection as the controller uses it: send a batch, wait for its barrier, ask.

Matches answers and errors to what they answer, by xid. Whatever is asked by several at a time is asked once. Decides
nothing about rows.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from controllers import sdn
from controllers.rows import PacketOut, PortMap
from controllers.switch import decoding, translator
from controllers.switch.flushing import Flush
from controllers.switch.readings import Contents, Readings
from controllers.switch.reconcile import Change

T = TypeVar("T")

LOG = logging.getLogger("controllers.switch.channel")

ANSWER_TIMEOUT_S = 5.0


class NoAnswer(Exception):
    """The switch went away, or did not answer within ANSWER_TIMEOUT_S."""


@dataclass
class _Question:
    """Something sent that is answered by messages of the same xid."""

    xid: int
    done: Any = field(default_factory=sdn.hub.Event)
    replies: list[Any] = field(default_factory=list)
    lost: bool = False


@dataclass
class Sent:
    """A batch on its way: what each message was for, and what the switch refused."""

    node: int
    barrier: _Question
    purpose: Mapping[int, Change | Flush | PacketOut]
    commit: int | None
    refused: list[str] = field(default_factory=list)


class _Answer(Generic[T]):
    """What those who ask together wait for."""

    def __init__(self) -> None:
        self.done: Any = sdn.hub.Event()
        self.value: T | None = None
        self.error: NoAnswer | None = None


class _Shared(Generic[T]):
    """A question that is asked once for all who ask while it waits its turn.

    Whoever comes while it is being answered gets the next answer: no answer is older than its question.
    """

    def __init__(self, ask: Callable[[], T]) -> None:
        self._ask = ask
        self._running: _Answer[T] | None = None
        self._next: _Answer[T] | None = None

    def __call__(self) -> T:
        answer = self._next
        if answer is None:
            answer = self._next = _Answer()
            if self._running is not None:
                self._running.done.wait()
            self._next, self._running = None, answer
            try:
                answer.value = self._ask()
            except NoAnswer as error:
                answer.error = error
            finally:
                self._running = None
                answer.done.set()
        else:
            answer.done.wait()
        if answer.value is None:
            raise answer.error or NoAnswer("the question came to nothing; see the log")
        return answer.value


class Channel:
    """The connection to node `node`'s switch, from connect to disconnect."""

    def __init__(self, datapath: Any) -> None:
        self.node: int = datapath.id
        self.can_flush = True
        self._datapath = datapath
        self._questions: dict[int, _Question] = {}
        self._sent: list[Sent] = []
        self._bundles = 0
        self._is_lost = False
        self.contents = _Shared(self._contents)
        """Everything the switch holds now. Raises NoAnswer."""
        self.readings = _Shared(self._readings)
        """The same with what groups and meters have counted. Raises NoAnswer."""

    def ports(self) -> PortMap:
        return translator.ports(self._datapath)

    def encode(
        self, changes: Sequence[Change], flushes: Sequence[Flush], round_number: int, packets: Sequence[PacketOut] = ()
    ) -> translator.Encoded:
        self._bundles += 1
        flushes = flushes if self.can_flush else ()
        return translator.encode(self._datapath, changes, flushes, round_number, self._bundles, packets)

    def send(self, encoded: translator.Encoded) -> Sent:
        """Send without waiting; `settle` waits."""
        sent = Sent(self.node, self._expect(encoded.barrier), encoded.purpose, encoded.commit)
        self._sent.append(sent)
        self._datapath.send(encoded.data)
        return sent

    def send_packets(self, packets: Iterable[PacketOut]) -> None:
        """Hand packets to the switch; nothing confirms them. They are dropped where sending would have to wait."""
        data = [translator.packet_out(self._datapath, one) for one in packets]
        if data and not sdn.would_wait(self._datapath):
            self._datapath.send(b"".join(data))

    def settle(self, sent: Sent) -> bool:
        """Wait for the barrier; True when the switch took everything."""
        try:
            self._wait(sent.barrier)
        except NoAnswer:
            return False
        finally:
            self._sent.remove(sent)
        return not sent.refused

    def _contents(self) -> Contents:
        entries: list[decoding.Entry] = []
        for reply in self._ask(translator.flows_request(self._datapath)):
            entries += decoding.entries([reply])
            sdn.hub.sleep(0)  # some hundred rows: what other switches say is not to wait for thousands
        groups = decoding.groups(self._ask(translator.groups_request(self._datapath)))
        return Contents(entries, groups, decoding.meters(self._ask(translator.meters_request(self._datapath))))

    def _readings(self) -> Readings:
        contents = self.contents()
        buckets = decoding.bucket_packets(self._ask(translator.group_counters_request(self._datapath)))
        meters = decoding.meter_packets(self._ask(translator.meter_counters_request(self._datapath)))
        return Readings(contents.entries, contents.groups, buckets, meters)

    def close(self) -> None:
        """Drop the connection; the switch comes back by itself and is read again."""
        self._datapath.close()

    def _ask(self, *requests: Any) -> list[Any]:
        questions = []
        for request in requests:
            data = translator.serialize(self._datapath, request)
            questions.append(self._expect(request.xid))
            self._datapath.send(data)
        return [reply for question in questions for reply in self._wait(question)]

    def _expect(self, xid: int) -> _Question:
        question = self._questions[xid] = _Question(xid)
        if self._is_lost:
            self._give_up(question)
        return question

    def _give_up(self, question: _Question) -> None:
        """It will not be answered."""
        question.lost = True
        question.done.set()

    def _wait(self, question: _Question) -> list[Any]:
        question.done.wait(ANSWER_TIMEOUT_S)
        self._questions.pop(question.xid, None)
        if question.lost or not question.done.is_set():
            raise NoAnswer(f"node{self.node}'s switch did not answer; it is read again when it reconnects")
        return question.replies

    # What the switch said; called by the event shim.

    def answered(self, message: Any, more: bool = False) -> None:
        question = self._questions.get(message.xid)
        if question is None:
            return
        question.replies.append(message)
        if not more:
            question.done.set()

    def refused(self, message: Any) -> None:
        text = translator.error(message)
        for sent in self._sent:
            purpose = sent.purpose.get(message.xid)
            if isinstance(purpose, Flush):
                self.can_flush = False
                LOG.warning("node%d: conntrack flush is not supported (%s): OVS >= 3.1 has it", self.node, text)
                return
            if purpose is not None:
                sent.refused.append(f"{text}: {purpose}")
                LOG.error("node%d refused %s: %s", self.node, purpose, text)
                return
            if message.xid == sent.commit:
                sent.refused.append(text)
        if message.xid in self._questions:
            self._give_up(self._questions[message.xid])
        LOG.error("node%d: error %s, xid %d", self.node, text, message.xid)

    def lost(self) -> None:
        """The connection is gone; nobody waits any longer."""
        self._is_lost = True
        for question in self._questions.values():
            self._give_up(question)

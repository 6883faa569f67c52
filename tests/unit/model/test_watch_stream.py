"""The watch stream as followers read it: in whole lines, without gaps, taken up again where it broke off."""

from __future__ import annotations

import json
from typing import Any

import pytest

from testbed.model import watch
from testbed.model.cluster import ClusterState, Deployment
from testbed.model.watch import Decoder, StreamError

SNAPSHOT = watch.snapshot(ClusterState(5, (1, 2, 3)))


def put(version: int) -> watch.Event:
    return watch.change("PUT", version, "deployment", Deployment("tenant"))


def lines(*events: Any) -> bytes:
    return b"".join(json.dumps(event).encode() + b"\n" for event in events)


def test_a_follower_begins_with_a_snapshot_and_goes_on_where_it_was() -> None:
    decoder = Decoder()
    assert decoder.open() == "/watch?since=-1"
    assert decoder.feed(lines(SNAPSHOT, put(6))) == [SNAPSHOT, put(6)]
    assert decoder.open() == "/watch?since=6"
    assert decoder.feed(lines(put(7))) == [put(7)]


def test_events_lead_to_the_state() -> None:
    state = ClusterState()
    for event in Decoder().feed(lines(SNAPSHOT, put(6))):
        state = state.apply(event)
    assert (state.version, state.nodes, state.deployments) == (6, (1, 2, 3), {"tenant": Deployment("tenant")})


def test_lines_may_come_in_pieces_and_a_half_one_is_forgotten_with_its_connection() -> None:
    decoder, text = Decoder(), lines(SNAPSHOT)
    decoder.open()
    assert [decoder.feed(text[index : index + 1]) for index in range(len(text) - 1)] == [[]] * (len(text) - 1)
    assert not decoder.heard
    assert decoder.feed(text[-1:]) == [SNAPSHOT]
    decoder.feed(lines(put(6))[:20])
    assert decoder.open() == "/watch?since=5"
    assert decoder.feed(lines(put(6))) == [put(6)]


def test_a_heartbeat_is_heard_and_no_change() -> None:
    decoder = Decoder(5)
    decoder.open()
    assert decoder.feed(lines(watch.heartbeat(5))) == []
    assert decoder.heard
    decoder.open()
    assert not decoder.heard


def test_a_gap_in_the_versions_asks_for_a_snapshot() -> None:
    decoder = Decoder(6)
    with pytest.raises(StreamError, match="version 8 does not follow 6; a snapshot is asked for"):
        decoder.feed(lines(put(8)))
    assert decoder.open() == "/watch?since=-1"


def test_a_change_said_twice_is_no_change() -> None:
    with pytest.raises(StreamError, match="version 6 does not follow 6"):
        Decoder(6).feed(lines(put(6)))


@pytest.mark.parametrize("line", [b"no\n", b"[]\n", b'{"type": "PUT"}\n', b'{"type": "PUT", "version": "x"}\n'])
def test_a_line_that_is_no_event_asks_for_a_snapshot(line: bytes) -> None:
    decoder = Decoder(5)
    with pytest.raises(StreamError, match="the apiserver sent a line on /watch that is no event"):
        decoder.feed(lines(put(6)) + line)
    assert decoder.open() == "/watch?since=-1"


def test_a_version_that_the_apiserver_refuses_is_not_asked_for_again() -> None:
    decoder = Decoder(5)
    decoder.check_status(200)
    assert decoder.open() == "/watch?since=5"
    with pytest.raises(StreamError, match="the apiserver answered /watch with status 400; see its log"):
        decoder.check_status(400)
    assert decoder.open() == "/watch?since=-1"


def test_pauses_grow_while_nothing_is_heard() -> None:
    decoder = Decoder(5)
    decoder.open()
    assert [decoder.next_pause_s() for _ in range(7)] == [0.05, 0.1, 0.2, 0.4, 0.8, 1.0, 1.0]
    decoder.open()
    decoder.feed(lines(watch.heartbeat(5)))
    assert [decoder.next_pause_s()] == [0.05]
    decoder.open()
    assert [decoder.next_pause_s() for _ in range(2)] == [0.1, 0.2]

"""The controller's transport of the watch: each event by itself, and on from there after a break.

What is understood of the stream is tested in tests/unit/model/test_watch_stream.py.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from controllers.watch import Watch
from testbed.model import watch
from testbed.model.cluster import ClusterState, Deployment
from testbed.model.watch import Event, StreamError

SNAPSHOT = watch.snapshot(ClusterState(5, (1, 2, 3)))
PUT = watch.change("PUT", 6, "deployment", Deployment("tenant"))


@contextmanager
def apiserver(asked: list[str], status: int, *events: Event) -> Iterator[str]:
    """Says these events to everybody who asks, and hangs up."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(status)
            self.end_headers()
            for event in events:
                self.wfile.write(json.dumps(event).encode() + b"\n")

        def log_message(self, *_: object) -> None:
            """Nothing to standard error."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()


def test_changes_are_handed_on_one_by_one_and_heartbeats_are_not() -> None:
    asked: list[str] = []
    with apiserver(asked, 200, SNAPSHOT, watch.heartbeat(5), PUT) as url:
        following = Watch(url, "credential", lambda event: None)
        assert list(following._events()) == [SNAPSHOT, PUT]
        assert list(following._events()) == [SNAPSHOT, PUT]
    assert asked == ["/watch?since=-1", "/watch?since=6"]


def test_a_refusal_asks_for_a_snapshot() -> None:
    asked: list[str] = []
    with apiserver(asked, 400) as url:
        following = Watch(url, "credential", lambda event: None)
        for _ in range(2):
            with pytest.raises(StreamError, match="the apiserver answered /watch with status 400; see its log"):
                list(following._events())
    assert asked == ["/watch?since=-1"] * 2

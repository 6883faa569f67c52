"""OpenFlow is spoken with the lab's switches, and with nobody else on the management network."""

from __future__ import annotations

import logging
import socket

import pytest

from controllers import sdn


def test_what_is_no_switch_is_closed_at_once_and_said_once(caplog: pytest.LogCaptureFixture) -> None:
    served: list[str] = []
    gate = sdn.Gate(["172.31.0.12", "172.31.0.13"], lambda _, address: served.append(address[0]))
    with caplog.at_level(logging.WARNING):
        for address in ("172.31.0.2", "172.31.0.12", "172.31.0.2", "172.31.0.1", "172.31.0.13"):
            ours, theirs = socket.socketpair()
            gate(ours, (address, 5000))
            if address not in served:
                assert theirs.recv(1) == b""
            ours.close()
            theirs.close()
    assert served == ["172.31.0.12", "172.31.0.13"]
    assert [record.message for record in caplog.records] == [
        "172.31.0.2 is none of the lab's switches: its OpenFlow connections are closed at once",
        "172.31.0.1 is none of the lab's switches: its OpenFlow connections are closed at once",
    ]

"""Ports that tests are given."""

from __future__ import annotations

import socket

from tests.ports import BELOW_CONNECTIONS, free_port


def test_no_port_is_given_twice_and_all_are_free() -> None:
    ports = [free_port() for _ in range(300)]
    assert len(set(ports)) == len(ports)
    assert all(port in BELOW_CONNECTIONS for port in ports)
    for port in ports[:20]:
        socket.create_server(("", port)).close()


def test_a_port_that_somebody_has_at_another_address_is_not_given() -> None:
    port = free_port()
    following = BELOW_CONNECTIONS[(BELOW_CONNECTIONS.index(port) + 1) % len(BELOW_CONNECTIONS)]
    with socket.create_server(("127.9.9.9", following)):
        assert free_port() != following

"""The cluster's books of hosts, without a network: what a failure leaves in them."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

import pytest

from testbed.model.errors import LabError
from testbed.network.cluster import Cluster


class Switch:
    """Refuses to delete a port while its database is away."""

    def __init__(self) -> None:
        self.away = True
        self.deleted: list[str] = []

    def delete_port(self, name: str) -> None:
        if self.away:
            raise LabError("its database restarts")
        self.deleted.append(name)


def test_a_host_whose_switch_is_away_can_be_deleted_again() -> None:
    ended: list[str] = []
    host: Any = SimpleNamespace(name="one", pid=1, terminate=lambda: ended.append("one"))
    link: Any = SimpleNamespace(
        intf1=SimpleNamespace(node=host), intf2=SimpleNamespace(node=None), delete=lambda: ended.append("link")
    )
    switch: Any = Switch()
    net: Any = SimpleNamespace(links=[link], hosts=[host], nameToNode={"one": host})
    cluster = Cluster.__new__(Cluster)
    cluster.net, cluster.nodes = net, {2: switch}
    cluster._lock, cluster._coming, cluster._sandboxes = threading.RLock(), set(), {"one": (host, 2, "10.202.0.1")}
    with pytest.raises(LabError, match="its database restarts"):
        cluster.delete_host("one")
    assert (list(cluster.hosts()), ended, net.hosts) == (["one"], [], [host])
    switch.away = False
    cluster.delete_host("one")
    assert (cluster.hosts(), ended, switch.deleted) == ({}, ["link", "one"], ["n2p1"])
    assert (net.links, net.hosts, net.nameToNode, cluster._coming) == ([], [], {}, set())

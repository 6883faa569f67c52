"""All switches and the generator that feeds them: what each has to look at again, and what must wait for another.

Two things are ordered across switches, and nothing else. An instance is a group's choice only when its own switch
delivers to it; and a connection is forgotten where it ends only when nobody begins it any more. Everything else
goes to each switch as fast as that one takes it. No OpenFlow and no I/O: workers send (worker.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from time import monotonic, perf_counter
from typing import Any

from controllers.desired.generator import Delta, Generator
from controllers.intents import Endpoint
from controllers.policy.book import Book
from controllers.rows import PortMap, Tables
from controllers.switch.flushing import Flush, flushes, is_due, of_eip, together
from controllers.switch.latency import Change as Timed
from controllers.switch.latency import Latencies
from controllers.switch.reconcile import Change
from controllers.switch.state import NEVER, Moment, Switch
from testbed.model.cluster import Instance

Wake = Callable[[int, Timed | None], None]
"""Is told that a node's switch has something to do, and as part of which change."""


class Fleet:
    """What every node's switch should hold, and how far each has come."""

    def __init__(self, wake: Wake = lambda node, timed: None) -> None:
        self.generator = Generator()
        self.switches: dict[int, Switch] = {}
        self.has_snapshot = False
        self.now = Moment()
        self.latencies = Latencies()
        self._wake = wake

    @property
    def version(self) -> int:
        """The newest resource version taken in."""
        return self.generator.index.state.version

    def desired(self, node: int) -> Tables:
        return self.generator.desired.get(node, Tables())

    def switch(self, node: int) -> Switch:
        """What is known of a node's switch, whether it ever connected or not."""
        return self.switches.setdefault(node, Switch(node))

    # What happens

    def event(self, event: Mapping[str, Any]) -> None:
        """One event of the apiserver's watch stream."""
        started_s = perf_counter()
        first = not self.has_snapshot and event["type"] == "SNAPSHOT"
        self._withhold(event)
        touched = self._touch(self.generator.apply(event), started_s, 1)
        if event.get("kind") != "instance":  # what the policies mean may have changed with the functions there are
            self._police(touched)
        if event["type"] == "SNAPSHOT":
            self._touch(self.generator.release(set(self.generator.withheld)), started_s, 0)
        if event["type"] == "DELETE" and event["kind"] == "instance":
            self._forget(Instance.from_json(event["object"]))
        if first:  # switches are read, not told, as soon as there is a snapshot
            self.has_snapshot = True
            for node in self.switches:
                self._wake(node, None)

    def set_policies(self, policies: Book) -> set[int]:
        """From now on these are the provider's policies; the nodes that this concerns."""
        started_s = perf_counter()
        touched = self._touch(self.generator.set_policies(policies), started_s, 0)
        self._police(touched)
        return touched

    def switch_connected(self, node: int, ports: PortMap) -> Switch:
        """A switch is there; nothing is sent to it before it was read."""
        switch = self.switch(node)
        switch.distrust()
        switch.ports = dict(ports)
        switch.connected = True
        return switch

    def switch_gone(self, node: int) -> None:
        """Its connection is lost; what it owes it owes when it is back."""
        self.switches[node].distrust()
        self.switches[node].connected = False
        self._wake_all_that_owe()

    def ports_changed(self, node: int, ports: PortMap) -> None:
        """A switch's ports came, went or moved."""
        before, self.now = self.now, Moment(self.now.revision + 1, self.now.version)
        self.switches[node].touch_ports(ports, before)
        self._wake(node, None)

    def told(self, node: int, ordered: Iterable[Change]) -> None:
        """These changes are on their way to a switch: what they forbid is owed from now on."""
        first = self.reached(node).revision + 1  # the earliest that can have brought these changes
        self._owe(flushes(node, ordered, self.generator.index), first)

    def settled(self, node: int, ordered: Iterable[Change]) -> None:
        """A switch has taken these changes. Instances that it now delivers to may be chosen everywhere."""
        arrived = self.switches[node].settle(ordered)
        self._touch(self.generator.release(arrived), perf_counter(), 0)
        self._wake_all_that_owe()

    # What is so

    def reached(self, node: int) -> Moment:
        """How much of history a node's switch has confirmed."""
        return self.switch(node).reached(self.now)

    @property
    def everywhere(self) -> Moment:
        """How much of it every connected switch has confirmed; nothing while one was not read."""
        reached = (one.reached(self.now) for one in self._connected)
        return min(reached, key=lambda it: it.revision, default=NEVER)

    def holds_policies(self, node: int) -> bool:
        """Whether a node's switch has what the policies say as they are now, and has forgotten what they forbid."""
        switch = self.switch(node)
        return self.reached(node).revision >= switch.policed and not switch.owed.has_first(switch.policed)

    def is_due(self, flush: Flush) -> bool:
        return is_due(flush, self.generator.index, self.generator.allows)

    def together(self, flushes: Iterable[Flush]) -> tuple[Flush, ...]:
        """These flushes, which are due, in fewer messages."""
        return together(flushes, self.generator.index, self.generator.callees)

    def reaches(self, endpoint: Endpoint) -> bool:
        """Whether the endpoint's own switch delivers to it, as far as is known."""
        home = self.switches.get(endpoint.node)
        return home is not None and home.told is not None and endpoint.eip in home.delivers

    # How

    def _touch(self, deltas: Mapping[int, Delta], started_s: float, events: int) -> set[int]:
        """Hand what differs to the switches concerned; their nodes."""
        touched = {node: delta for node, delta in deltas.items() if delta}
        before, self.now = self.now, Moment(self.now.revision + bool(touched), self.version)
        here = [node for node in touched if self.switch(node).connected]
        timed = self.latencies.begun(started_s, perf_counter(), self.version, events, here) if here else None
        for node, delta in touched.items():
            self.switch(node).touch(delta, before)
            self._wake(node, timed)
        return set(touched)

    def _withhold(self, event: Mapping[str, Any]) -> None:
        """A new instance whose switch does not deliver to it yet is nobody's choice before it does.

        Those that are chosen already may have been in use for long, and so may those of a snapshot: they stay.
        """
        if event["type"] != "PUT" or event["kind"] != "instance":
            return
        instance = Instance.from_json(event["object"])
        home = self.switches.get(instance.node)
        if not self._is_chosen(instance.eip) and not (home and instance.eip in home.delivers):
            self.generator.withheld.add(instance.eip)

    def _forget(self, instance: Instance) -> None:
        """An instance has left. Its port may have gone before, and its rows with it, when its eIP was still its own."""
        if instance.eip not in self.generator.index.ports:
            self.generator.withheld.discard(instance.eip)
            nodes = self.generator.index.state.nodes
            self._owe(of_eip(instance.node, instance.eip, nodes), self.now.revision)

    def _owe(self, owed: Iterable[Flush], since: int) -> None:
        """Connections are to be forgotten. Late ones wait for all that has happened by now."""
        now_s = monotonic()
        for flush in owed:
            self.switch(flush.node).owed.add(flush, self.now.revision if flush.late else since, now_s)
            self._wake(flush.node, None)

    def _is_chosen(self, eip: str) -> bool:
        """Whether groups know it as an endpoint already."""
        index = self.generator.index
        port = index.ports.get(eip)
        owner = index.workloads.get(port.workload) if port else None
        return owner is not None and any(endpoint.eip == eip for endpoint in owner.endpoints)

    def _wake_all_that_owe(self) -> None:
        """A late flush may be due: it waits for the other switches."""
        for switch in self._connected:
            if len(switch.owed):
                self._wake(switch.node, None)

    def _police(self, nodes: Iterable[int]) -> None:
        """What the policies say may have changed on these nodes just now."""
        for node in nodes:
            self.switch(node).policed = self.now.revision

    @property
    def _connected(self) -> list[Switch]:
        return [switch for switch in self.switches.values() if switch.connected]

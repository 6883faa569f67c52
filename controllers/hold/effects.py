"""Hold-and-release with its effects: punted packets in, packets out to switches, questions to the scaler.

Decides nothing: machine.py does. It is called by the event shim for each punted packet and by the switches'
workers around each bundle, and has one greenlet of its own, for the time that passes while calls are held.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from time import monotonic
from typing import Any

import requests

from controllers import pipeline as p
from controllers import sdn
from controllers.hold.machine import ACCEPTED, Activate, Effect, Holds, Punt, Release, Reset, Standing
from controllers.rows import OutputPort, PacketOut, Resubmit, SetField
from controllers.switch.crew import Crew
from controllers.switch.reconcile import Change, PutGroup
from testbed.model.credentials import bearer

LOG = logging.getLogger("controllers.hold.effects")

TICK_S = 0.1
SCALER_TIMEOUT_S = 3.0


class Holding:
    """What is held, for all switches."""

    def __init__(self, crew: Crew, scaler_url: str, credential: str) -> None:
        self.holds = Holds()
        self._crew = crew
        self._fleet = crew.fleet
        self._url = scaler_url.rstrip("/") + "/activate"
        self._something = sdn.hub.Event()
        self._session = requests.Session()
        self._session.headers["Authorization"] = bearer(credential)
        self._session.trust_env = False  # a proxy of the machine's is no way to the scaler

    def run(self) -> None:
        """Let time pass for what is held, for ever."""
        while True:
            self._something.wait()
            self._something.clear()
            while self.holds.busy:
                sdn.hub.sleep(TICK_S)
                self._perform(self.holds.tick(monotonic()))

    # Said by the event shim

    def punted(self, node: int, cookie: int, match: Mapping[str, Any], frame: bytes) -> None:
        """A switch handed over a packet. Cheap, and never waits: other messages of the switch are behind it.

        Before the first snapshot it is dropped: nobody knows yet whether there is such a function, and the SYN comes
        again.
        """
        punt = read(node, cookie, match, frame)
        if punt is not None and self._fleet.switch(node).connected and self._fleet.has_snapshot:
            self._perform(self.holds.punted(punt, self._standing(punt), monotonic()))

    # Said by the switches' workers

    def leaving_with(self, node: int, changes: Iterable[Change]) -> list[PacketOut]:
        """What is to go in one bundle with these changes; `settled` follows."""
        opened = [change.group.id for change in changes if isinstance(change, PutGroup)]
        releases = [
            release for callee in opened if self._reachable(callee) for release in self.holds.opening(node, callee)
        ]
        return [_packet(release) for release in releases]

    def settled(self, node: int, taken: bool) -> None:
        """The switch has taken the bundle, or has not."""
        if taken:
            self.holds.confirmed(node)
        else:
            self.holds.failed(node)

    def look(self) -> None:
        """Changes have been made: what is still held may go on, or is hopeless."""
        if self.holds.busy:
            self._perform(self.holds.settle(self._standing))
        if self.holds.counts.keys() - self._workloads.keys():
            self.holds.forget(self.holds.counts.keys() - self._workloads.keys())

    # Asked by the northbound interface

    def statistics(self) -> list[dict[str, Any]]:
        """For each function that ever had a call held, since the controller started."""
        return [
            {"function": self._workloads[callee].name, "now": self.holds.now(callee), **asdict(counts)}
            for callee, counts in sorted(self.holds.counts.items())
            if callee in self._workloads
        ]

    # How

    @property
    def _workloads(self) -> Mapping[int, Any]:
        return self._fleet.generator.index.workloads

    def _standing(self, punt: Punt) -> Standing:
        if punt.callee not in self._workloads or not self._fleet.generator.allows(punt.caller, punt.callee):
            return Standing.GONE
        told = self._fleet.switches[punt.node].told  # what is sent after this meets these rows
        if told is not None and punt.callee in told.groups and self._reachable(punt.callee):
            return Standing.OPEN
        return Standing.CLOSED

    def _reachable(self, callee: int) -> bool:
        workload = self._workloads.get(callee)
        return workload is not None and any(self._fleet.reaches(endpoint) for endpoint in workload.endpoints)

    def _perform(self, effects: Iterable[Effect]) -> None:
        packets: dict[int, list[PacketOut]] = {}
        for effect in effects:
            match effect:
                case Release(punt, _):
                    packets.setdefault(punt.node, []).append(_packet(effect))
                case Reset(node, port, frame):
                    packets.setdefault(node, []).append(PacketOut(frame, None, (OutputPort(port),)))
                case Activate(callee):
                    sdn.hub.spawn(self._activate, callee)
        for node, frames in packets.items():
            self._crew.send_packets(node, frames)
        if self.holds.busy:
            self._something.set()

    def _activate(self, callee: int) -> None:
        workload = self._workloads.get(callee)
        if workload is None:
            return
        if not workload.scaled:  # a store comes back by itself, or its callers get a reset in time
            self._perform(self.holds.answered(callee, ACCEPTED, monotonic()))
            return
        status: int | None = None
        try:
            answer = self._session.post(self._url, json={"function": workload.name}, timeout=SCALER_TIMEOUT_S)
            status = answer.status_code
            if status >= 400:
                LOG.warning("the scaler answered for %s: %d %s", workload.name, status, answer.text.strip()[:200])
        except requests.RequestException as error:
            LOG.warning("%s does not answer for %s: %s", self._url, workload.name, type(error).__name__)
        self._perform(self.holds.answered(callee, status, monotonic()))


def read(node: int, cookie: int, match: Mapping[str, Any], frame: bytes) -> Punt | None:
    """A packet-in by the row that caused it; None where it is not one of the rows that hold."""
    category, thing = p.category_of(cookie), p.object_of(cookie)
    if category is p.Category.HOLD:
        caller, callee = p.call_of(thing)
        return Punt(node, match["in_port"], caller, callee, frame)
    if category is p.Category.NO_INSTANCE:
        return Punt(node, match["in_port"], match.get(p.REG_WORKLOAD.name, 0), thing, frame, counted=True)
    return None


def _packet(release: Release) -> PacketOut:
    punt = release.punt
    identity = (
        SetField(p.REG_SOURCE.name, int(p.Source.LOCAL)),
        SetField(p.REG_WORKLOAD.name, punt.caller),
        Resubmit(release.table),
    )
    return PacketOut(punt.frame, punt.in_port, identity)

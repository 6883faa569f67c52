"""The Ryu app: OpenFlow and apiserver events in, to those who deal with them. No logic of its own."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from controllers import sdn
from controllers.hold.effects import Holding
from controllers.northbound.access import Guarded
from controllers.northbound.policies import Policies, PolicyRoutes
from controllers.northbound.read import Northbound
from controllers.policy.file import PolicyStore
from controllers.switch.channel import Channel
from controllers.switch.crew import Crew
from controllers.watch import Watch
from testbed.model.credentials import CREDENTIAL_VARIABLE, Keyring

_events = sdn.ofp_event


class DirectFaaS(sdn.RyuApp):
    """Owns the switches' workers and what is held; started by the launcher."""

    OFP_VERSIONS = (sdn.ofproto.OFP_VERSION,)
    _CONTEXTS = {"wsgi": Guarded}  # noqa: RUF012 - ryu reads it so

    def __init__(self, *args: Any, wsgi: Guarded, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._crew = Crew()
        credential = _read(os.environ.get(CREDENTIAL_VARIABLE, ""))
        self._holding = Holding(self._crew, self.CONF.scaler, credential)
        self._crew.carry(self._holding)
        state = os.environ.get("TESTBED_STATE")
        policies = Policies(self._crew, PolicyStore(Path(state) / "policies.json" if state else None))
        self._channels: dict[Any, Channel] = {}

        def heard(change: Mapping[str, Any]) -> None:
            self._crew.fleet.event(change)
            if (change["type"], change.get("kind")) == ("DELETE", "deployment"):
                policies.namespace_gone(change["object"]["namespace"])

        watch = Watch(self.CONF.apiserver, credential, heard)
        wsgi.register(Northbound, {"crew": self._crew, "holding": self._holding})
        wsgi.register(PolicyRoutes, {"policies": policies})
        keyring = Keyring(bytes.fromhex(_read(self.CONF.lab_key)))
        wsgi.guard(keyring, lambda: self._crew.fleet.generator.index.state.deployments)
        self.threads += [sdn.spawn(task) for task in (self._holding.run, watch.run)]

    @sdn.set_ev_cls(_events.EventOFPStateChange, [sdn.MAIN_DISPATCHER, sdn.DEAD_DISPATCHER])
    def on_state(self, event: Any) -> None:
        datapath = event.datapath
        if event.state == sdn.MAIN_DISPATCHER:
            channel = self._channels[datapath] = Channel(datapath)
            self._crew.connected(channel)
        elif datapath in self._channels:
            channel = self._channels.pop(datapath)
            channel.lost()
            self._crew.disconnected(channel)

    @sdn.set_ev_cls(_events.EventOFPPortStateChange, sdn.MAIN_DISPATCHER)
    def on_ports(self, event: Any) -> None:
        self._crew.ports_changed(event.datapath.id)

    @sdn.set_ev_cls(_events.EventOFPBarrierReply, sdn.MAIN_DISPATCHER)
    def on_barrier(self, event: Any) -> None:
        self._channel(event).answered(event.msg)

    @sdn.set_ev_cls(
        [
            _events.EventOFPFlowStatsReply,
            _events.EventOFPGroupDescStatsReply,
            _events.EventOFPGroupStatsReply,
            _events.EventOFPMeterConfigStatsReply,
            _events.EventOFPMeterStatsReply,
        ],
        sdn.MAIN_DISPATCHER,
    )
    def on_statistics(self, event: Any) -> None:
        self._channel(event).answered(event.msg, more=bool(event.msg.flags & sdn.ofproto.OFPMPF_REPLY_MORE))

    @sdn.set_ev_cls(_events.EventOFPPacketIn, sdn.MAIN_DISPATCHER)
    def on_packet(self, event: Any) -> None:
        message = event.msg
        self._holding.punted(message.datapath.id, message.cookie, message.match, message.data)

    @sdn.set_ev_cls(_events.EventOFPErrorMsg, sdn.MAIN_DISPATCHER)
    def on_error(self, event: Any) -> None:
        self._channel(event).refused(event.msg)

    def _channel(self, event: Any) -> Channel:
        return self._channels[event.msg.datapath]


def _read(file: str) -> str:
    """The content of a file that only root may read, "" where none is named."""
    return Path(file).read_text().strip() if file else ""

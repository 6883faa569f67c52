"""The Ryu app: OpenFlow and apiserver events in, to the conductor. No logic of its own."""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from controllers import sdn
from controllers.conductor import Conductor, Connected, Disconnected, PortsChanged, Watched
from controllers.northbound.policies import Policies, PolicyRoutes
from controllers.northbound.read import Northbound
from controllers.policy.file import PolicyStore
from controllers.switch.channel import Channel
from controllers.watch import Watch

_events = sdn.ofp_event


def _run_or_exit(run: Callable[[], None]) -> None:
    """A controller that lost one of its greenlets would look alive and do nothing; ending gets it restarted."""
    try:
        run()
    except Exception:  # noqa: BLE001 - any mistake at all, and it is not swallowed
        traceback.print_exc()
        os._exit(1)


class DirectFaaS(sdn.RyuApp):
    """Owns the conductor; started by the launcher."""

    OFP_VERSIONS = (sdn.ofproto.OFP_VERSION,)
    _CONTEXTS = {"wsgi": sdn.WSGIApplication}  # noqa: RUF012 - ryu reads it so

    def __init__(self, *args: Any, wsgi: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._conductor = Conductor(self.CONF.scaler)
        state = os.environ.get("TESTBED_STATE")
        policies = Policies(self._conductor, PolicyStore(Path(state) / "policies.json" if state else None))
        self._channels: dict[Any, Channel] = {}
        watch = Watch(self.CONF.apiserver, lambda event: self._conductor.tell(Watched(event)))
        wsgi.register(Northbound, {"conductor": self._conductor})
        wsgi.register(PolicyRoutes, {"policies": policies})
        tasks = (self._conductor.run, self._conductor.holding.run, watch.run)
        self.threads += [sdn.hub.spawn(_run_or_exit, task) for task in tasks]

    @sdn.set_ev_cls(_events.EventOFPStateChange, [sdn.MAIN_DISPATCHER, sdn.DEAD_DISPATCHER])
    def on_state(self, event: Any) -> None:
        datapath = event.datapath
        if event.state == sdn.MAIN_DISPATCHER:
            channel = self._channels[datapath] = Channel(datapath)
            self._conductor.tell(Connected(channel))
        elif datapath in self._channels:
            channel = self._channels.pop(datapath)
            channel.lost()
            self._conductor.tell(Disconnected(channel))

    @sdn.set_ev_cls(_events.EventOFPPortStateChange, sdn.MAIN_DISPATCHER)
    def on_ports(self, event: Any) -> None:
        self._conductor.tell(PortsChanged(event.datapath.id))

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
        self._conductor.holding.punted(message.datapath.id, message.cookie, message.match, message.data)

    @sdn.set_ev_cls(_events.EventOFPErrorMsg, sdn.MAIN_DISPATCHER)
    def on_error(self, event: Any) -> None:
        self._channel(event).refused(event.msg)

    def _channel(self, event: Any) -> Channel:
        return self._channels[event.msg.datapath]

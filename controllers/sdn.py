"""The one module that imports ryu by name, so that a fork of it stays a one-file change away.

It also mends what ryu 4.34 needs on a current eventlet; import it after eventlet's monkey patching.
"""

from __future__ import annotations

import logging
import os
import struct
import traceback
from collections.abc import Callable, Collection, Sequence
from typing import Any

import eventlet.wsgi

# ryu 4.34 asks eventlet for a sentinel that eventlet dropped in 0.31.
if not hasattr(eventlet.wsgi, "ALREADY_HANDLED"):
    eventlet.wsgi.ALREADY_HANDLED = object()

from ryu import cfg
from ryu.app.wsgi import ControllerBase, Response, WSGIApplication, WSGIServer, route
from ryu.base.app_manager import AppManager, RyuApp
from ryu.controller import controller as _controller  # also registers the listener's settings
from ryu.controller import ofp_event
from ryu.controller.controller import Datapath
from ryu.controller.handler import DEAD_DISPATCHER, MAIN_DISPATCHER, set_ev_cls
from ryu.lib import hub, type_desc
from ryu.ofproto import nicira_ext, oxm_fields
from ryu.ofproto import ofproto_v1_3 as ofproto
from ryu.ofproto import ofproto_v1_3_parser as parser
from ryu.ofproto.ofproto_protocol import ProtocolDesc

LOG = logging.getLogger("controllers.sdn")

__all__ = [
    "DEAD_DISPATCHER",
    "MAIN_DISPATCHER",
    "ControllerBase",
    "Datapath",
    "Gate",
    "ProtocolDesc",
    "Response",
    "RyuApp",
    "WSGIApplication",
    "hub",
    "nicira_ext",
    "ofp_event",
    "ofproto",
    "parser",
    "route",
    "run",
    "set_ev_cls",
    "spawn",
    "would_wait",
]

# The addresses by which a connection's opener began it (OVS, nicira-ext.h), which ryu does not know.
ofproto.oxm_types += [
    oxm_fields.NiciraExtended1("ct_nw_src", 120, type_desc.IPv4Addr),
    oxm_fields.NiciraExtended1("ct_nw_dst", 121, type_desc.IPv4Addr),
]
oxm_fields.generate(ofproto.__name__)


class RawStats(bytes):
    """One entry of a multipart reply as it came: ryu takes some 0.4 ms to parse a row, and most were seen before."""

    @property
    def length(self) -> int:
        return len(self)

    @classmethod
    def parser(cls, buffer: bytes, offset: int) -> RawStats:
        (length,) = struct.unpack_from("!H", buffer, offset)
        return cls(buffer[offset : offset + length])


for _reply in (parser.OFPFlowStatsReply, parser.OFPGroupDescStatsReply):
    _reply.cls_stats_body_cls = RawStats

ECHO_INTERVAL_S = 5
REST_IDLE_S = 30
UNANSWERED_ECHOES = 3
"""A switch that answers nothing for about 15 s counts as gone."""


def spawn(run: Callable[[], None]) -> Any:
    """A greenlet that the controller cannot do without: a mistake in it ends the process, which is then restarted.

    A controller that lost one of them would look alive and do nothing.
    """
    return hub.spawn(_run_or_exit, run)


def _run_or_exit(run: Callable[[], None]) -> None:
    try:
        run()
    except Exception:  # noqa: BLE001 - any mistake at all, and it is not swallowed
        traceback.print_exc()
        os._exit(1)


def would_wait(datapath: Datapath) -> bool:
    """Whether to send anything now would wait for a switch that takes nothing."""
    return bool(datapath._send_q_sem.locked())


class _RestServer(WSGIServer):
    """Who says nothing for a while has no place, and a mistake of ours is told to our log only."""

    def serve_forever(self) -> None:
        log = hub.LoggingWrapper()
        eventlet.wsgi.server(self.server, self.handle, log, socket_timeout=REST_IDLE_S, debug=False)


class Gate:
    """Serves switches, by their addresses, and closes what else connects: who is turned away is named once."""

    def __init__(self, switches: Collection[str], serve: Callable[[Any, tuple[str, int]], None]) -> None:
        self._switches = frozenset(switches)
        self._serve = serve
        self._said: set[str] = set()

    def __call__(self, socket: Any, address: tuple[str, int]) -> None:
        if address[0] in self._switches:
            self._serve(socket, address)
            return
        socket.close()
        if address[0] not in self._said:
            self._said.add(address[0])
            LOG.warning("%s is none of the lab's switches: its OpenFlow connections are closed at once", address[0])


def run(
    app_module: str, openflow: tuple[str, int], rest: tuple[str, int], switches: Collection[str], **settings: str
) -> None:
    """Run the Ryu app of a module until interrupted: OpenFlow on one address and port, REST on another.

    OpenFlow is spoken with `switches`, the addresses of the nodes, and with nobody else.

    `settings` reach the app as `app.CONF.<name>`. ryu's own manager does the same with more options,
    and crashes on a current eventlet.
    """
    cfg.CONF(args=[], project="directfaas", default_config_files=[])
    cfg.CONF.register_opts([cfg.StrOpt(name) for name in settings])
    overrides: dict[str, Any] = {
        **settings,
        "ofp_listen_host": openflow[0],
        "ofp_tcp_listen_port": openflow[1],
        "echo_request_interval": ECHO_INTERVAL_S,
        "maximum_unreplied_echo_requests": UNANSWERED_ECHOES,
        "wsapi_host": rest[0],
        "wsapi_port": rest[1],
    }
    for name, value in overrides.items():
        cfg.CONF.set_override(name, value)
    logging.getLogger("ryu").setLevel(logging.WARNING)
    _controller.datapath_connection_factory = Gate(switches, _controller.datapath_connection_factory)
    manager = AppManager.get_instance()
    manager.load_apps([app_module])
    contexts = manager.create_contexts()
    services: Sequence[Any] = manager.instantiate_apps(**contexts)
    web = [hub.spawn(_RestServer(value)) for value in contexts.values() if isinstance(value, WSGIApplication)]
    try:
        hub.joinall([*services, *web])
    finally:
        manager.close()

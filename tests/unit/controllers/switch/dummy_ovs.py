"""A real ovs-vswitchd with a dummy datapath, for tests: own folder, own database, no root, no namespace."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from controllers import sdn
from controllers.switch import translator

SCHEMA = Path("/usr/share/openvswitch/vswitch.ovsschema")
_ofp, _parser = sdn.ofproto, sdn.parser


@contextmanager
def vswitchd(folder: Path) -> Iterator[Path]:
    """Runs ovsdb-server and ovs-vswitchd until the block ends; gives the run folder."""
    environment = {**os.environ, "OVS_RUNDIR": str(folder), "OVS_LOGDIR": str(folder), "OVS_DBDIR": str(folder)}
    database = folder / "conf.db"
    subprocess.run(["ovsdb-tool", "create", database, SCHEMA], env=environment, check=True)
    quiet = {"env": environment, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    remote = f"unix:{folder}/db.sock"
    servers = [subprocess.Popen(["ovsdb-server", database, f"--remote=p{remote}"], **quiet)]
    try:
        while not (folder / "db.sock").exists():
            assert servers[0].poll() is None, "ovsdb-server did not start"
        subprocess.run(["ovs-vsctl", f"--db={remote}", "--no-wait", "init"], env=environment, check=True)
        log = f"--log-file={folder}/vswitchd.log"
        servers.append(subprocess.Popen(["ovs-vswitchd", remote, "--enable-dummy=override", log], **quiet))
        yield folder
    finally:
        for server in reversed(servers):
            server.terminate()
            server.wait(10)


def add_bridge(folder: Path, name: str, ports: list[str]) -> None:
    """A bridge that starts empty, with dummy ports."""
    command = ["ovs-vsctl", f"--db=unix:{folder}/db.sock", "add-br", name, "--", "set", "bridge", name]
    command += ["datapath_type=dummy", "fail_mode=secure", "protocols=OpenFlow13"]
    for port in ports:
        command += ["--", "add-port", name, port, "--", "set", "interface", port, "type=dummy"]
    subprocess.run(command, check=True, timeout=30)


class Connection:
    """A plain OpenFlow connection to a bridge, as a controller has it, without a controller."""

    def __init__(self, folder: Path, bridge: str) -> None:
        self.datapath = sdn.ProtocolDesc(version=_ofp.OFP_VERSION)
        self.datapath.xid = 1
        self.datapath.set_xid = self._set_xid
        self.datapath.ports = {}
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(20)
        self._socket.connect(str(folder / f"{bridge}.mgmt"))
        self._buffer = b""
        self._socket.sendall(translator.serialize(self.datapath, _parser.OFPHello(self.datapath)))

    def _set_xid(self, message: Any) -> int:
        self.datapath.xid += 1
        message.set_xid(self.datapath.xid)
        return int(self.datapath.xid)

    def close(self) -> None:
        self._socket.close()

    def deliver(self, encoded: translator.Encoded) -> list[Any]:
        """Send a batch; the errors that came before its barrier."""
        self._socket.sendall(encoded.data)
        errors = []
        while True:
            message = self._next()
            if isinstance(message, _parser.OFPErrorMsg):
                errors.append(message)
            elif message is not None and message.xid == encoded.barrier:
                return errors

    def ask(self, request: Any) -> list[Any]:
        """Every part of a multipart answer."""
        self._socket.sendall(translator.serialize(self.datapath, request))
        replies = []
        while True:
            message = self._next()
            if isinstance(message, _parser.OFPMultipartReply) and message.xid == request.xid:
                replies.append(message)
                if not message.flags & _ofp.OFPMPF_REPLY_MORE:
                    return replies

    def punt_of(self, data: bytes) -> Any:
        """The first packet-in after `data` was sent. OVS gives a passive connection none unless it asks."""
        settings = _parser.OFPSetConfig(self.datapath, _ofp.OFPC_FRAG_NORMAL, 128)
        self._socket.sendall(translator.serialize(self.datapath, settings) + data)
        while True:
            message = self._next()
            if isinstance(message, _parser.OFPPacketIn):
                return message

    def ports(self) -> dict[str, int]:
        replies = self.ask(_parser.OFPPortDescStatsRequest(self.datapath, 0))
        self.datapath.ports = {port.port_no: port for reply in replies for port in reply.body}
        return translator.ports(self.datapath)

    def _next(self) -> Any:
        header = self._take(8)
        version, kind, length, xid = _parser.ofproto_parser.header(header)
        return _parser.ofproto_parser.msg(self.datapath, version, kind, length, xid, header + self._take(length - 8))

    def _take(self, count: int) -> bytes:
        while len(self._buffer) < count:
            received = self._socket.recv(65536)
            assert received, "the switch closed the connection"
            self._buffer += received
        taken, self._buffer = self._buffer[:count], self._buffer[count:]
        return taken

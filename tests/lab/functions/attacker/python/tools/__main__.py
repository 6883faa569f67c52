"""Runs one tool; its answer is "yes" and what the tool saw, or "no" and the name of the error."""

import errno
import inspect
import os
import sys

from function.tools import burdens, files, kernel, processes, sockets, sql
from function.tools.answers import Refused

TOOLS = {
    "find": files.find, "open": files.open_files, "create": files.create, "relink": files.relink,
    "device": files.device, "setuid": files.setuid_files,
    "signal": processes.send_signal, "signal-all": processes.signal_all, "trace": processes.trace,
    "memory": processes.memory, "steal": processes.steal, "processes": processes.processes, "crash": processes.crash,
    "call": kernel.call, "clone": kernel.clone, "clone3": kernel.clone3, "limit": kernel.limit, "key": kernel.key,
    "netlink": sockets.netlink, "interface": sockets.interface, "frame": sockets.frame,
    "datagram": sockets.datagram, "tcp": sockets.tcp, "scan": sockets.scan, "unix": sockets.unix,
    "fill": burdens.fill, "files": burdens.many_files, "bomb": burdens.bomb, "orphan": burdens.orphan,
    "talk": burdens.talk, "hold": burdens.hold,
    "sql": sql.statement,
}  # fmt: skip


def run(words):
    """What a tool saw. `enter PATH [TOOL ...]` goes to another namespace and does it there."""
    name, *arguments = words
    if name == "enter":
        processes.enter(arguments[0])
        return run(arguments[1:]) if arguments[1:] else "entered"
    if name not in TOOLS:
        raise Refused(f"there is no tool {name}")
    inspect.signature(TOOLS[name]).bind(*arguments)
    return TOOLS[name](*arguments)


def main():
    try:
        said = f"yes\n{run(sys.argv[1:])}"
    except OSError as error:
        said = f"no\n{errno.errorcode.get(error.errno, error)}"
    except Refused as error:
        said = f"no\n{error}"
    os.write(1, said.encode(errors="replace"))


main()

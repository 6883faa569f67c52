"""A place without a lab: grounds, and one program kept there, in namespaces that end with it.

`run` is for tests; `python -m tests.lab.network.place_rig ORDER.json` is what it starts as the first process of
namespaces as a lab has them.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from testbed.network.process import place, skeleton
from testbed.network.process.cgroups import Cgroups
from testbed.network.process.namespaces import bring_up, set_sysctl
from testbed.network.process.place import Access, Grounds, Place, Start, Status
from tests.lab.conftest import CHECKOUT

USER_ID = 1 << 28 | 7
PYTHON = str(skeleton.PYTHON)
NAMESPACES = ("--net", "--uts", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child=SIGKILL")


@dataclass(frozen=True)
class Result:
    """How a program ended, what it wrote, and what was read from the pipe that it had as descriptor PIPE."""

    end: str | None
    exit_code: int
    output: str
    read: str
    left: list[str]
    """The command lines of what still runs in the lab's namespace."""
    host_name: str
    """The lab's, afterwards."""


def run(
    folder: Path,
    argv: Sequence[str],
    *,
    umask: int = 0o022,
    signal_after_s: tuple[int, float | None] | None = None,
    environment: Mapping[str, str] | None = None,
    checkout: Path = CHECKOUT,
    **own: Any,
) -> Result:
    """Run a program in a place of its own with these properties of `Place`; {PIPE} in argv is a pipe's descriptor.

    `signal_after_s`: a signal for its first process, and when: so long after the start, or (None) at the pipe's end.
    """
    folder = Path(tempfile.mkdtemp(dir=folder))
    order = {"folder": str(folder), "argv": list(argv), "own": own, "signal": signal_after_s, "umask": umask,
             "environment": dict(environment or {}), "checkout": str(checkout)}  # fmt: skip
    file = folder / "order.json"
    file.write_text(json.dumps(order, default=str))
    module = ("-m", "tests.lab.network.place_rig", str(file))
    done = subprocess.run(
        ["unshare", *NAMESPACES, sys.executable, *module],
        cwd=CHECKOUT, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return Result(**json.loads(done.stdout.splitlines()[-1]))


def ask(folder: Path, code: str, **own: Any) -> Any:
    """What this Python code, in a place, assigns to `answer`."""
    result = run(folder, (PYTHON, "-c", f"import json, os\n{code}\nprint(json.dumps(answer))"), **own)
    assert result.end == "ended with exit code 0", result
    return json.loads(result.output.splitlines()[-1])


def shell(folder: Path, command: str, **own: Any) -> Result:
    return run(folder, ("/bin/sh", "-c", command), **own)


def main() -> None:
    order = json.loads(Path(sys.argv[1]).read_text())
    folder = Path(order["folder"])
    os.umask(order["umask"])
    skeleton.CHECKOUT = Path(order["checkout"])
    os.setgroups([4])  # something to be given up
    grounds = Grounds.of_lab(folder)
    grounds.prepare(())
    set_sysctl("net.ipv4.ip_unprivileged_port_start", 0)
    bring_up("lo")
    read_end, write_end = os.pipe2(os.O_CLOEXEC)
    argv = [word.replace("{PIPE}", str(write_end)) for word in order["argv"]]
    own = {key: Path(value) if key in ("program", "data") else value for key, value in order["own"].items()}
    own |= {"access": Access(own["access"])} if "access" in own else {}
    own |= {key: {Path(path): seen for path, seen in own[key].items()} for key in ("shown",) if key in own}
    own |= {key: {name: text.encode() for name, text in own[key].items()} for key in ("secrets", "files") if key in own}
    where = Place(own.pop("name", "one.t.1"), USER_ID, "10.202.0.1", **own)
    status = folder / "status"
    what = Start(argv, order["environment"], folder / "output", folder / "pid", status, fds=(write_end,))
    child = place.start(where, what, None, grounds, Cgroups("none", ()))
    os.close(write_end)
    number, after_s = order["signal"] or (0, 0.0)
    if number and after_s is not None:
        time.sleep(after_s)
        os.kill(child.pid, number)
    with os.fdopen(read_end) as pipe:
        read = pipe.read()
    if number and after_s is None:
        os.kill(child.pid, number)
    code = child.wait(60)
    lines = [file.read_bytes() for file in Path("/proc").glob("[0-9]*/cmdline") if file.parent.name != str(os.getpid())]
    left = [line.replace(b"\0", b" ").decode().strip() for line in lines if line]
    output = (folder / "output").read_text(errors="replace")
    print(json.dumps(asdict(Result(Status.read(status).end, code, output, read, left, os.uname().nodename))))


if __name__ == "__main__":
    main()

"""Stands for a place's first process where nobody is root: it says the same, hands on SIGTERM, and keeps nothing in.

`first_process.py STATUS_FILE FDS PROGRAM [ARG...]`
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

PR_SET_PDEATHSIG = 1


def main() -> None:
    status_file = Path(sys.argv[1])
    fds = [int(fd) for fd in sys.argv[2].split(",") if fd]
    libc = ctypes.CDLL(None)
    status_file.write_text(f"start {time.monotonic_ns()}\n")
    program = subprocess.Popen(
        sys.argv[3:],
        pass_fds=fds,
        preexec_fn=lambda: libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL),  # noqa: PLW1509  there are no threads
    )
    for fd in fds:
        os.close(fd)
    signal.signal(signal.SIGTERM, lambda number, frame: program.terminate())
    code = program.wait()
    with status_file.open("a") as status:
        status.write(f"exit {code}\n" if code >= 0 else f"signal {-code}\n")
    sys.exit(code if code >= 0 else 128 - code)


if __name__ == "__main__":
    main()

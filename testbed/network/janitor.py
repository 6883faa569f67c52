"""Clears a lab's state folder away when its runner has ended, however it ended.

The runner holds the write end of a pipe whose read end is this program's standard input: end of file
means that the runner is gone. The lab's processes die with it by the kernel's hand; what is left is a
folder. Standard library only, so that it starts in milliseconds.
"""

import os
import shutil
import sys
import time


def main() -> None:
    folder, init_pid = sys.argv[1], int(sys.argv[2])
    while os.read(0, 4096):
        pass
    deadline = time.monotonic() + 30
    while os.path.exists(f"/proc/{init_pid}") and time.monotonic() < deadline:  # noqa: PTH110
        time.sleep(0.02)
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()

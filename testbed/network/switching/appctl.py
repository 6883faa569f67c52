"""Questions to a node's ovs-vswitchd by its control socket, as ovs-appctl asks them. Changes nothing in a switch."""

from __future__ import annotations

import signal
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from testbed.model.errors import LabError

ANSWER_S = 5
HAND_UP_S = 2
"""Handing counters up takes some 0.3 s."""


def sockets(lab_folder: Path) -> list[Path]:
    """The control sockets of a lab's switch daemons; also those that one has left which was replaced."""
    return sorted(lab_folder.glob("ovs/s*/ovs-vswitchd.*.ctl"))


def ask(socket: Path, *question: str, within_s: int = ANSWER_S) -> str:
    """The answer. LabError with the daemon's words where it refuses, or where it does not answer in time."""
    command = ["ovs-appctl", "-T", str(within_s), "-t", str(socket), *question]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    if answer.returncode == -signal.SIGALRM:
        raise LabError(f"no answer within {within_s} s")
    if answer.returncode:
        raise LabError(answer.stderr.strip())
    return answer.stdout


def hand_up_counters(lab_folder: Path) -> None:
    """Have every switch add what its datapath has counted to its rows, which it does about once a second by itself.

    One that does not answer is left out, and so keeps what it had.
    """

    def wait(socket: Path) -> None:
        try:
            ask(socket, "revalidator/wait", within_s=HAND_UP_S)
        except LabError:  # it hangs, or was replaced
            return

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(wait, sockets(lab_folder)))

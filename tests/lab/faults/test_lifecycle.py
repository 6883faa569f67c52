"""However a lab's runner ends, nothing of the lab remains, and a lab of another name is untouched."""

from __future__ import annotations

import operator
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from testbed.network.lab import STATE_ROOT, Lab
from tests.waiting import last

START_SPAN_S = 4.0
"""Signals fall anywhere from the first instruction to well after a lab stands."""


def traces(name: str) -> list[str]:
    """What is left of a lab: processes (all carry its folder in their environment), its folder, mounts.

    Namespaces need no look of their own: without a process or a mount that holds them they are gone.
    """
    folder = str(STATE_ROOT / name)
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            environment = (process / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if folder in command or f"TESTBED_STATE={folder}".encode() in environment:
            found.append(f"process {process.name}: {command}")
    if Path(folder).exists():
        found.append(f"folder {folder}")
    found += [f"mount {line}" for line in Path("/proc/mounts").read_text().splitlines() if folder in line]
    return found


def interfaces() -> set[str]:
    return {path.name for path in Path("/sys/class/net").iterdir()}


def what_remains(name: str) -> list[str]:
    """The traces of a lab that has ended, once it had time to end."""
    return last(lambda: traces(name), operator.not_)


@pytest.fixture(scope="module")
def bystander() -> Iterator[Lab]:
    with Lab.start(name=f"bystander-{os.getpid()}") as lab:
        yield lab


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda number: number.name)
def test_nothing_remains_whenever_the_signal_comes(number: signal.Signals, bystander: Lab) -> None:
    chance = random.Random(int(number))
    before_hosts = bystander.client.hosts()
    interfaces_before = interfaces()
    for attempt in range(10):
        name = f"signal-{os.getpid()}-{attempt}"
        runner = subprocess.Popen(
            [sys.executable, "-m", "testbed.run", "up", "--name", name, "--port", "0"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        moment_s = chance.uniform(0, START_SPAN_S)
        time.sleep(moment_s)
        runner.send_signal(number)
        runner.wait(timeout=30)
        assert what_remains(name) == [], f"{number.name} after {moment_s:.2f} s"
    assert interfaces() == interfaces_before
    assert bystander.client.hosts() == before_hosts
    assert all(part["pid"] for name, part in bystander.client.status()["components"].items() if name.startswith("s"))


def test_the_same_name_twice_is_refused(bystander: Lab) -> None:
    second = subprocess.run(
        [sys.executable, "-m", "testbed.run", "up", "--name", bystander.name, "--port", "0"],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert second.returncode == 4
    assert "is running already" in second.stderr
    assert second.stderr.count("\n") == 1


def test_a_stopped_lab_can_start_again_at_once() -> None:
    name = f"again-{os.getpid()}"
    for _ in range(2):
        with Lab.start(name=name) as lab:
            assert lab.client.status()["phase"] == "ready"
        assert traces(name) == []

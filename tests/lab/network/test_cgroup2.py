"""Version 2 of cgroups by a real kernel: what needs no controller, as version 1 may have them all.

Limits, memory and OOM kills of version 2 are tested without a kernel's help:
tests/unit/network/process/test_cgroups.py.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from testbed.model.errors import LabError
from testbed.network.process.cgroups import Cgroups, Hierarchy

SPIN = "import time\nwhile time.process_time() < 0.3: pass\nprint('spun', flush=True)\ninput()"


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Path]:
    """The kernel's one hierarchy of version 2; it can be mounted any number of times."""
    subprocess.run(["mount", "-t", "cgroup2", "cgroup2", str(tmp_path)], check=True)
    yield tmp_path
    subprocess.run(["umount", str(tmp_path)], check=True)


@pytest.fixture
def groups(mount: Path) -> Iterator[Cgroups]:
    made = Cgroups(f"test-{os.getpid()}", (Hierarchy(mount, 2, frozenset()),))
    yield made
    made.remove_all()


def start() -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", SPIN], stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def folder_of(pid: int) -> str:
    """The group of a process, as the kernel names it."""
    lines = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
    return next(line for line in lines if line.startswith("0::")).removeprefix("0::")


def test_a_process_born_in_a_group_is_counted_there(groups: Cgroups) -> None:
    with groups.spawn("functions/f.1", start) as process:
        assert process.stdout is not None and process.stdout.readline() == b"spun\n"
        assert folder_of(process.pid) == f"/testbed/test-{os.getpid()}/functions/f.1"
        usage = groups.usage("functions/f.1")
        above = groups.usage("functions")
        process.communicate(b"\n")
    assert usage is not None and usage.cpu_s > 0.25
    assert above is not None and above.cpu_s >= usage.cpu_s
    assert groups.usage("functions/g.1") is None


def test_a_running_process_can_be_moved(groups: Cgroups) -> None:
    groups.make("components/c")
    with start() as process:
        groups.add("components/c", process.pid)
        assert folder_of(process.pid).endswith("/components/c")
        process.communicate(b"\n")
    with pytest.raises(LabError, match="could not be put into group components/c: No such process"):
        groups.add("components/c", process.pid)


def test_a_group_goes_when_its_last_process_has_ended(groups: Cgroups, mount: Path) -> None:
    folder = mount / "testbed" / f"test-{os.getpid()}"
    with groups.spawn("functions/f.1", start) as process:
        groups.remove("functions/f.1")
        assert (folder / "functions/f.1").is_dir()  # somebody is in it
        process.kill()
    groups.remove("functions/f.1")
    assert not (folder / "functions/f.1").exists()
    groups.remove_all()
    assert not folder.exists()

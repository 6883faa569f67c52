"""Cgroups without a kernel's help: which hierarchies are used, what is written where, and doing without."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from testbed.model.errors import LabError
from testbed.network.process import cgroups
from testbed.network.process.cgroups import Cgroups, Usage

V1 = """cgroup {root}/cpu,cpuacct cgroup rw,relatime,cpu,cpuacct 0 0
cgroup {root}/memory cgroup rw,memory 0 0
cgroup {root}/devices cgroup rw,devices 0 0
"""
V2 = "cgroup2 {root} cgroup2 rw 0 0\n"


def mounts(folder: Path, text: str) -> Path:
    file = folder / "mounts"
    file.write_text("tmpfs /tmp tmpfs rw 0 0\n" + text.format(root=folder / "cgroup"))
    return file


def version_2(folder: Path, *groups: str, controllers: str = "cpu io memory pids") -> Path:
    """A mounted version 2 hierarchy with these groups and the files that a kernel would make in each."""
    for group in ("", "testbed", "testbed/l", *groups):
        made = folder / "cgroup" / group
        made.mkdir(parents=True)
        (made / "cgroup.subtree_control").touch()
    (folder / "cgroup" / "cgroup.controllers").write_text(controllers)
    return mounts(folder, V2)


def test_version_2_is_used_where_it_has_cpu_and_memory(tmp_path: Path) -> None:
    file = version_2(tmp_path)
    file.write_text(file.read_text() + V1.format(root=tmp_path / "v1"))
    assert [(one.version, one.controllers) for one in cgroups.hierarchies(file.read_text())] == [
        (2, frozenset({"cpu", "memory"}))
    ]


def test_version_1_is_used_where_version_2_has_nothing(tmp_path: Path) -> None:
    file = version_2(tmp_path, controllers="hugetlb")
    text = file.read_text() + V1.format(root="/v1") + V1.format(root="/mounted-twice")
    assert [(str(one.mount), one.version) for one in cgroups.hierarchies(text)] == [
        ("/v1/cpu,cpuacct", 1),
        ("/v1/memory", 1),
    ]


def test_without_a_hierarchy_labs_run_and_limits_are_refused_in_a_sentence(tmp_path: Path) -> None:
    for text in ("", V2, V1.replace("memory", "freezer")):
        groups = Cgroups.of_lab("l", mounts(tmp_path, text))
        assert not groups.writable
        groups.make("functions/a")
        assert groups.enter("functions/a") == ()
        assert groups.usage("functions/a") is None
        with pytest.raises(LabError, match="limits cannot be enforced: this machine has no writable cgroup"):
            groups.make("functions/a", memory_bytes=1 << 26)


def test_version_2_hands_cpu_down_only_for_a_limit(tmp_path: Path) -> None:
    file = version_2(tmp_path, "testbed/l/functions", "testbed/l/functions/a")
    groups = Cgroups.of_lab("l", file)
    above = [tmp_path / "cgroup" / part / "cgroup.subtree_control" for part in ("", "testbed", "testbed/l")]
    groups.make("functions/a")
    assert [one.read_text() for one in above] == ["+memory"] * 3
    (tmp_path / "cgroup/testbed/l/functions/a/cpu.max").touch()
    groups.make("functions/a", cpu_cores=0.5)
    assert [one.read_text() for one in above] == ["+cpu +memory"] * 3
    assert (tmp_path / "cgroup/testbed/l/functions/a/cpu.max").read_text() == "50000 100000"


def test_memory_limit_leaves_no_way_out_by_swap(tmp_path: Path) -> None:
    file = version_2(tmp_path, "testbed/l/functions", "testbed/l/functions/a")
    group = tmp_path / "cgroup/testbed/l/functions/a"
    for name in ("memory.swap.max", "memory.oom.group"):
        (group / name).touch()
    Cgroups.of_lab("l", file).make("functions/a", memory_bytes=1 << 26)
    written = {name: (group / name).read_text() for name in ("memory.max", "memory.swap.max", "memory.oom.group")}
    assert written == {"memory.max": str(1 << 26), "memory.swap.max": "0", "memory.oom.group": "1"}


def test_usage_and_oom_kills_are_read(tmp_path: Path) -> None:
    file = version_2(tmp_path, "testbed/l/a")
    group = tmp_path / "cgroup/testbed/l/a"
    groups = Cgroups.of_lab("l", file)
    assert groups.usage("a") is None
    (group / "cpu.stat").write_text("usage_usec 1500000\nuser_usec 7\n")
    (group / "memory.stat").write_text("anon 4096\nfile 8192\n")
    (group / "memory.events").write_text("oom 2\noom_kill 1\n")
    assert groups.usage("a") == Usage(1.5, 4096)
    assert groups.oom_kills("a") == 1
    assert groups.oom_kills("gone") == 0


def test_groups_of_running_labs_stay(tmp_path: Path) -> None:
    file = mounts(tmp_path, V1)
    ours = [tmp_path / "cgroup" / name / "testbed" for name in ("cpu,cpuacct", "memory")]
    for folder, lab in itertools.product(ours, ("dead", "live")):
        (folder / lab / "functions" / "a").mkdir(parents=True)
    cgroups.remove_dead({"live"}, file)
    assert [[lab.name for lab in folder.iterdir()] for folder in ours] == [["live"], ["live"]]
    assert (ours[0] / "live/functions/a").is_dir()
    cgroups.remove_dead(set(), file)
    assert not any(folder.exists() for folder in ours)


def test_the_last_lab_takes_the_folder_of_all_along(tmp_path: Path) -> None:
    file = mounts(tmp_path, V1)
    for name in ("cpu,cpuacct", "memory"):
        (tmp_path / "cgroup" / name).mkdir(parents=True)
    labs = [Cgroups.of_lab(name, file) for name in ("one", "two")]
    ours = tmp_path / "cgroup" / "memory" / "testbed"
    labs[0].remove_all()
    assert [lab.name for lab in ours.iterdir()] == ["two"]
    labs[1].remove_all()
    assert not ours.exists()

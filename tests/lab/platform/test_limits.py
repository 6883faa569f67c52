"""What an instance may use and read: memory, CPU, log, secrets; and what is left of it afterwards."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import requests

from testbed.model import addressing
from testbed.network.lab import STATE_ROOT, Lab, sweep
from testbed.network.process.cgroups import Cgroups, hierarchies
from testbed.platform.client.platform import Platform
from tests import waiting
from tests.lab.conftest import CHECKOUT
from tests.lab.custom import deploy

HANDLER = """
import os, sys, threading, time

def handle(event, context):
    what = event.query.get("what")
    if what == "eat":
        os.eaten = bytearray(int(event.query["bytes"]))
    if what == "spin":
        until = time.monotonic() + float(event.query["seconds"])
        while time.monotonic() < until:
            pass
    if what == "talk":
        for _ in range(int(event.query["lines"])):
            print("x" * 1023)
        sys.stdout.flush()
    if what == "secret":
        return open("/var/openfaas/secrets/" + event.query["name"]).read()
    if what == "write":
        file = os.path.join(event.query["folder"], "written")
        try:
            open(file, "w").close()
        except OSError as error:
            return os.strerror(error.errno)
        names = os.listdir(event.query["folder"])
        os.remove(file)
        return " ".join(names)
    return "ok"
"""
until = partial(waiting.until, within_s=30, pause_s=0.02)


@pytest.fixture(scope="module")
def platform(lab: Lab) -> Iterator[Platform]:
    with lab.inside():
        yield Platform(lab)


@pytest.fixture
def namespace(platform: Platform, request: pytest.FixtureRequest) -> Iterator[str]:
    name = request.node.name.replace("_", "-")[5:30].strip("-")
    yield name
    platform.remove(name)


def ask(namespace: str, timeout_s: float = 20, **query: Any) -> requests.Response:
    """Call the function by the gateway, on the lab's own network."""
    url = f"http://{addressing.GATEWAY_MANAGEMENT_IP}:8080/function/f.{namespace}"
    return requests.get(url, params=query, timeout=timeout_s)


def instance_of(platform: Platform, namespace: str) -> str:
    return next(one.id for one in platform.state().instances.values() if one.namespace == namespace)


def log_of(lab: Lab, instance: str) -> Path:
    return lab.state_folder / "functions" / f"{instance}.log"


def test_memory(lab: Lab, platform: Platform, namespace: str, tmp_path: Path) -> None:
    deploy(platform, tmp_path, namespace, HANDLER, limits={"memory": "96Mi"})
    instance = instance_of(platform, namespace)
    groups = Cgroups.of_lab(lab.name)
    before = groups.usage(f"functions/{instance}")
    assert before is not None
    assert before.anonymous_bytes < 96 << 20
    assert ask(namespace, what="eat", bytes=20 << 20).text == "ok"
    after = groups.usage(f"functions/{instance}")
    assert after is not None
    assert after.anonymous_bytes - before.anonymous_bytes > 15 << 20
    assert ask(namespace, what="eat", bytes=200 << 20).status_code != 200
    until(lambda: "(OOMKilled)" in log_of(lab, instance).read_text(), "the log says why")
    until(lambda: platform.state().instances[instance].phase.value == "Ready", "it is started again")
    platform.wait_ready()
    assert ask(namespace).text == "ok"


def test_cpu(lab: Lab, platform: Platform, namespace: str, tmp_path: Path) -> None:
    deploy(platform, tmp_path, namespace, HANDLER, limits={"cpu": "200m"})
    group = f"functions/{instance_of(platform, namespace)}"
    groups = Cgroups.of_lab(lab.name)
    before, started = groups.usage(group), time.monotonic()
    assert ask(namespace, what="spin", seconds=2).text == "ok"
    after, ended = groups.usage(group), time.monotonic()
    assert before is not None
    assert after is not None
    assert (after.cpu_s - before.cpu_s) / (ended - started) < 0.3


def test_a_chatty_function_does_not_fill_the_disk(lab: Lab, platform: Platform, namespace: str, tmp_path: Path) -> None:
    deploy(platform, tmp_path, namespace, HANDLER)
    log = log_of(lab, instance_of(platform, namespace))
    for _ in range(4):
        assert ask(namespace, what="talk", lines=8000).text == "ok"
    until(lambda: log.with_name(f"{log.name}.1").exists(), "the log is shortened")
    until(lambda: log.stat().st_size <= 8 << 20, "the log is within its limit")
    assert log.with_name(f"{log.name}.1").stat().st_size <= 8 << 20
    assert ask(namespace).text == "ok"


def test_secrets(lab: Lab, platform: Platform, namespace: str, tmp_path: Path) -> None:
    value = "s3cret-of-the-tenant"
    platform.provider.create_secret("key", namespace, value.encode())
    deploy(platform, tmp_path, namespace, HANDLER, secrets=("key",))
    instance = instance_of(platform, namespace)
    assert ask(namespace, what="secret", name="key").text == value
    pid = (
        lab.state_folder / "agents" / f"node{platform.state().instances[instance].node}" / f"{instance}.pid"
    ).read_text()
    inside_lab = Path(f"/proc/{lab.init_pid}/root/proc")
    folder = inside_lab / pid.strip() / "root/run/secrets"
    assert stat.S_IMODE((folder / "key").stat().st_mode) == 0o444
    assert (folder.stat().st_uid, stat.S_IMODE(folder.stat().st_mode)) == (0, 0o755)
    assert value not in (inside_lab / pid.strip() / "environ").read_text()
    holding = [one for one in lab.state_folder.rglob("*") if one.is_file() and value.encode() in one.read_bytes()]
    assert {one.name for one in holding} <= {"apiserver.db", "apiserver.db-wal"}


def test_groups_go_with_what_they_are_for(lab: Lab, platform: Platform, tmp_path: Path) -> None:
    deploy(platform, tmp_path, "groups", HANDLER, limits={"memory": "96Mi", "cpu": "1"})
    instance = instance_of(platform, "groups")
    used = hierarchies(Path("/proc/self/mounts").read_text())
    folders = [one.ours / lab.name / "functions" / instance for one in used]
    assert all(folder.is_dir() for folder in folders)
    platform.remove("groups")
    assert not any(folder.exists() for folder in folders)


def test_components_are_accounted_each_by_itself(lab: Lab) -> None:
    groups = Cgroups.of_lab(lab.name)
    names = [f"components/{name}" for name in ("apiserver", "controller", "gateway", "agent2", "agent3")]
    usages = {name: groups.usage(name) for name in [*names, "switching/s1", "switching/s2", "switching", "sandboxes"]}
    assert all(usage is not None and usage.anonymous_bytes > 0 for usage in usages.values()), usages


def test_groups_of_a_killed_lab_are_cleared_away_by_the_next_command() -> None:
    name = f"killed-{os.getpid()}"
    command = [sys.executable, "-m", "testbed.run", "up", "--name", name, "--port", "0"]
    with subprocess.Popen(command, cwd=CHECKOUT, stdout=subprocess.PIPE) as runner:
        assert runner.stdout is not None
        assert name.encode() in runner.stdout.readline()
        folders = [one.ours / name for one in hierarchies(Path("/proc/self/mounts").read_text())]
        assert any(folder.is_dir() for folder in folders)
        runner.kill()
    sweep()
    until(lambda: not (STATE_ROOT / name).exists(), "the lab's folder is gone")
    sweep()
    assert not any(folder.exists() for folder in folders)


def test_a_read_only_root_file_system(lab: Lab, platform: Platform, namespace: str, tmp_path: Path) -> None:
    deploy(platform, tmp_path, namespace, HANDLER, read_only_root_filesystem=True)
    refused = "Read-only file system"
    folders = (".", "/", "/var", "/usr/bin", "/etc", "function")
    answers = {folder: ask(namespace, what="write", folder=folder).text for folder in (*folders, "/tmp", "/dev/shm")}
    assert answers == {**dict.fromkeys(folders, refused), "/tmp": "written", "/dev/shm": "written"}
    log = lab.state_folder / "functions" / f"{instance_of(platform, namespace)}.log"
    assert len([line for line in log.read_text().splitlines() if line.startswith("{")]) == len(answers)


def test_the_root_file_system_is_writable_otherwise(
    lab: Lab, platform: Platform, namespace: str, tmp_path: Path
) -> None:
    deploy(platform, tmp_path, namespace, HANDLER)
    assert "written" in ask(namespace, what="write", folder=".").text.split()
    assert "written" in ask(namespace, what="write", folder="function").text.split()
    assert not list((lab.state_folder / "images").rglob("written"))

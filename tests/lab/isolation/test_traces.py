"""What is left of a function and of its secrets when they are gone: nothing."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path

import pytest

from testbed.model.cluster import Route
from testbed.network.lab import Lab
from testbed.network.process.cgroups import hierarchies
from testbed.platform.client.platform import Platform
from tests.lab.isolation.scene import BYSTANDER, Attacker, Scene, Words, deploy_attackers, deploy_bystander, random_word
from tests.waiting import eventually

NAMESPACE = "attack-orphans"
LIVES_S = 600
GONE_S = 20.0


@pytest.fixture(scope="module")
def platform(lab: Lab) -> Iterator[Platform]:
    with lab.inside():
        yield Platform(lab)


@pytest.fixture
def scene(lab: Lab, platform: Platform, tmp_path: Path) -> Iterator[Scene]:
    deploy_attackers(platform, tmp_path, {NAMESPACE: Route.DIRECT})
    try:
        yield Scene(lab, platform, Words("", "", ""), "")
    finally:
        if NAMESPACE in platform.state().deployments:
            platform.remove(NAMESPACE)


def processes(scene: Scene, attacker: Attacker) -> list[int]:
    return scene.having(f"INSTANCE_ID={attacker.function}.{attacker.namespace}.".encode(), exact=False)


def groups(scene: Scene, instance: str) -> list[Path]:
    used = hierarchies(Path("/proc/self/mounts").read_text())
    return [folder for one in used for folder in (one.ours / scene.lab.name).glob(f"**/{instance}")]


@pytest.mark.parametrize("function", ["script", "program"])
@pytest.mark.parametrize("way", ["scale", "remove"])
def test_what_a_function_left_running_ends_with_it(scene: Scene, function: str, way: str) -> None:
    attacker = Attacker("", "", function, NAMESPACE)
    turn = scene.turn(attacker)
    instance = scene.instance(function, NAMESPACE).id
    before = len(processes(scene, attacker))
    assert turn.order(("orphan", str(LIVES_S))).ok
    assert eventually(lambda: len(processes(scene, attacker)) > before), "there is no orphan to be ended"
    if way == "scale":
        scene.platform.scale(function, NAMESPACE, 0)
    else:
        scene.platform.remove(NAMESPACE)
    assert eventually(lambda: not processes(scene, attacker), within_s=GONE_S), "its orphan lives on"
    assert eventually(lambda: not groups(scene, instance), within_s=GONE_S), "its control groups are still there"
    assert eventually(lambda: instance not in scene.lab.client.hosts(), within_s=GONE_S)
    mounts = (scene.proc / "1/mountinfo").read_text()
    assert instance not in mounts
    left = [
        one.name for one in scene.lab.state_folder.rglob(f"*{instance}*") if not one.name.endswith((".log", ".log.1"))
    ]
    assert left == []


def test_a_secret_is_nowhere_when_it_is_gone(lab: Lab, platform: Platform) -> None:
    """Neither what it was first nor what it became, as it is or in base64, in files of the lab or in environments."""
    words = Words(random_word(), random_word(), random_word())
    later = random_word()
    deploy_bystander(platform, words)
    try:
        platform.provider.update_secret("word", BYSTANDER, later.encode())
        platform.wait_ready(namespace=BYSTANDER)
        assert found(lab, later), "a secret that is in force is kept somewhere"
    finally:
        platform.remove(BYSTANDER)
    assert {word: found(lab, word) for word in (words.secret, later)} == {words.secret: [], later: []}


def found(lab: Lab, word: str) -> list[str]:
    """The files of the lab, and the environments of its processes, in which a word stands."""
    forms = (word.encode(), b64encode(word.encode())[:-4])
    files = [one for one in lab.state_folder.rglob("*") if one.is_file()]
    files += Path(f"/proc/{lab.init_pid}/root/proc").glob("[0-9]*/environ")
    return [str(one) for one in files if any(form in content(one) for form in forms)]


def content(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError:  # it has just gone
        return b""

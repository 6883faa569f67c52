"""Another gateway program in our gateway's place is kept in its place too: here it is the attackers' program."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from testbed.network.lab import Lab
from testbed.platform.client.platform import Platform
from tests.lab.conftest import lab_with_gateway
from tests.lab.isolation.attempt import Attempt
from tests.lab.isolation.outcomes import GROUPS, heading, markdown, row
from tests.lab.isolation.scene import FUNCTIONS, GATEWAY, Scene, compile_attacker, staged

OF_NETWORK = {"orders a policy", "orders a policy from the lab's network", "reads the cluster's state",
              "reads the cluster's state from the lab's network", "raw socket", "packet socket"}  # fmt: skip
ATTEMPTS = [
    (group, one) for group in ("processes", "files", "kernel", "network") for one in GROUPS[group]
    if group != "network" or one.name in OF_NETWORK
]  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("gateway")
    shutil.copytree(FUNCTIONS / "attacker/native", folder, dirs_exist_ok=True)
    compile_attacker(folder)
    return folder


@pytest.fixture(scope="module")
def lab(folder: Path) -> Iterator[Lab]:
    with lab_with_gateway(f"{folder}/attack serve") as running:
        yield running


@pytest.fixture(scope="module")
def scene(lab: Lab, folder: Path) -> Iterator[Scene]:
    def nobody_else(platform: Platform, folder: Path) -> None:
        """The gateway's program attacks alone."""

    with staged(lab, folder, nobody_else) as scene:
        yield scene.turn(GATEWAY)


@pytest.fixture(scope="module")
def pool(scene: Scene) -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1, initializer=scene.lab.enter) as pool:
        yield pool


def test_the_program_is_the_gateway(scene: Scene) -> None:
    assert scene.order(("descriptors",)).ok


@pytest.mark.parametrize(("group", "attempt"), ATTEMPTS, ids=[f"{group}: {one.name}" for group, one in ATTEMPTS])
def test_an_attempt_is_refused(scene: Scene, pool: ThreadPoolExecutor, group: str, attempt: Attempt) -> None:
    done = row(group, attempt, scene, (GATEWAY,), pool)
    assert done.successes == {}, "\n".join([heading((GATEWAY,)), *markdown([done], (GATEWAY,))])

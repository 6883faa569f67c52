"""No attempt of a function to leave its place succeeds: on both routes, in Python and as a compiled program."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from testbed.model import addressing
from testbed.network.lab import Lab
from tests.lab.isolation import network
from tests.lab.isolation.attempt import Answer, Attempt
from tests.lab.isolation.outcomes import GROUPS, heading, markdown, row
from tests.lab.isolation.scene import ATTACKERS, BYSTANDER, FREE, Attacker, Scene, attackers_on, staged
from tests.lab.traffic import reaches

ATTEMPTS = [(group, attempt) for group, attempts in GROUPS.items() for attempt in attempts]


@pytest.fixture(scope="module")
def scene(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    with staged(lab, tmp_path_factory.mktemp("attackers")) as scene:
        yield scene


@pytest.fixture(scope="module")
def pool(scene: Scene) -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(len(ATTACKERS), initializer=scene.lab.enter) as pool:
        yield pool


@pytest.mark.parametrize("attacker", ATTACKERS, ids=lambda one: one.title)
def test_a_tool_does_what_a_function_may(scene: Scene, attacker: Attacker) -> None:
    """Or a refusal would say nothing."""
    turn = scene.turn(attacker)
    own = f"FUNCTION_NAMESPACE={attacker.namespace}\0".encode().hex()
    name = f"/tmp/{scene.token}-own-{attacker.function}-{attacker.namespace}"
    for order in (("find", "/proc/self/environ", own), ("create", name), ("open", "w", name), ("descriptors",)):
        assert turn.order(order).ok, order
    assert not turn.order(("open", "w", f"{name}-not-there")).ok
    assert turn.order(("nothing",)).said.startswith("there is no tool")


def test_a_frame_that_arrives_is_seen(scene: Scene) -> None:
    """Or it would say nothing that none is."""
    network.watch(scene, "owner", addressing.eip(1, 1))
    assert scene.bystander_answers()
    assert network.something_arrived(scene, Answer(True, ""))


def test_no_host_but_the_gateway_reaches_the_control_plane(scene: Scene) -> None:
    """From every kind of host: functions, stores, prepared ones, probes, the client."""
    hosts = sorted(scene.lab.client.hosts())
    assert {"gateway", "client", "probe1", scene.instance("mariadb", BYSTANDER).id} <= set(hosts)
    tried = [(host, addressing.CONTROL_PLANE_IP, port) for host in hosts for port in network.CONTROL.values()]
    with ThreadPoolExecutor(24) as pool:
        made = list(pool.map(lambda one: reaches(scene.lab, *one), tried))
    assert {host for (host, *_), connected in zip(tried, made, strict=True) if connected} == {"gateway"}


@pytest.mark.parametrize(("group", "attempt"), ATTEMPTS, ids=[f"{group}: {one.name}" for group, one in ATTEMPTS])
def test_an_attempt_is_refused(scene: Scene, pool: ThreadPoolExecutor, group: str, attempt: Attempt) -> None:
    done = row(group, attempt, scene, attackers_on(scene.lab), pool)
    assert done.successes == {}, "\n".join([heading(), *markdown([done])])
    assert not [one for one in done.outcomes.values() if one.said.startswith("there is no tool")]


def test_whoever_is_not_kept_succeeds(scene: Scene, pool: ThreadPoolExecutor) -> None:
    """The same attempts by root in the lab: what is refused to functions is not refused to all."""
    tried = [(group, one) for group, one in ATTEMPTS if "C" in one.programs and not one.heavy]
    done = [row(group, one, scene, (FREE,), pool) for group, one in tried]
    refused = [one for one in done if not one.successes]
    assert len(refused) < len(done) / 3, "\n".join([heading((FREE,)), *markdown(refused, (FREE,))])


def test_each_workload_is_a_user_of_its_own(scene: Scene) -> None:
    """Seen from outside; nobody is root, nobody has another user's or group's rights."""
    instances = scene.platform.state().instances.values()
    users = {}
    for one in instances:
        pid = max(scene.having(f"INSTANCE_ID={one.id}".encode()))
        status = (scene.proc / str(pid) / "status").read_text().splitlines()
        fields = {line.split(":")[0]: line.split()[1:] for line in status}
        users[one.id] = {*fields["Uid"], *fields["Gid"], *fields["Groups"]}
    assert len(users) >= 7 and BYSTANDER in {one.namespace for one in instances}
    assert {instance for instance, ids in users.items() if "0" in ids or len(ids) > 1} == set()
    assert len({next(iter(ids)) for ids in users.values()}) == len(users)

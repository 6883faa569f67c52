"""Who is attacked and by whom, in a running lab: one tenant with words to be found, tenants who look for them.

`Scene` answers what an attempt must know of the lab, seen from outside, and passes orders to attackers.
"""

from __future__ import annotations

import os
import random
import secrets
import shutil
import string
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import requests

from testbed.model import addressing
from testbed.model.cluster import Function, Instance, Route
from testbed.model.stack import stack_file
from testbed.network.lab import Lab
from testbed.network.switching.datapath import USERSPACE
from testbed.platform.client.platform import Platform
from tests.lab.conftest import CHECKOUT
from tests.lab.isolation.attempt import Answer, Order
from tests.lab.traffic import in_host
from tests.waiting import until

FUNCTIONS = CHECKOUT / "tests/lab/functions"
BYSTANDER = "bystander"
ROUTES = {"attack-gateway": Route.GATEWAY, "attack-direct": Route.DIRECT}
PATIENCE_S = 60


@dataclass(frozen=True)
class Attacker:
    """Who is told what to try: a function, or without a name the gateway's program."""

    program: str
    kind: str
    function: str = ""
    namespace: str = ""

    @property
    def title(self) -> str:
        return f"{self.program}, {self.kind}"


ATTACKERS = (
    *(Attacker("Python", route.value, "script", namespace) for namespace, route in ROUTES.items()),
    *(Attacker("C", route.value, "program", namespace) for namespace, route in ROUTES.items()),
    Attacker("C", "read-only root", "sealed", "attack-direct"),
)
GATEWAY = Attacker("C", "as gateway")

FREE = Attacker("C", "free", "program", "attack-direct")
"""A control: the program as root in the lab, kept by nothing. What it cannot do says nothing about functions."""


def attackers_on(lab: Lab) -> tuple[Attacker, ...]:
    """All; on the kernel datapath one in each language, each by the other route: a guest's time is short."""
    return ATTACKERS if lab.datapath == USERSPACE else (ATTACKERS[0], ATTACKERS[3])


@dataclass(frozen=True)
class Process:
    """A process as numbered in the lab, and when it began, in clock ticks since the machine did."""

    pid: int
    started: str
    command: str

    @property
    def words(self) -> Order:
        return str(self.pid), self.started


@dataclass(frozen=True)
class Words:
    """What must not be found: in a function's environment, secret, log, store; with the lab's own process."""

    environment: str
    secret: str
    witness: str

    @property
    def logged(self) -> str:
        return self.environment[::-1]

    @property
    def stored(self) -> str:
        return self.environment.upper()


def random_word() -> str:
    return "".join(secrets.choice(string.ascii_lowercase) for _ in range(20))


class Scene:
    """A lab with a tenant and attackers in it; `attacker` is whose turn it is."""

    def __init__(self, lab: Lab, platform: Platform, words: Words, token: str) -> None:
        self.lab = lab
        self.platform = platform
        self.words = words
        self.token = token
        """In the names of what this run makes; no secret."""
        self.key = random.SystemRandom().randrange(1, 1 << 31)
        self.attacker = ATTACKERS[0]
        self.count_file = lab.state_folder / f"{token}-signals"
        self.witness_pid = 0
        self.remembered: Any = None
        """What an attempt saw before, to judge by afterwards."""

    def turn(self, attacker: Attacker) -> Scene:
        """The same scene, with another attacker's turn: what has been looked up is kept."""
        other = Scene.__new__(Scene)
        other.__dict__.update(self.__dict__, attacker=attacker)
        return other

    # Telling attackers

    def order(self, order: Order) -> Answer:
        """What the attacker says of an order."""
        if self.attacker is FREE:
            return self._order_free(order)
        if self.attacker is GATEWAY:
            host, url = "client", f"http://{addressing.vip(addressing.GATEWAY_ID)}:8080/"
        else:
            name = f"{self.attacker.function}.{self.attacker.namespace}"
            host, url = "root", f"http://{addressing.GATEWAY_MANAGEMENT_IP}:8080/function/{name}"
        try:
            answer = in_host(self.lab, host, partial(requests.post, url, "\n".join(order).encode(), timeout=PATIENCE_S))
        except requests.RequestException as error:
            return Answer(None, f"no answer ({type(error).__name__})")
        if answer.status_code != 200:
            return Answer(None, f"no answer ({answer.status_code})")
        return Answer.parse(answer.content.decode(errors="replace"))

    def _order_free(self, order: Order) -> Answer:
        function, instance = "program", self.instance("program", "attack-direct").id
        image = self.lab.state_folder / "images" / f"attacker_{function}_1.0"
        command = ["sh", "-c", 'cd "$0" && exec function/attack "$@"', str(image), *order]
        done = subprocess.run(self.lab.command(instance, command), capture_output=True, timeout=PATIENCE_S, check=False)
        return Answer.parse(done.stdout.decode(errors="replace"))

    def recover(self) -> None:
        """Wait until the attacker answers again."""
        until(lambda: self.order(("descriptors",)).ok, f"{self.attacker.title} answers again", within_s=60)

    # What is to be seen from outside

    @property
    def proc(self) -> Path:
        """The lab's processes under their numbers in the lab."""
        return Path(f"/proc/{self.lab.init_pid}/root/proc")

    def process(self, name: str) -> Process:
        """The process of a component, the lab's "init", the "witness", the "bystander"'s function or its "store"."""
        return self._at(self._pid(name))

    def _pid(self, name: str) -> int:
        if name == "init":
            return 1
        if name == "witness":
            return self.witness_pid
        if name == BYSTANDER:
            return max(self.having(f"WORD={self.words.environment}".encode()))
        if name == "store":
            return max(self.having(f"INSTANCE_ID=mariadb.{BYSTANDER}.".encode(), exact=False))
        return int(self.components[name]["pid"])

    @cached_property
    def components(self) -> dict[str, Any]:
        return dict(self.lab.client.status()["components"])

    @cached_property
    def named(self) -> dict[str, Process]:
        """Processes that nobody ends, by name."""
        names = ["init", "witness", *(name for name, one in self.components.items() if one["pid"])]
        return {name: self.process(name) for name in names}

    def having(self, variable: bytes, exact: bool = True) -> list[int]:
        """The lab's processes that have a variable in their environment."""
        found = []
        for folder in self.proc.iterdir():
            if not folder.name.isdecimal():
                continue
            try:
                variables = (folder / "environ").read_bytes().split(b"\0")
            except OSError:
                continue
            if any(one == variable if exact else one.startswith(variable) for one in variables):
                found.append(int(folder.name))
        return found

    def _at(self, pid: int) -> Process:
        name, _, rest = (self.proc / str(pid) / "stat").read_text().rpartition(")")
        return Process(pid, rest.split()[19], name.partition("(")[2])

    def lives(self, process: Process) -> bool:
        """Whether it is still there."""
        try:
            return self._at(process.pid) == process
        except OSError:
            return False

    def function(self, name: str, namespace: str) -> Function:
        return self.platform.state().functions[f"{name}.{namespace}"]

    def instance(self, name: str, namespace: str) -> Instance:
        found = self.platform.state().instances.values()
        return next(one for one in found if (one.function, one.namespace) == (name, namespace))

    @cached_property
    def bystanders(self) -> dict[str, tuple[Function, Instance]]:
        """Each workload of the tenant who is attacked, with its instance."""
        return {one: (self.function(one, BYSTANDER), self.instance(one, BYSTANDER)) for one in ("owner", "mariadb")}

    def bystander_answers(self) -> bool:
        """Whether the tenant's function, which asks its store, answers whoever may call it."""
        url = f"http://{self.bystanders['owner'][0].vip}:{addressing.FUNCTION_PORT}"
        try:
            return in_host(self.lab, "gateway", partial(requests.get, url, timeout=10)).status_code == 200
        except requests.RequestException:
            return False

    @property
    def log_name(self) -> Path:
        """The attacker's log, in the lab's folder."""
        if not self.attacker.function:
            return Path("logs/gateway.out")
        return Path("functions", f"{self.instance(self.attacker.function, self.attacker.namespace).id}.log")

    def signals(self) -> int:
        """How many signals have come to the witness."""
        return self.count_file.stat().st_size if self.count_file.exists() else 0

    @cached_property
    def system_calls(self) -> dict[str, int]:
        """Their numbers on this machine, by name."""
        text = subprocess.run(
            ["gcc", "-E", "-dM", "-"], input="#include <sys/syscall.h>", capture_output=True, text=True, check=True
        ).stdout
        lines = [line.split() for line in text.splitlines() if line.startswith("#define __NR_")]
        return {line[1][5:]: int(line[2]) for line in lines if len(line) == 3 and line[2].isdecimal()}


def compile_attacker(folder: Path) -> None:
    """The program that the attacker's functions are served by, where its source lies."""
    sources = sorted(map(str, folder.glob("*.c")))
    command = ["gcc", "-O2", "-Wall", "-Wextra", "-Werror", "-static", "-o", str(folder / "attack"), *sources]
    subprocess.run(command, check=True)


@contextmanager
def witness(scene: Scene) -> Iterator[None]:
    """The lab's own process, for as long as the block lasts."""
    arguments = (scene.token, scene.words.witness, str(scene.key), str(scene.count_file))
    command = [sys.executable, "-m", "tests.lab.isolation.witness", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
    with scene.lab.popen(
        "root", command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout and process.stdin
        scene.witness_pid = int(process.stdout.readline().split()[0])
        try:
            yield
        finally:
            process.stdin.close()
            process.wait(10)
    scene.count_file.unlink(missing_ok=True)


def deploy_bystander(platform: Platform, words: Words) -> None:
    """The tenant who is attacked."""
    application = stack_file.load(FUNCTIONS / "bystander/stack.yaml", {})
    functions = tuple(
        replace(one, environment={**one.environment, "WORD": words.environment}) for one in application.functions
    )
    platform.provider.set_route(BYSTANDER, Route.DIRECT.value)
    platform.provider.create_secret("word", BYSTANDER, words.secret.encode())
    platform.deploy(replace(application, functions=functions), BYSTANDER, Route.DIRECT, "node2")


def deploy_attackers(platform: Platform, folder: Path, routes: Mapping[str, Route] = ROUTES) -> None:
    """The tenants who attack, on the same node; `folder` is an empty one for their sources and their program."""
    shutil.copytree(FUNCTIONS / "attacker", folder, dirs_exist_ok=True)
    compile_attacker(folder / "native")
    application = stack_file.load(folder / "stack.yaml", {})
    for namespace, route in routes.items():
        platform.deploy(application, namespace, route, "node2")


@contextmanager
def staged(lab: Lab, folder: Path, attack: Callable[[Platform, Path], None] = deploy_attackers) -> Iterator[Scene]:
    """The whole scene in a lab; the calling thread is in the lab's network for as long as the block lasts."""
    words = Words(random_word(), random_word(), random_word())
    with lab.inside():
        platform = Platform(lab)
        try:
            deploy_bystander(platform, words)
            attack(platform, folder)
            scene = Scene(lab, platform, words, f"isolation-{random_word()}")
            with witness(scene):
                assert scene.bystander_answers()
                yield scene
        finally:
            for namespace in {*ROUTES, BYSTANDER} & set(platform.state().deployments):
                platform.remove(namespace)

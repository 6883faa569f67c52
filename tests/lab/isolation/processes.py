"""Attempts on processes: to see, read, signal, trace and join others, and to be more than a function may be."""

from __future__ import annotations

import os
from collections.abc import Iterable
from functools import partial
from pathlib import Path

from testbed.network.lab import STATE_ROOT
from tests.lab.conftest import CHECKOUT
from tests.lab.isolation.attempt import (
    Answer,
    Attempt,
    Judgement,
    Order,
    always,
    hidden,
    not_found,
    permitted,
    says_so,
    simple,
)  # fmt: skip
from tests.lab.isolation.scene import BYSTANDER, GATEWAY, Scene
from tests.waiting import eventually

NAMESPACES = ("net", "mnt", "pid", "uts", "ipc", "cgroup", "user")
PARTS = (BYSTANDER, "store", "init", "apiserver", "controller", "agent2", "s2", "witness")
SIGURG, SIGKILL = "23", "9"
NO_CAPABILITY = "0000000000000000"
LIMITS = {"nice": 13, "real-time priority": 14, "locked memory": 8}


def on(name: str, tool: str, *arguments: str) -> Attempt:
    """A tool used on one process."""
    orders = lambda scene: [(tool, *scene.process(name).words, *arguments)]  # noqa: E731
    return Attempt(f"{tool}: {name}", orders, alone=tool == "trace")  # a process has one tracer


def sees_another(scene: Scene, answer: Answer) -> bool:
    """Whether one of the processes that it lists is none of its own."""
    own = "gateway" if scene.attacker == GATEWAY else ""
    others = {f"{one.started} {one.command}" for name, one in scene.named.items() if name != own}
    return answer.ok is True and bool(others & set(answer.said.splitlines()))


def finds(name: str, pattern: str, word: str) -> Attempt:
    """Something of a process's is read in /proc."""
    return Attempt(name, lambda scene: [("find", pattern, hidden(getattr(scene.words, word)))])


def ends_bystander(scene: Scene) -> Iterable[Order]:
    """Ends another tenant's function, to be told again by `bystander_ended`."""
    before = scene.process(BYSTANDER)
    scene.remembered = before
    return [("signal", *before.words, SIGKILL)]


def bystander_ended(scene: Scene, answer: Answer) -> bool:
    return bool(eventually(lambda: not scene.lives(scene.remembered), within_s=1.0))


def bystander_is_back(scene: Scene) -> None:
    assert eventually(scene.bystander_answers, within_s=60), "the function that was ended does not come back"


def signals_all(scene: Scene) -> Iterable[Order]:
    scene.remembered = scene.signals()
    return [("signal-all", SIGURG)]


def witness_was_signalled(scene: Scene, answer: Answer) -> bool:
    return bool(eventually(lambda: scene.signals() > scene.remembered, within_s=0.5))


def joins(kind: str) -> Attempt:
    """A namespace of another process: the lab's, or that of whoever has such a number."""

    def orders(scene: Scene) -> Iterable[Order]:
        for pid in (1, scene.process(BYSTANDER).pid, scene.named["controller"].pid):
            yield "enter", f"/proc/{pid}/ns/{kind}"

    return Attempt(f"joins another's namespaces: {kind}", orders)


def foreign_descriptors(scene: Scene, answer: Answer) -> bool:
    """Whether it was given another descriptor than input, its log (as output and errors) and one to say it is ready."""
    log = f"/{scene.log_name.name}"
    seen = dict(line.split(" ", 1) for line in answer.said.splitlines())
    extra = [name for number, name in seen.items() if int(number) > 2]
    pipes = [name for name in extra if name.startswith("pipe:[")]
    logs = {seen.get("1", log), seen.get("2", log)}
    fine = all(name.removesuffix(" (deleted)").endswith(log) for name in logs)
    return answer.ok is True and (len(pipes) > 1 or len(extra) > len(pipes) or not fine)


def core_folders(scene: Scene) -> list[Path]:
    """Where a core dump would lie outside."""
    pattern = Path("/proc/sys/kernel/core_pattern").read_text().strip()
    images = [one for one in (scene.lab.state_folder / "images/.builds").iterdir() if one.is_dir()]
    return [*images, Path.cwd(), *([Path(pattern).parent] if pattern.startswith("/") else [])]


def cores(scene: Scene) -> set[Path]:
    return {file for folder in core_folders(scene) for file in folder.glob("core*")}


def crashes(scene: Scene) -> Iterable[Order]:
    scene.remembered = cores(scene)
    return [("crash",)]


def core_lies_outside(scene: Scene, answer: Answer) -> bool:
    return bool(cores(scene) - scene.remembered)


def remove_cores(scene: Scene) -> None:
    for file in cores(scene) - scene.remembered:
        file.unlink()


def mentions(what: str, place: str) -> tuple[Attempt, Attempt]:
    """Where it may look itself, paths of the lab's (also as they are below a mount of their own) and the checkout's."""
    return (
        Attempt(f"{what} tells where the lab is", lambda scene: [
            ("find", place, hidden(f"{STATE_ROOT.name}/{scene.lab.name}"))]),
        simple(f"{what} tells where the checkout is", "find", place, hidden(f"{CHECKOUT}")),
    )  # fmt: skip


def has_capabilities(kind: str, what: str) -> Attempt:
    orders = always("find", "/proc/self/status", hidden(f"{kind}:\t{NO_CAPABILITY}"))
    return Attempt(f"has {what} capabilities", orders, not_found)


def call(name: str, *arguments: object, title: str, judge: Judgement = says_so) -> Attempt:
    """A system call, by its name."""

    def orders(scene: Scene) -> Iterable[Order]:
        number = scene.system_calls.get(name)
        return [] if number is None else [("call", str(number), *map(str, arguments))]

    return Attempt(title, orders, judge)


may_call = partial(call, judge=permitted)

ATTEMPTS = (
    Attempt("sees processes that are not its own", always("processes"), sees_another),
    finds("another function's environment", "/proc/[0-9]*/environ", "environment"),
    finds("another function's secret, by /proc/PID/root", "/proc/[0-9]*/root/var/openfaas/secrets/*", "secret"),
    finds("the same where it is mounted", "/proc/[0-9]*/root/run/secrets/*", "secret"),
    finds("another function's log, by its descriptor", "/proc/[0-9]*/fd/1", "logged"),
    Attempt(
        "another function's memory",
        lambda scene: [("memory", scene.process(BYSTANDER).words[0], hidden(scene.words.environment))],
    ),
    simple("environment of the process that is number 1", "find", "/proc/1/environ", ""),
    simple("root folder of the process that is number 1", "find", "/proc/1/root/", ""),
    simple("descriptors of the process that is number 1", "open", "r", "/proc/1/fd/*"),
    simple("memory of the process that is number 1", "open", "rw", "/proc/1/mem"),
    *(on(name, "trace") for name in (BYSTANDER, "init", "agent2", "s2", "controller")),
    *(on(name, "steal") for name in (BYSTANDER, "agent2", "s2")),
    *(on(name, "signal", "0") for name in PARTS),
    Attempt("signals every process", signals_all, witness_was_signalled, alone=True),
    Attempt("ends another function", ends_bystander, bystander_ended, bystander_is_back, alone=True),
    *(joins(kind) for kind in NAMESPACES),
    Attempt("was given descriptors that are not its own", always("descriptors"), foreign_descriptors),
    Attempt("core dump outside", crashes, core_lies_outside, remove_cores, alone=True),
    *mentions("a command line", "/proc/[0-9]*/cmdline"),
    # Where the checkout is stands there: it is what a place's environment is a view of, and nothing else of it is seen.
    mentions("the list of mounts", "/proc/self/mountinfo")[0],
    *mentions("its environment", "/proc/self/environ"),
    *mentions("the list of its groups", "/proc/self/cgroup"),
    simple("its environment has the lab's settings", "find", "/proc/self/environ", hidden("TESTBED_")),
    Attempt(
        "its environment has the machine's variables",
        lambda scene: [
            ("find", "/proc/self/environ", hidden(f"{name}={os.environ[name]}\0"))
            for name in ("PWD", "OLDPWD", "SHLVL", "SUDO_USER", "SSH_CONNECTION") if name in os.environ
        ],
    ),
    *(
        has_capabilities(kind, what)
        for kind, what in {"CapEff": "effective", "CapPrm": "permitted", "CapInh": "inheritable", "CapAmb": "ambient",
                           "CapBnd": "in its bounding set"}.items()
    ),
    simple("programs that give rights (setuid, file capabilities)", "setuid"),
    call("setresuid", 0, 0, 0, title="becomes root"),
    call("setresgid", 0, 0, 0, title="becomes of root's group"),
    call("setgroups", 1, "x:00000000", title="takes root's supplementary group"),
    call("setpriority", 0, 0, -20, title="runs before all others (nice -20)"),
    call("sched_setscheduler", 0, 1, "x:01000000", title="runs in real time"),
    *(simple(f"raises its limit: {what}", "limit", number) for what, number in LIMITS.items()),
)  # fmt: skip

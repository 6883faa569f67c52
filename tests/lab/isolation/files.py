"""Attempts on files: the machine's, the lab's, other tenants', devices, and the kernel's that look like files."""

from __future__ import annotations

import json
import os
import sys
from base64 import b64encode
from collections.abc import Callable, Iterable
from pathlib import Path

from testbed.network.lab import STATE_ROOT
from tests.lab.conftest import CHECKOUT
from tests.lab.isolation.attempt import Answer, Attempt, Order, hidden, simple
from tests.lab.isolation.scene import Scene

INSIDE = Path("/opt/testbed/venv")
"""Where a function sees the environment that its server runs in."""
LAB = "{lab}"
"""The lab's folder, in a pattern: other labs of this machine are left alone."""
DEVICES = {"memory": ("c", 1, 1), "ports": ("c", 1, 4), "the kernel's log": ("c", 1, 11), "tun": ("c", 10, 200),
           "fuse": ("c", 10, 229), "kvm": ("c", 10, 232), "loop control": ("c", 10, 237)}  # fmt: skip
DEVICE_FILES = ("mem", "port", "kmsg", "net/tun", "fuse", "kvm", "loop-control", "loop0", "vhost-net", "vsock", "hwrng")
GROUP_FILES = ("cgroup.procs", "tasks", "release_agent", "notify_on_release", "memory.limit_in_bytes", "memory.max",
               "freezer.state", "cgroup.freeze", "cgroup.kill", "cpu.max", "cpu.cfs_quota_us", "devices.allow",
               "pids.max")  # fmt: skip
GROUP_DEPTH = 6


def places(scene: Scene, patterns: Iterable[str]) -> list[str]:
    return [one.replace(LAB, str(scene.lab.state_folder)) for one in patterns]


def reads(title: str, *patterns: str, word: str = "") -> Attempt:
    """A file that is there holds something, or holds this word of the machine's."""
    return Attempt(title, lambda scene: [("find", one, hidden(word)) for one in places(scene, patterns)])


def finds(title: str, word: Callable[[Scene], str], *patterns: str) -> Attempt:
    """A word of this run's stands in one of the files."""
    return Attempt(title, lambda scene: [("find", one, hidden(word(scene))) for one in places(scene, patterns)])


def writes(title: str, *patterns: str) -> Attempt:
    """One of the files opens for writing."""
    return Attempt(title, lambda scene: [("open", "w", one) for one in places(scene, patterns)])


def makes(folder: str) -> Attempt:
    """A file in a folder of the machine's, which is then seen outside."""

    def place(scene: Scene) -> Path:
        return Path(folder, f"{scene.token}-made")

    return Attempt(
        f"makes a file in {Path(folder)}",
        lambda scene: [("create", str(place(scene)))],
        lambda scene, answer: place(scene).exists(),
        lambda scene: place(scene).unlink(missing_ok=True),
        alone=True,
    )


def made_in_images(scene: Scene) -> list[Path]:
    """Also where a gateway's program would be, had it no place: in the working folder."""
    folders = [*(scene.lab.state_folder / "images/.builds").iterdir(), Path.cwd()]
    return [file for folder in folders if (file := folder / f"{scene.token}-made").exists()]


def remove_from_images(scene: Scene) -> None:
    for file in made_in_images(scene):
        file.unlink()


def own_log(scene: Scene) -> Path:
    return scene.lab.state_folder / scene.log_name


def put_log_back(scene: Scene) -> None:
    own_log(scene).unlink()
    own_log(scene).touch()


def disk(scene: Scene) -> Iterable[Order]:
    """The machine's first disk that holds something, by numbers and by name."""
    for file in sorted(Path("/sys/block").glob("[!lr]*/dev")):
        major, minor = file.read_text().split(":")
        yield "device", "b", major, minor.strip()
        yield "find", f"/dev/{file.parent.name}", ""


def asks_lab(title: str, operation: str, **arguments: object) -> Attempt:
    """An order to the lab's daemon by its socket; any answer means that it was heard."""
    line = json.dumps({"operation": operation, "arguments": arguments}) + "\n"

    def orders(scene: Scene) -> Iterable[Order]:
        yield "unix", str(scene.lab.state_folder / "lab.sock"), hidden(line)

    return Attempt(title, orders)


SPY = "spy"


def makes_host(scene: Scene) -> Iterable[Order]:
    line = json.dumps({"operation": "add_host", "arguments": {"name": SPY, "node": 2, "eip": "10.202.250.1"}}) + "\n"
    yield "unix", str(scene.lab.state_folder / "lab.sock"), hidden(line)


def host_is_there(scene: Scene, answer: Answer) -> bool:
    return SPY in scene.lab.client.hosts()


def remove_host(scene: Scene) -> None:
    scene.lab.client.delete_host(SPY)


def sockets(title: str, pattern: str, text: str = "") -> Attempt:
    """A socket in the lab's folder; where a text is given it must be answered."""

    def orders(scene: Scene) -> Iterable[Order]:
        return [("unix", str(path), hidden(text)) for path in sorted(scene.lab.state_folder.rglob(pattern))[:3]]

    return Attempt(title, orders)


def groups(name: str) -> Attempt:
    """A file of a control group, its own or another's, at any depth."""
    patterns = ["/sys/fs/cgroup/" + "*/" * depth + name for depth in range(GROUP_DEPTH)]
    return writes(f"control groups: {name}", *patterns)


def in_base64(scene: Scene) -> str:
    """The middle of a secret as it is written in base64, whatever stands before it."""
    return b64encode(scene.words.secret.encode()).decode()[:24]


ATTEMPTS = (
    # The machine's
    reads("/etc/shadow", "/etc/shadow", "/proc/[0-9]*/root/etc/shadow", word="root:"),
    reads("root's folder", "/root/.[bcps]*"),
    Attempt("others' folders", lambda scene: [("find", f"/home/{one.name}", "") for one in Path("/home").iterdir()]),
    reads("the machine's logs", "/var/log/dpkg.log", "/var/log/apt/*", "/var/log/lastlog", "/var/log/wtmp"),
    reads("which packages the machine has", "/var/lib/dpkg/status"),
    reads("the machine's name", "/etc/hostname", "/proc/sys/kernel/hostname", word=os.uname().nodename),
    reads("the machine's identity", "/etc/machine-id", "/sys/class/dmi/id/product_uuid", "/var/lib/dbus/machine-id"),
    reads("the machine's users", "/etc/passwd", word="www-data"),
    reads("the machine's mail, jobs, units", "/etc/cron*/*", "/etc/systemd/system/*", "/var/spool/cron/*"),
    Attempt(
        "the machine's network devices",
        lambda scene: [
            ("find", f"/sys/class/net/{one.name}/address", hidden((one / "address").read_text().strip()))
            for one in Path("/sys/class/net").iterdir() if one.name != "lo"
        ],
    ),
    *(makes(folder) for folder in ("/", "/etc", "/usr/bin", "/usr/local/bin", "/opt", "/root", "/home", "/var/log",
                                   "/var/lib", "/var/tmp", "/tmp", "/run", "/dev/shm")),
    writes("writes to the system's programs", "/usr/bin/python3*", "/usr/bin/env", "/lib/*/libc.so.6", "/etc/hosts"),
    # The checkout and its environment
    reads("the checkout", f"{CHECKOUT}/pyproject.toml"),
    writes("writes to the checkout", f"{CHECKOUT}/pyproject.toml", f"{CHECKOUT}/testbed/run.py"),
    makes(str(CHECKOUT / "build")),
    writes("writes to the environment", f"{sys.prefix}/pyvenv.cfg", f"{INSIDE}/pyvenv.cfg",
           f"{INSIDE}/lib/*/site-packages/*/__init__.py"),
    makes(sys.prefix),
    # The lab's
    reads("the lab's folder", f"{STATE_ROOT}/.", f"{LAB}/."),
    finds("secrets in the cluster's state", lambda scene: scene.words.secret, f"{LAB}/apiserver.db*"),
    finds("the same in base64", in_base64, f"{LAB}/apiserver.db*"),
    writes("writes to the cluster's state", f"{LAB}/apiserver.db", f"{LAB}/*polic*"),
    finds("the gateway's admin password", lambda scene: scene.lab.credentials[1], f"{LAB}/secrets/*", f"{LAB}/*/*"),
    reads("any credential of the lab's", f"{LAB}/secrets/*", f"{LAB}/credentials/*", f"{LAB}/*token*"),
    finds("another function's log", lambda scene: scene.words.logged, f"{LAB}/functions/*"),
    writes("writes to logs", f"{LAB}/functions/*.log", f"{LAB}/logs/*"),
    finds("another tenant's data, in its files", lambda scene: scene.words.stored, f"{LAB}/stores/*/*/*",
          f"{LAB}/stores/*/*/*/*"),
    writes("writes to another tenant's data", f"{LAB}/stores/*/*/*"),
    reads("another function's code", f"{LAB}/images/bystander*/function/handler.py"),
    writes("writes to another function's code", f"{LAB}/images/bystander*/function/handler.py"),
    Attempt("makes a file in its own image, for all its instances",
            lambda scene: [("create", f"{scene.token}-made")],
            lambda scene, answer: bool(made_in_images(scene)), remove_from_images, alone=True),
    Attempt("makes a link of its log",
            lambda scene: [("relink", str(own_log(scene)), str(scene.lab.state_folder / "lab.json"))],
            lambda scene, answer: own_log(scene).is_symlink(), put_log_back, alone=True),
    # Sockets in files
    asks_lab("asks the lab's daemon: status", "status"),
    asks_lab("asks the lab's daemon: another's namespace", "netns", name="gateway"),
    asks_lab("asks the lab's daemon: set_link", "set_link", a=1, b=2, settings={"delay_ms": 0.0}),
    asks_lab("asks the lab's daemon: delete_host", "delete_host", name="nobody"),
    asks_lab("asks the lab's daemon: restart", "restart", name="nobody", environment={}),
    Attempt("has the lab make a host", makes_host, host_is_there, remove_host, alone=True),
    sockets("asks a switch's database", "db.sock", '{"method":"list_dbs","params":[],"id":1}'),
    sockets("speaks OpenFlow to a bridge", "*.mgmt"),
    sockets("gives a switch daemon orders", "*.ctl"),
    Attempt("a socket of another's in /tmp", lambda scene: [("unix", f"/tmp/{scene.token}.sock")]),
    Attempt("an abstract socket of another's", lambda scene: [("unix", f"@{scene.token}")]),
    # What others leave lying about
    *(finds(f"another's file in {folder}", lambda scene: scene.words.witness, f"{folder}/isolation-*")
      for folder in ("/tmp", "/dev/shm")),
    # Devices
    Attempt("the machine's disk", disk),
    *(simple(f"makes a device: {name}", "device", *numbers) for name, numbers in DEVICES.items()),
    *(simple(f"opens /dev/{name}", "open", mode, f"/dev/{name}") for name in DEVICE_FILES for mode in ("rw",)),
    # The kernel's
    simple("writes to core_pattern", "open", "w", "/proc/sys/kernel/core_pattern"),
    simple("writes to sysrq-trigger", "open", "w", "/proc/sysrq-trigger"),
    writes("writes to kernel settings", "/proc/sys/kernel/[!n]*", "/proc/sys/vm/*", "/proc/sys/fs/*",
           "/proc/sys/*/*/*"),
    writes("writes to its network's settings", "/proc/sys/net/ipv4/ip_forward", "/proc/sys/net/ipv4/conf/*/*"),
    writes("writes to /sys", "/sys/kernel/*", "/sys/power/*", "/sys/class/net/*/mtu", "/sys/module/*/parameters/*",
           "/sys/kernel/mm/*/*", "/sys/block/*/queue/*"),
    writes("writes to interrupts' settings", "/proc/irq/*/smp_affinity", "/proc/mtrr", "/proc/acpi/*"),
    simple("opens /proc/kcore", "open", "r", "/proc/kcore"),
    simple("opens /proc/kmsg", "open", "r", "/proc/kmsg"),
    simple("opens /proc/kpageflags", "open", "r", "/proc/kpageflags"),
    reads("addresses in the kernel", "/proc/kallsyms", word="\nffff"),
    simple("the kernel's debugging files", "open", "r", "/sys/kernel/debug/*"),
    simple("the kernel's tracing", "open", "rw", "/sys/kernel/tracing/*"),
    *(groups(name) for name in GROUP_FILES),
)  # fmt: skip

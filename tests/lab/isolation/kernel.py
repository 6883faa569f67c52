"""Attempts on the kernel: rights that a function must not have, and interfaces that it has no use for."""

from __future__ import annotations

from collections.abc import Iterable

from tests.lab.isolation.attempt import Attempt, Order
from tests.lab.isolation.processes import call, may_call
from tests.lab.isolation.scene import Scene

NEWUSER, NEWNS, NEWNET, NEWPID, NEWCGROUP = 0x10000000, 0x20000, 0x40000000, 0x20000000, 0x2000000
AT_FDCWD, CLONE_TREE = -100, 1
PROCESS_KEYRING = -2
"""Ends with the process."""
RDONLY_REMOUNT_BIND = 32 | 4096
PERF_EVENT = "x:0100000080000000" + "00" * 32 + "60"
"""A software event of its own, without the kernel's part."""
BAD_ADDRESS_HANDLE = "x:080000000100000002000000000000"


def clones(tool: str, name: str, flags: int, title: str) -> Attempt:
    """A child in namespaces of its own."""

    def orders(scene: Scene) -> Iterable[Order]:
        yield tool, str(scene.system_calls[name]), hex(flags)

    return Attempt(title, orders)


def key(title: str) -> Attempt:
    def orders(scene: Scene) -> Iterable[Order]:
        yield "key", str(scene.system_calls["keyctl"]), scene.token
        yield "find", "/proc/keys", scene.token.encode().hex()

    return Attempt(title, orders)


def by_key(name: str, *arguments: object, title: str) -> Attempt:
    """A System V object of another process, by its key."""

    def orders(scene: Scene) -> Iterable[Order]:
        yield "call", str(scene.system_calls[name]), str(scene.key), *map(str, arguments)

    return Attempt(title, orders)


ATTEMPTS = (
    # Namespaces and mounts
    call("unshare", NEWUSER, title="makes a user namespace"),
    call("unshare", NEWUSER | NEWNS | NEWNET, title="makes a user namespace with mounts and network"),
    call("unshare", NEWNS, title="makes a mount namespace"),
    call("unshare", NEWNET, title="makes a network namespace"),
    call("unshare", NEWPID, title="makes a process namespace"),
    call("unshare", NEWCGROUP, title="makes a cgroup namespace"),
    clones("clone", "clone", NEWUSER, "makes a user namespace, by clone"),
    clones("clone3", "clone3", NEWUSER, "makes a user namespace, by clone3"),
    may_call("mount", "s:none", "s:/", "s:nosuchfs", 0, 0, title="mounts"),
    may_call("mount", "s:none", "s:/usr/bin", 0, RDONLY_REMOUNT_BIND, 0, title="mounts anew, writable"),
    may_call("umount2", "s:/usr/bin", 0, title="unmounts"),
    may_call("pivot_root", "s:/", "s:/nonexistent", title="pivot_root"),
    call("chroot", "s:.", title="chroot"),
    call("open_tree", AT_FDCWD, "s:/", CLONE_TREE, title="copies the tree of mounts"),
    call("fsopen", "s:tmpfs", 0, title="makes a file system"),
    may_call("mount_setattr", AT_FDCWD, "s:/", 0, "z:32", 32, title="changes mounts' attributes"),
    may_call("open_by_handle_at", AT_FDCWD, BAD_ADDRESS_HANDLE, 0, title="opens files by number"),
    may_call("swapon", "s:/nonexistent", 0, title="swaps"),
    may_call("acct", "s:/nonexistent", title="accounts for processes"),
    # The machine as a whole
    may_call("reboot", 0, 0, 0, 0, title="reboots"),
    may_call("kexec_load", 0, 0, 0, 0xFFFF, title="another kernel"),
    may_call("init_module", 0, 0, 0, title="loads a module"),
    may_call("finit_module", -1, 0, 0, title="loads a module's file"),
    may_call("delete_module", "s:nosuchmodule", 0o4000, title="removes a module"),
    may_call("settimeofday", 0, "x:0f270000", title="sets the clock"),
    may_call("adjtimex", "x:00400000", title="bends the clock"),
    may_call("sethostname", 0, -1, title="changes the host's name"),
    may_call("setdomainname", 0, -1, title="changes the domain's name"),
    call("syslog", 3, "z:4096", 4096, title="reads the kernel's log"),
    call("iopl", 3, title="input and output ports"),
    may_call("bpf", 0, "x:02000000040000000400000001000000", 128, title="bpf"),
    call("perf_event_open", PERF_EVENT, 0, -1, -1, 0, title="perf events"),
    call("userfaultfd", 1, title="userfaultfd"),
    call("io_uring_setup", 1, "z:120", title="io_uring"),
    call("kcmp", 1, 1, 0, 0, 0, title="compares processes' resources"),
    # Keyrings, shared memory, queues
    key("a key of another's"),
    call("add_key", "s:user", "s:attack", "s:word", 4, PROCESS_KEYRING, title="makes a key"),
    may_call("request_key", "s:user", "s:attack", 0, PROCESS_KEYRING, title="asks for a key"),
    by_key("shmget", 0, 0, title="shared memory of another's (System V)"),
    by_key("semget", 0, 0, title="semaphores of another's (System V)"),
    by_key("msgget", 0, title="a message queue of another's (System V)"),
    Attempt(
        "a message queue of another's (POSIX)",
        lambda scene: [("call", str(scene.system_calls["mq_open"]), f"s:{scene.token}", "0")],
    ),
)

"""What a program may do in its place: nothing that reaches beyond it."""

from __future__ import annotations

import platform
from pathlib import Path

from testbed.network.process import place
from tests.lab.network.place_rig import USER_ID, ask, shell


def test_it_has_no_right(tmp_path: Path) -> None:
    result = shell(
        tmp_path, "grep -E '^(Uid|Gid|Groups|Cap|NoNewPrivs|Seccomp:)' /proc/self/status; cat /proc/self/limits"
    )
    fields = dict(line.split(":", 1) for line in result.output.splitlines() if ":" in line)
    assert {int(fields[f"Cap{kind}"], 16) for kind in ("Inh", "Prm", "Eff", "Bnd", "Amb")} == {0}
    assert fields["Uid"].split() == fields["Gid"].split() == [str(USER_ID)] * 4
    assert (fields["Groups"].strip(), fields["NoNewPrivs"].strip(), fields["Seccomp"].strip()) == ("", "1", "2")
    limits = {line[:26].strip(): line[26:].split() for line in result.output.splitlines() if line.startswith("Max ")}
    assert set(limits["Max core file size"][:2]) <= {"0", "1"}
    assert limits["Max processes"][:2] == [str(MOST_PROCESSES)] * 2
    assert limits["Max open files"][:2] == [str(place.OPEN_FILES)] * 2


MOST_PROCESSES = 1024
"""As in place.c."""
CALLS = {
    "unshare a user namespace": ("unshare", 0x10000000),
    "unshare a mount namespace": ("unshare", 0x20000),
    "keyctl": ("keyctl", 0, -3, 0),
    "add_key": ("add_key", b"user", b"x", b"y", 1, -3),
    "bpf": ("bpf", 0, 0, 0),
    "perf_event_open": ("perf_event_open", 0, 0, -1, -1, 0),
    "userfaultfd": ("userfaultfd", 1),
    "io_uring_setup": ("io_uring_setup", 1, 0),
    "syslog": ("syslog", 10, 0, 0),
    "open_by_handle_at": ("open_by_handle_at", -1, 0, 0),
    "chroot": ("chroot", b"/tmp"),
    "setns": ("setns", 0, 0),
}
NUMBERS = {
    "x86_64": {"unshare": 272, "keyctl": 250, "add_key": 248, "bpf": 321, "perf_event_open": 298, "userfaultfd": 323,
               "io_uring_setup": 425, "syslog": 103, "open_by_handle_at": 304, "chroot": 161, "setns": 308},
    "aarch64": {"unshare": 97, "keyctl": 219, "add_key": 217, "bpf": 280, "perf_event_open": 241, "userfaultfd": 282,
                "io_uring_setup": 425, "syslog": 116, "open_by_handle_at": 265, "chroot": 51, "setns": 268},
}  # fmt: skip


def test_what_reaches_beyond_a_place_is_refused_by_the_kernel(tmp_path: Path) -> None:
    numbers = NUMBERS[platform.machine()]
    calls = {what: (numbers[name], *arguments) for what, (name, *arguments) in CALLS.items()}
    code = f"""
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
answer = {{}}
for what, call in {calls!r}.items():
    ctypes.set_errno(0)
    answer[what] = [libc.syscall(*call), os.strerror(ctypes.get_errno())]
"""
    assert ask(tmp_path, code) == {what: [-1, "Operation not permitted"] for what in CALLS}


def test_a_user_namespace_is_refused_by_clone_as_well(tmp_path: Path) -> None:
    """The filter cannot read what clone3 is asked for; that the place stands in a chroot is what refuses it."""
    number = {"x86_64": 56, "aarch64": 220}[platform.machine()]
    code = f"""
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
pid = libc.syscall({number}, 0x10000000 | 17, 0, 0, 0, 0)
if pid == 0:
    os._exit(0)
answer = [pid, os.strerror(ctypes.get_errno())]
"""
    assert ask(tmp_path, code) == [-1, "Operation not permitted"]


def test_no_room_is_reserved_on_a_disk(tmp_path: Path) -> None:
    code = """
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
with open("/tmp/file", "wb") as file:
    answer = [libc.fallocate(file.fileno(), 1, 0, 1 << 20), os.strerror(ctypes.get_errno())]
    os.posix_fallocate(file.fileno(), 0, 1 << 20)
answer.append(os.stat("/tmp/file").st_size)
"""
    assert ask(tmp_path, code) == [-1, "Operation not supported", 1 << 20]


def test_nobody_waits_for_a_lease_of_its_output(tmp_path: Path) -> None:
    code = """
import fcntl
try:
    fcntl.fcntl(1, fcntl.F_SETLEASE, fcntl.F_WRLCK)
    answer = "taken"
except OSError as error:
    answer = os.strerror(error.errno)
fcntl.fcntl(1, fcntl.F_GETFL)
"""
    assert ask(tmp_path, code) == "Operation not permitted"


def test_only_the_usual_families_of_sockets(tmp_path: Path) -> None:
    code = """
import socket
def opens(family, kind, protocol=0):
    try:
        socket.socket(family, kind, protocol).close()
    except OSError as error:
        return os.strerror(error.errno)
    return ""
answer = {str(f): opens(f, socket.SOCK_DGRAM) for f in (1, 2, 16, 17, 38, 40)}
answer["raw"] = opens(2, socket.SOCK_RAW, 1)
"""
    pairs = ask(
        tmp_path, code.replace("socket.socket(family, kind, protocol).close()", "socket.socketpair(family, kind)")
    )
    assert (pairs["1"], pairs["17"], pairs["40"]) == ("", *["Address family not supported by protocol"] * 2)
    # unix, inet, netlink; packet, alg, vsock
    unknown = "Address family not supported by protocol"
    assert ask(tmp_path, code) == {
        "1": "", "2": "", "16": "", "17": unknown, "38": unknown, "40": unknown, "raw": "Operation not permitted",
    }  # fmt: skip


def test_processes_are_bounded(tmp_path: Path) -> None:
    code = """
import time
answer = 0
try:
    while answer < 3000:
        if os.fork() == 0:
            time.sleep(60)
            os._exit(0)
        answer += 1
except OSError as error:
    answer = [answer, os.strerror(error.errno)]
"""
    count, why = ask(tmp_path, code)
    assert 900 < count < MOST_PROCESSES and why == "Resource temporarily unavailable"

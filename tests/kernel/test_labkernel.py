"""The lab kernel itself: a guest behaves as this machine would, and has the kernel features that a lab stands on.

Needs the modules of `make lab-kernel`; without them every test here fails with the sentence that says so.
"""

import fcntl
import json
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from testbed.labkernel import host, settings
from tests.waiting import eventually

CHECKOUT = Path(__file__).resolve().parents[2]
GUEST = [sys.executable, "-m", "testbed.labkernel"]
NOBODY = 65534
PATIENCE_S = 240


@pytest.fixture(scope="module", autouse=True)
def built() -> None:
    """Fails with the sentence that names `make lab-kernel` when there is no kernel or no modules."""
    host.modules_folder(settings.from_environ(os.environ))


def run(*command: str, guest: list[str] = GUEST, **options: object) -> subprocess.CompletedProcess[str]:
    """Runs a command in a guest to its end."""
    return subprocess.run(
        [*guest, *command], capture_output=True, text=True, timeout=PATIENCE_S, check=False,
        **{"cwd": CHECKOUT, **options},
    )  # fmt: skip


@contextmanager
def running(script: str, before: str = ":") -> Iterator[subprocess.Popen[str]]:
    """A guest that runs a shell script, once it has written its first line."""
    command = [*GUEST, "sh", "-c", f"{before}; echo begun; {script}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=CHECKOUT) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        try:
            yield process
        finally:
            process.kill()


def guest_processes() -> set[int]:
    """The host processes of these tests' guests, known by the folder of their memory."""
    mark = f"TMPDIR={os.environ['TESTBED_UML_RAM']}".encode()
    found = set()
    for environ in Path("/proc").glob("[0-9]*/environ"):
        try:
            if mark in environ.read_bytes().split(b"\0"):
                found.add(int(environ.parent.name))
        except OSError:  # it has just ended, or is another user's
            continue
    return found


@pytest.fixture(autouse=True)
def own_memory_folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Guests of these tests have their memory in a folder of their own, by which their processes are known."""
    folder = Path(f"/dev/shm/labkernel-test-{os.getpid()}")
    folder.mkdir()
    folder.chmod(0o777)
    monkeypatch.setenv("TESTBED_UML_RAM", str(folder))
    yield
    folder.rmdir()  # which proves that nothing lies in it


def test_arguments_folder_output_and_exit_code_are_the_commands() -> None:
    done = run("sh", "-c", 'printf "%s|" "$@"; pwd; echo problem >&2; exit 3', "sh", "a b", "", "'\"$x")
    assert done.stdout == f"a b||'\"$x|{CHECKOUT}\n"
    assert done.stderr == "problem\n"
    assert done.returncode == 3


def test_a_large_output_arrives_whole() -> None:
    done = run(sys.executable, "-c", "for number in range(300_000): print(number)")
    assert done.returncode == 0
    assert done.stdout == "".join(f"{number}\n" for number in range(300_000))


def test_output_arrives_while_the_command_runs() -> None:
    with running("sleep 1; echo more; sleep 60") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "more\n"
        assert process.poll() is None


def test_ctrl_c_reaches_the_command_which_may_tidy_up() -> None:
    with running("while :; do sleep 0.1; done", before="trap 'echo tidied; exit 130' INT") as process:
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=60)
        assert (output, process.returncode) == ("tidied\n", 130)
    assert not guest_processes()


def test_a_second_ctrl_c_ends_a_guest_whose_command_goes_on() -> None:
    with running("while :; do sleep 0.1; done", before="trap '' INT") as process:
        process.send_signal(signal.SIGINT)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(timeout=2)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=20) == 130
    assert not guest_processes()


def test_sigterm_reaches_the_command() -> None:
    with running("exec sleep 60") as process:
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 143


def test_nothing_is_left_when_the_runner_is_killed() -> None:
    with running("sleep 60") as process:
        assert guest_processes()
        process.kill()
        assert eventually(lambda: not guest_processes(), within_s=20)


def test_nothing_is_left_when_the_guard_is_killed() -> None:
    with running("sleep 60") as process:
        guard = int(Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text())
        os.kill(guard, signal.SIGKILL)
        _, problem = process.communicate(timeout=60)
        assert "stopped: the reason stands at the end of its log" in problem
        assert process.returncode == 4
    assert eventually(lambda: not guest_processes(), within_s=20)


def test_a_command_that_takes_too_long_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TESTBED_UML_TIMEOUT_S", "1")
    assert run("sleep", "60").returncode == 124


def test_a_terminal_is_a_terminal_of_the_same_size() -> None:
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(CHECKOUT)
        command = [*GUEST, "sh", "-c", "test -t 1 && test -t 2 && stty size <&1"]
        # Not the C library's environment, in which readline has set COLUMNS and LINES behind Python's back.
        os.execve(GUEST[0], command, {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "LINES")})
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 33, 77, 0, 0))
    seen = b""
    while select.select([terminal], [], [], PATIENCE_S)[0]:
        try:
            seen += os.read(terminal, 1000)
        except OSError:  # the other end is closed
            break
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert seen.split() == [b"33", b"77"]


def test_the_stock_modules_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TESTBED_UML_MODULES", "/usr/lib/uml/modules")
    done = run("echo", "ran all the same")
    assert done.returncode == 3
    assert "OVS on this kernel lacks CT zone" in done.stderr
    assert done.stdout == ""


def test_missing_modules_are_named_with_the_remedy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TESTBED_LABKERNEL_CACHE", str(tmp_path))
    done = run("true")
    assert done.returncode == 3
    assert "run `make lab-kernel` in the checkout first" in done.stderr


def check_datapath(done: subprocess.CompletedProcess[str]) -> None:
    """What tests/kernel/kernel_datapath.py must have seen."""
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert seen["ct_zone"]
    assert seen["lost_percent"] == 0
    assert seen["delays_ms"] == pytest.approx([0.5] * 4, abs=0.0015)
    # Four passages of 0.5 ms there and back, each exact or late, never early.
    assert seen["added_round_trip_ms"] > 1.8
    assert seen["client_errors"] == ""
    assert len(seen["answers"]) == 40
    assert set(seen["answers"]) == {"h2", "h3"}
    assert seen["connections_in_zone_1"] == 40


def test_kernel_datapath_with_netem_zones_and_nat() -> None:
    check_datapath(run(sys.executable, "tests/kernel/kernel_datapath.py"))


def test_the_same_as_an_ordinary_user_in_a_folder_with_a_space(ordinary_folder: Path) -> None:
    user = {} if os.geteuid() else {"user": NOBODY, "group": NOBODY, "extra_groups": []}
    environment = {"HOME": "/nonexistent", "PATH": os.environ["PATH"], "PYTHONPATH": str(CHECKOUT)}
    environment["TESTBED_UML_RAM"] = os.environ["TESTBED_UML_RAM"]
    program = str(CHECKOUT / "tests/kernel/kernel_datapath.py")
    script = 'echo made >file; exec "$@"'
    done = run("sh", "-c", script, "sh", sys.executable, program, cwd=ordinary_folder, env=environment, **user)
    check_datapath(done)
    made = ordinary_folder / "file"
    assert made.read_text() == "made\n"
    assert made.stat().st_uid == (os.geteuid() or NOBODY)

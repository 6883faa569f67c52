"""What a program sees in its place, what it may do there, and how it ends; each in namespaces as a lab has them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from testbed.network.process import place, skeleton
from testbed.network.process.place import Access
from tests.lab.conftest import CHECKOUT
from tests.lab.network.place_rig import NAMESPACES, PYTHON, USER_ID, ask, run, shell

# What it sees


def test_it_sees_its_own_processes_and_those_alone(tmp_path: Path) -> None:
    code = "answer = [(p, open(f'/proc/{p}/cmdline').read()[:3]) for p in os.listdir('/proc') if p.isdigit()]"
    (first, line), (own, _) = ask(tmp_path, code)
    assert (first, own) == ("1", "2")
    assert line == "pla"


def test_the_first_process_tells_nothing(tmp_path: Path) -> None:
    result = shell(
        tmp_path,
        "tr -d '\\0' </proc/1/cmdline; cd /proc/1; cat environ maps; ls fd root; readlink -v exe",
    )
    assert result.output.startswith("place")
    assert str(tmp_path) not in result.output
    assert result.output.count("Permission denied") == 5, result.output


def test_it_sees_the_machines_programs_and_little_else(tmp_path: Path) -> None:
    seen = set(ask(tmp_path, "answer = os.listdir('/')"))
    assert seen - {"lib32", "lib64", "libx32"} == {
        "bin", "dev", "etc", "home", "lib", "opt", "proc", "root", "run", "sbin", "sys", "tmp", "usr", "var",
    }  # fmt: skip
    assert ask(tmp_path, "answer = sorted(os.listdir('/run'))") == ["etc", "secrets"]
    devices = set(ask(tmp_path, "answer = os.listdir('/dev')"))
    assert devices == {"full", "null", "random", "tty", "urandom", "zero", "fd", "stdin", "stdout", "stderr", "shm"}
    assert not {"shadow", "ssh", "sudoers", "cron.d", "machine-id"} & set(ask(tmp_path, "answer = os.listdir('/etc')"))


def test_what_is_mounted_says_nothing_of_where_the_lab_lies(tmp_path: Path) -> None:
    (tmp_path / "image").mkdir()
    points = ask(tmp_path, "answer = open('/proc/self/mountinfo').read()", program=tmp_path / "image")
    assert str(tmp_path) not in points


def test_it_has_names_of_its_own_and_others_are_refused_at_once(tmp_path: Path) -> None:
    code = """
import pwd, socket, time
def look_up(name):
    began = time.monotonic()
    try:
        found = socket.getaddrinfo(name, 80)[0][4][0]
    except socket.gaierror:
        found = ""
    return found, time.monotonic() - began < 1
names = ("one.t.1", "localhost", "mail", "nothing.example", "nothing")
answer = [pwd.getpwuid(os.getuid()).pw_name, socket.gethostname(), *map(look_up, names)]
"""
    refused = ["", True]
    assert ask(tmp_path, code, names=("10.96.1.1\tmail mail.t",)) == [
        "app", "one.t.1", ["10.202.0.1", True], ["127.0.0.1", True], ["10.96.1.1", True], refused, refused,
    ]  # fmt: skip


def test_it_gives_the_lab_no_other_host_name(tmp_path: Path) -> None:
    assert shell(tmp_path, "hostname").host_name == os.uname().nodename


def test_its_environment_is_what_it_was_given(tmp_path: Path) -> None:
    assert ask(tmp_path, "answer = dict(os.environ)", environment={"A": "b"}) == {
        "A": "b", "HOME": "/home/app", "LANG": "C.UTF-8", "PATH": skeleton.PROGRAM_PATH,
    }  # fmt: skip


def test_a_secret_is_read_and_not_changed(tmp_path: Path) -> None:
    result = shell(
        tmp_path,
        "cat /var/openfaas/secrets/key; cd /run/secrets; echo no >key; echo no >other; rm -f key; mv key other",
        secrets={"key": "its value\n"},
    )
    assert result.output.startswith("its value\n")
    assert result.output.count("Permission denied") == 4, result.output


def test_a_file_that_is_shown_is_read_and_not_changed(tmp_path: Path) -> None:
    (tmp_path / "given").write_text("as given\n")
    (tmp_path / "given").chmod(0o666)
    result = shell(tmp_path, "cat /run/given/x; echo no >/run/given/x", shown={str(tmp_path / "given"): "given/x"})
    assert result.output.startswith("as given\n") and "Read-only file system" in result.output


# What it writes


@pytest.mark.parametrize("access", Access)
def test_a_program_changes_its_own_copy_or_nothing_or_itself(tmp_path: Path, access: Access) -> None:
    image = tmp_path / "image"
    (image / "function").mkdir(parents=True)
    (image / "function" / "handler").write_text("as built\n")
    for path in (image, image / "function", image / "function" / "handler"):
        path.chmod(0o777)
    command = "cat function/handler; echo mine >function/handler; echo new >new; cat function/handler new; pwd"
    result = shell(tmp_path, command, program=image, access=access.value)
    if access is Access.READ:
        assert result.output.count("Read-only file system") == 2
    else:
        assert result.output == "as built\nmine\nnew\n/home/app\n"
    written = access is Access.WRITE
    assert sorted(path.name for path in image.rglob("*")) == ["function", "handler", *(["new"] if written else [])]
    assert (image / "function" / "handler").read_text() == ("mine\n" if written else "as built\n")


def test_data_is_written_through(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir(mode=0o777)
    (tmp_path / "data").chmod(0o777)
    assert shell(tmp_path, f"echo kept >{skeleton.DATA}/file", data=tmp_path / "data").exit_code == 0
    assert (tmp_path / "data" / "file").read_text() == "kept\n"
    assert (tmp_path / "data" / "file").stat().st_uid == USER_ID


@pytest.mark.parametrize("folder", ["/tmp", "/dev/shm", "."])
def test_its_files_are_bounded(tmp_path: Path, folder: str) -> None:
    (tmp_path / "image").mkdir()
    result = shell(
        tmp_path, f"head -c 3M /dev/zero >{folder}/a && head -c 3M /dev/zero >{folder}/b",
        files_bytes=4 << 20, program=tmp_path / "image",
    )  # fmt: skip
    assert "No space left on device" in result.output and result.exit_code == 1


def test_many_small_files_are_bounded(tmp_path: Path) -> None:
    code = """
answer = 0
try:
    for answer in range(100_000):
        open(f"/tmp/{answer}", "w").close()
except OSError as error:
    answer = os.strerror(error.errno)
"""
    assert ask(tmp_path, code, files_bytes=4 << 20) == "No space left on device"


# How it ends


@pytest.mark.parametrize(
    ("command", "end", "code"),
    [
        ("exit 3", "ended with exit code 3", 3),
        ("kill -9 $$", "was ended by SIGKILL", 137),
        ("no-such-program", "ended with exit code 127", 127),
        ("kill -TERM 1; sleep 60", "was ended by SIGTERM", 143),
    ],
)
def test_its_end_is_told(tmp_path: Path, command: str, end: str, code: int) -> None:
    result = shell(tmp_path, command)
    assert (result.end, result.exit_code) == (end, code)


def test_a_program_that_is_not_there_is_named(tmp_path: Path) -> None:
    result = run(tmp_path, ("no-such-program",))
    assert result.output == "no-such-program could not be started: No such file or directory\n"
    assert result.exit_code == 127


def test_a_place_that_cannot_be_made_says_why(tmp_path: Path) -> None:
    line = (place.FIRST_PROCESS, tmp_path / "nowhere", "/", "7", "one", "2", "64", tmp_path / "pid", "--", "true")
    done = subprocess.run(["unshare", *NAMESPACES, *map(str, line)], capture_output=True, text=True, check=False)
    assert done.returncode == place.PLACE_FAILED
    assert done.stderr == "its place could not be made: chdir(folder): No such file or directory\n"


@pytest.mark.parametrize("orphan", ["sleep 300 &", "setsid sleep 300 &", "(setsid sh -c 'trap : TERM; sleep 300' &)"])
def test_nothing_outlives_it(tmp_path: Path, orphan: str) -> None:
    result = shell(tmp_path, f"{orphan} sleep 0.2")
    assert result.left == []


def test_a_signal_is_handed_on(tmp_path: Path) -> None:
    result = shell(
        tmp_path, "trap 'echo heard; exit 4' TERM; while :; do sleep 0.05; done", signal_after_s=(signal.SIGTERM, 0.5)
    )
    assert (result.output, result.end) == ("heard\n", "ended with exit code 4")


def test_who_reads_its_pipe_sees_the_end_when_it_closes_it(tmp_path: Path) -> None:
    code = "import os, time; os.write({PIPE}, b'ready'); os.close({PIPE}); time.sleep(5); print('later')"
    result = run(tmp_path, (PYTHON, "-c", code), signal_after_s=(signal.SIGKILL, None))
    assert result.read == "ready"
    assert "later" not in result.output  # the reader was not kept waiting until the end


# Where it is made


@pytest.mark.parametrize("umask", [0o022, 0o077])
def test_whatever_the_umask_is_and_whoever_may_read_the_checkout(tmp_path: Path, umask: int) -> None:
    package = tmp_path / "checkout" / "testbed"
    (package / "model").mkdir(parents=True)
    for file, text in (("__init__.py", ""), ("model/__init__.py", "WORD = 'read'\n")):
        (package / file).write_text(text)
        (package / file).chmod(0o600)
    for folder in (package / "model", package, package.parent):
        folder.chmod(0o700)
    code = (
        "import testbed.model; answer = [testbed.model.WORD, open('/etc/hosts').read()[:9], os.listdir('/usr') != []]"
    )
    own = {"environment": {"PYTHONPATH": str(skeleton.PACKAGES)}, "checkout": package.parent, "umask": umask}
    assert ask(tmp_path, code, **own) == ["read", "127.0.0.1", True]


def test_a_machine_on_which_no_place_can_be_made_is_told_so(tmp_path: Path) -> None:
    code = f"""
from pathlib import Path
from testbed.model.errors import LabError
from testbed.network.process.place import Grounds
grounds = Grounds.of_lab(Path({str(tmp_path)!r}))
grounds.prepare(())
grounds.try_out(Path("/usr"), {USER_ID})
try:
    grounds.try_out(Path("/nowhere"), {USER_ID})
except LabError as error:
    print(error)
"""
    done = subprocess.run(
        ["unshare", *NAMESPACES, sys.executable, "-c", code], cwd=CHECKOUT, capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("functions cannot be kept in their place on this machine: ")
    assert "No such file or directory; use --lab-kernel" in done.stdout
    assert sorted(path.name for path in tmp_path.iterdir()) == ["place", "skeleton"]


def test_who_still_writes_is_waited_for(tmp_path: Path) -> None:
    code = f"""
import threading, time
from pathlib import Path
from testbed.network.process.mounts import make_read_only, mount
folder = Path({str(tmp_path)!r})
mount("none", folder, "tmpfs")
file = (folder / "file").open("w")
threading.Timer(0.3, file.close).start()
make_read_only(folder)
try:
    (folder / "other").touch()
except OSError as error:
    print(error.strerror)
"""
    done = subprocess.run(
        ["unshare", *NAMESPACES, sys.executable, "-c", code], cwd=CHECKOUT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "Read-only file system\n"

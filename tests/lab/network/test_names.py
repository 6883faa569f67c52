"""Names in a lab: what it knows is found, everything else refused at once, whatever the machine's files say."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from testbed.model import addressing
from testbed.model.cluster import Route
from testbed.model.stack import stack_file
from testbed.network.lab import Lab
from testbed.platform.client.platform import Platform
from tests.waiting import until

AT_ONCE_S = 4.0
"""An answer takes 20 ms and the machine may be busy; to wait for a server that does not answer takes 5 s or more."""
WITHIN_S = 1.0
"""Measured inside the function: between the two there is no load that a timing of the whole call would contain."""
NAMESERVER = "10.200.0.53"
"""Where the switch drops what is sent, so that the machine's own settings would take 10 s."""
LINKED, NSSWITCH = "nameserver {}\\n", "passwd: files\\nhosts: dns [!UNAVAIL=return] files\\n"
PREPARE = f"""
set -e
mount -t tmpfs none "$1"
mkdir "$1/upper" "$1/work" "$1/linked"
mount -t overlay none -o lowerdir=/etc,upperdir="$1/upper",workdir="$1/work" /etc
printf '{LINKED.format(NAMESERVER)}' > "$1/linked/resolv.conf"
ln -sf "$1/linked/resolv.conf" /etc/resolv.conf
printf '{NSSWITCH}' > /etc/nsswitch.conf
shift
exec "$@"
"""


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A lab on a machine whose resolv.conf is a symbolic link to a file that names a server in 10.0.0.0/8."""
    name, folder = f"names-{os.getpid()}", str(tmp_path_factory.mktemp("names"))
    up = [sys.executable, "-m", "testbed.run", "up", "--name", name, "--port", "0"]
    runner = subprocess.Popen(
        ["unshare", "--mount", "sh", "-c", PREPARE, "sh", folder, *up],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
    )  # fmt: skip
    try:
        until(lambda: runner.poll() is not None or is_ready(name), "the lab is ready", within_s=60)
        assert runner.poll() is None, runner.stdout and runner.stdout.read()
        yield Lab.attach(name)
    finally:
        runner.terminate()
        runner.wait(60)


def is_ready(name: str) -> bool:
    status = [sys.executable, "-m", "testbed.run", "status", "--name", name]
    return subprocess.run(status, capture_output=True, check=False).returncode == 0


def asked(lab: Lab, host: str, *command: str) -> tuple[float, int, str]:
    """Seconds, exit code and output of a command in a host."""
    started = time.monotonic()
    done = subprocess.run(lab.command(host, command), capture_output=True, text=True, check=False, timeout=60)
    return time.monotonic() - started, done.returncode, done.stdout


def test_the_machine_would_make_one_wait(lab: Lab) -> None:
    assert Path(f"/proc/{lab.init_pid}/root/etc/resolv.conf").is_symlink()


@pytest.mark.parametrize("host", ["client", "gateway", "root"])
def test_an_unknown_name_is_refused_at_once(lab: Lab, host: str) -> None:
    took_s, code, _ = asked(lab, host, "getent", "ahosts", "nothing.example")
    assert code == 2
    assert took_s < AT_ONCE_S


def test_the_gateway_and_the_machine_itself_are_found_at_once(lab: Lab) -> None:
    for name, address in (("gateway.openfaas", addressing.vip(addressing.GATEWAY_ID)), (os.uname().nodename, "127.")):
        took_s, code, output = asked(lab, "client", "getent", "hosts", name)
        assert (code, output.startswith(address)) == (0, True)
        assert took_s < AT_ONCE_S


def test_the_machines_other_services_are_still_asked(lab: Lab) -> None:
    text = asked(lab, "client", "cat", "/etc/nsswitch.conf")[2]
    assert text.splitlines() == ["passwd: files", "hosts: files dns"]


@pytest.fixture(scope="module")
def askers(lab: Lab) -> Iterator[Platform]:
    with lab.inside():
        platform = Platform(lab)
        stack = Path(__file__).parents[1] / "functions" / "asker" / "stack.yaml"
        platform.deploy(stack_file.load(stack, {}), "names", Route.DIRECT, "spread")
        platform.wait_ready()
        yield platform


@pytest.mark.parametrize("language", ["python", "node", "ruby", "java"])
def test_a_function_is_answered_at_once(askers: Platform, language: str) -> None:
    """Neither an unknown name nor its own makes it wait, in any language."""
    eip = next(one.eip for one in askers.state().instances.values() if one.function == language)
    expected = {"nothing.example": "unknown", "nothing": "unknown", "": eip,
                "gateway.openfaas": addressing.vip(addressing.GATEWAY_ID)}  # fmt: skip
    for name, address in expected.items():
        said = requests.post(
            f"http://{addressing.GATEWAY_MANAGEMENT_IP}:8080/function/{language}.names", data=name, timeout=60
        ).text
        found, seconds = said.split()
        assert found == address, name
        assert float(seconds) < WITHIN_S, name

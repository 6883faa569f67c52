"""A command's output reaches the console whole, as a pipe or as a terminal."""

import os
import pty
import subprocess
import tty

import pytest

from testbed.labkernel.output import Outlet, Terminal


@pytest.fixture
def console() -> tuple[int, Terminal]:
    """The host's end of a raw terminal, and the guest's end."""
    near, far = pty.openpty()
    tty.setraw(far)
    return near, Terminal(far, columns=77, lines=33)


def test_a_pipe_stays_a_pipe_and_loses_nothing(console: tuple[int, Terminal]) -> None:
    near, terminal = console
    outlet = Outlet(terminal, is_terminal=False)
    script = "test -t 1 && echo terminal; printf 'a\\nb'"
    command = subprocess.Popen(["sh", "-c", script], stdout=outlet.descriptor)
    outlet.begin()
    command.wait()
    os.set_blocking(near, False)
    outlet.finish()
    assert os.read(near, 100) == b"a\nb"


def test_what_a_command_leaves_running_is_not_waited_for(console: tuple[int, Terminal]) -> None:
    terminal = console[1]
    outlet = Outlet(terminal, is_terminal=False)
    left = subprocess.Popen(["sleep", "60"], stdout=outlet.descriptor)
    outlet.begin()
    outlet.finish()
    assert left.poll() is None
    left.kill()
    left.wait()


def test_a_terminal_has_the_users_size(console: tuple[int, Terminal]) -> None:
    terminal = console[1]
    outlet = Outlet(terminal, is_terminal=True)
    assert os.get_terminal_size(outlet.descriptor) == (77, 33)
    terminal.resize(100, 40)
    assert os.get_terminal_size(outlet.descriptor) == (100, 40)

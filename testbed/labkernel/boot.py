"""Runs a command in a lab kernel's guest as if it ran here: arguments, folder, output, exit code, Ctrl-C.

Needs the modules that `testbed.labkernel.build` makes. Batch only: the command's stdin is empty.
"""

import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from testbed.labkernel import host
from testbed.labkernel.guest import Guest
from testbed.labkernel.settings import (
    COVERED,
    HIDDEN,
    INSIDE,
    MODULES,
    Settings,
    from_environ,
    inside,
    passed_environment,
)
from testbed.labkernel.wire import Order
from testbed.model.checkout import CHECKOUT
from testbed.model.errors import UsageError


def run(argv: Sequence[str], cwd: Path | str | None = None, settings: Settings | None = None) -> int:
    """Runs `argv` as root of a guest in folder `cwd` (this one); its exit code, 128 + number after a signal.

    The first Ctrl-C or SIGTERM goes to the command, the second ends the guest at once; 124 when the
    settings' time is over. Raises EnvironmentProblem where no guest can run, LabError when the
    guest's kernel stops by itself, UsageError for a folder that the guest does not share with the host.
    """
    if inside():
        raise UsageError("this is a lab kernel's guest already: leave out --lab-kernel")
    settings = settings or from_environ(os.environ)
    folder = Path(cwd or Path.cwd()).absolute()
    for place in (folder, CHECKOUT, settings.cache):
        refuse_hidden(place)
    with Guest(settings, order(argv, folder, host.modules_folder(settings))) as guest:
        return guest.wait()


def refuse_hidden(place: Path) -> None:
    """Raises UsageError for a folder that the guest covers with its own."""
    for hidden in HIDDEN:
        if place.is_relative_to(hidden):
            raise UsageError(f"the lab kernel has its own {hidden} and does not see {place}: use another folder")


def order(argv: Sequence[str], folder: Path, modules: Path) -> Order:
    """The order for the guest, with this process's environment and terminal."""
    columns, lines = shutil.get_terminal_size()
    out, err = os.fstat(1), os.fstat(2)
    return Order(
        argv=list(argv),
        cwd=str(folder),
        environment=passed_environment(os.environ) | {INSIDE: "1"},
        check=[] if host.proved(modules) else [sys.executable, "-m", "testbed.labkernel.selfcheck"],
        checkout=str(CHECKOUT),
        modules_folder=str(modules),
        modules=list(MODULES),
        covered=list(COVERED),
        out_is_terminal=os.isatty(1),
        err_is_terminal=os.isatty(2),
        err_joins_out=(out.st_dev, out.st_ino) == (err.st_dev, err.st_ino),
        columns=columns,
        lines=lines,
    )

"""What a template needs of the machine, and the command that compiles a function when its image is built.

`template.yml` says both. Nothing is downloaded: what a language needs comes from the distribution's packages.
"""

from __future__ import annotations

import compileall
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from testbed.model.checkout import CHECKOUT
from testbed.model.errors import EnvironmentProblem, StackError
from testbed.network.process import skeleton

PROGRAM_PATH = f"{Path(sys.executable).parent}:{skeleton.SYSTEM_PATH}"
"""Where the machine has what instances find in their places by `skeleton.PROGRAM_PATH`."""
BUILD_TIMEOUT_S = 300.0
_IN_A_PLACE = (
    "unshare", "--mount", "--pid", "--net", "--fork", "--kill-child=SIGKILL", "--mount-proc",
    sys.executable, "-m", "testbed.platform.images.workshop",
)  # fmt: skip


def check_needs(function: str, language: str, needs: Mapping[str, str]) -> None:
    """Raise EnvironmentProblem for the first of a template's needs that is not installed."""
    for needed, package in missing(needs).items():
        raise EnvironmentProblem(
            f"function {function} is written for {language}, which needs {needed}; "
            f"install the package {package} (make setup does)"
        )


def missing(needs: Mapping[str, str]) -> dict[str, str]:
    """Those programs (or files, by an absolute pattern) that are not installed, with the Debian package of each."""
    return {needed: package for needed, package in needs.items() if not _is_there(needed)}


def _is_there(needed: str) -> bool:
    if needed.startswith("/"):
        return any(Path("/").glob(needed[1:]))
    return shutil.which(needed, path=PROGRAM_PATH) is not None


def compile_modules(folder: Path) -> None:
    """Compile the Python modules of an image for where an instance sees them; one with a mistake says so when used."""
    compileall.compile_dir(folder, quiet=2, stripdir=folder, prependdir=skeleton.HOME)


def run_build(function: str, command: str, folder: Path) -> None:
    """Run the template's build command in the image's folder; StackError with the compiler's first line.

    A compiler may run what it compiles (a Java handler brings its own annotation processors), so that root has it run
    in a place of its own. Who is not root gives it no right that the author of the handler has not.
    """
    line = ("/bin/sh", "-c", command)
    try:
        with tempfile.TemporaryDirectory(prefix=".workshop-", dir=folder.parent) as workplace:
            done = subprocess.run(
                (*_IN_A_PLACE, workplace, str(folder), *line) if os.geteuid() == 0 else line,
                cwd="/" if os.geteuid() == 0 else folder,  # what Python finds where it starts it may import
                env={"PATH": PROGRAM_PATH, "HOME": str(folder), "LANG": "C.UTF-8", "PYTHONPATH": str(CHECKOUT)},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=BUILD_TIMEOUT_S,
                check=False,
            )
    except subprocess.TimeoutExpired:
        raise StackError(
            f"function {function} does not compile within {BUILD_TIMEOUT_S:.0f} s; run its template's build command "
            f"by hand: {command}"
        ) from None
    if done.returncode:
        lines = [line.strip() for line in (done.stderr + done.stdout).splitlines() if line.strip()]
        reason = lines[0] if lines else f"exit code {done.returncode}"
        raise StackError(f"function {function} does not compile: {reason}; mend it and deploy again")

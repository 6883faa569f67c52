"""Builds the lab kernel's modules, once: `python -m testbed.labkernel.build`, called by `make lab-kernel`.

Debian's User-Mode Linux lacks conntrack zones, which OVS sends with every ct(). The eight modules that
know `struct nf_conn` are compiled again with them, from the source package of exactly the version that
the kernel program reports; those that would misread the changed struct are left out. A guest then
proves the result. The kernel program itself stays the distribution's.
"""

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from fcntl import LOCK_EX, flock
from pathlib import Path

from testbed.labkernel import boot, debian, host, modules
from testbed.labkernel.settings import Settings, from_environ
from testbed.model.errors import EnvironmentProblem, TestbedError

DISK_GIB = 0.7
"""At most, while it runs: source package 0.14, unpacked 0.3, modules 0.06."""
MINUTES = 3


def say(line: str) -> None:
    """A line of progress."""
    print(f"lab kernel: {line}", flush=True)


def build(settings: Settings) -> Path:
    """Makes sure that proved modules for the kernel program are in the cache; their folder.

    Does nothing when they are. Raises EnvironmentProblem, with what to do, where it is impossible.
    """
    debian.require("user-mode-linux", when=not debian.found(settings.kernel), say=say)
    version = host.kernel_version(host.kernel_binary(settings))
    folder = host.built_modules(settings, version)
    if host.proved(folder):
        say(f"modules for Linux {version} are ready in {folder}")
        return folder
    with only_one(settings.cache):
        if not (folder / version / "modules.dep").exists():
            make(settings.cache, version, folder)
        prove(settings, folder)
    return folder


def make(cache: Path, version: str, folder: Path) -> None:
    """Compiles into `folder`; leaves nothing else behind, also when it fails."""
    say(f"modules for Linux {version} will be compiled: about {MINUTES} minutes and {DISK_GIB} GB, once")
    place = workplace(cache)
    debian.require_disk(place, DISK_GIB)
    debian.require(*debian.BUILD_PACKAGES, when=True, say=say)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="build-", dir=place) as name:
        work = Path(name)
        work.chmod(0o755)
        archive = debian.source_archive(version, work, say)
        say("unpacking it")
        tree = modules.unpack(archive, work)
        say(f"compiling {len(modules.REBUILT)} modules (log: {cache / 'build.log'})")
        modules.compile_modules(tree, debian.kernel_config(), version, cache / "build.log")
        modules.assemble(tree, debian.STOCK_MODULES / version, work / "modules" / version, version)
        folder.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(work / "modules", folder)
    say(f"compiled in {time.monotonic() - began:.0f} s")


def workplace(cache: Path) -> Path:
    """Where to compile: the cache, or /var/tmp when the cache's path is one that the kernel's makefile refuses."""
    return Path("/var/tmp") if set(" :") & set(str(cache.resolve())) else cache


def prove(settings: Settings, folder: Path) -> None:
    """Boots a guest that checks OVS with the modules, which then count as proved. Raises EnvironmentProblem."""
    say("proving them in a guest (15 seconds)")
    if boot.run([sys.executable, "-c", ""], settings=settings) != 0:
        raise EnvironmentProblem(
            f"a guest with the modules of {folder} did not work: delete {folder.parent}, try again"
        )
    (folder.parent / "verified").touch()
    say(f"ready: {folder}")


@contextmanager
def only_one(cache: Path) -> Iterator[None]:
    """Makes a second build wait for the first, and clears what a killed one has left.

    Raises EnvironmentProblem when the cache cannot be written.
    """
    try:
        cache.mkdir(parents=True, exist_ok=True)
        lock = (cache / "lock").open("w")
    except OSError as problem:
        raise EnvironmentProblem(
            f"The lab kernel cannot be built into {cache} ({problem.strerror}): set TESTBED_LABKERNEL_CACHE to a "
            "folder of yours, or let its owner run `make lab-kernel`"
        ) from None
    with lock:
        flock(lock, LOCK_EX)
        for unfinished in cache.glob("build-*"):  # of a build that was killed
            if unfinished.is_dir():
                shutil.rmtree(unfinished)
        yield


def main() -> int:
    """0, or the error's exit code and its sentence."""
    argparse.ArgumentParser(prog="python -m testbed.labkernel.build", description=__doc__).parse_args()
    os.umask(0o022)  # an ordinary user shall be able to read what root builds
    try:
        build(from_environ(os.environ))
    except TestbedError as problem:
        print(problem, file=sys.stderr)
        return problem.exit_code
    except KeyboardInterrupt:
        say("interrupted; the next build begins anew")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())

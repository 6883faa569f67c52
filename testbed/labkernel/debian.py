"""What the lab kernel's build asks of Debian's package system. Every refusal is one sentence with the remedy."""

import gzip
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

from testbed.model.errors import EnvironmentProblem

BUILD_PACKAGES = (
    "gcc",
    "make",
    "bc",
    "bison",
    "flex",
    "libc6-dev",
    "libelf-dev",
    "libssl-dev",
    "xz-utils",
    "kmod",
    "cpio",
)
STOCK_MODULES = Path("/usr/lib/uml/modules")
CONFIG = Path("/usr/share/doc/user-mode-linux/config.gz")
Say = Callable[[str], None]


def found(program: str) -> bool:
    """Whether a program can be called."""
    return shutil.which(program) is not None


def require(*packages: str, when: bool, say: Say) -> None:
    """Installs what is missing of the packages, if this is root, `when` it is needed at all.

    Raises EnvironmentProblem on other systems than Debian's family, for other users, and when apt fails.
    """
    if not when:
        return
    if not found("dpkg-query") or not found("apt-get"):
        raise EnvironmentProblem(
            f"the lab kernel is built from Debian's packages ({', '.join(packages)}), and this system has no apt-get: "
            "use a Debian or Ubuntu machine, or set TESTBED_UML and TESTBED_UML_MODULES to a kernel of your own"
        )
    missing = [package for package in packages if not installed_version(package)]
    if not missing:
        return
    command = ["apt-get", "install", "-y", "--no-install-recommends", *missing]
    if os.geteuid() != 0:
        raise EnvironmentProblem(
            f"the lab kernel's build needs packages: run `sudo {' '.join(command)}`, then try again"
        )
    say(f"installing {' '.join(missing)}")
    if not all(candidates(package) for package in missing):
        _apt(["apt-get", "update"])
    _apt(command)


def require_disk(folder: Path, gib: float) -> None:
    """Raises EnvironmentProblem unless so many GB are free where `folder` lies."""
    free_gib = shutil.disk_usage(folder).free / 2**30
    if free_gib < gib:
        raise EnvironmentProblem(
            f"building the lab kernel's modules needs {gib:.1f} GB in {folder}, and {free_gib:.1f} GB are free: make "
            "room, or set TESTBED_LABKERNEL_CACHE to a folder on another disk"
        )


def installed_version(package: str) -> str | None:
    """The version of an installed package."""
    answer = _output(["dpkg-query", "-W", "-f", "${db:Status-Status} ${Version}", package])
    state, _, version = answer.partition(" ")
    return version if state == "installed" else None


def candidates(package: str) -> list[str]:
    """The versions of a package that the package sources offer, newest first."""
    return [
        line.split("|")[1].strip() for line in _output(["apt-cache", "madison", package]).splitlines() if "|" in line
    ]


def kernel_config() -> str:
    """The configuration that the distribution's User-Mode Linux was built with. Raises EnvironmentProblem."""
    if not CONFIG.exists():
        raise EnvironmentProblem(
            f"{CONFIG} is missing (documentation left out when user-mode-linux was installed?): "
            "run `sudo apt-get install --reinstall "
            "-o Dpkg::Options::='--path-include=/usr/share/doc/*' user-mode-linux`"
        )
    return gzip.decompress(CONFIG.read_bytes()).decode()


def source_archive(version: str, work: Path, say: Say) -> Path:
    """The kernel's source archive (linux-source-*.tar.xz) of exactly a version, in `work` unless installed.

    Raises EnvironmentProblem when the package sources do not have that version.
    """
    package = f"linux-source-{'.'.join(version.split('.')[:2])}"
    present = installed_version(package) or ""
    if same_kernel(present, version):
        return Path(f"/usr/src/{package}.tar.xz")
    offered = candidates(package)
    if not offered and os.geteuid() == 0:
        _apt(["apt-get", "update"])
        offered = candidates(package)
    chosen = choose_source(offered, version, built_using())
    if not chosen:
        raise EnvironmentProblem(
            f"the kernel program is Linux {version}, and {package} is offered only as "
            f"{', '.join(offered) or 'nothing'}: "
            "add the package source that has it (snapshot.debian.org has all), or update user-mode-linux"
        )
    say(f"fetching {package} {chosen} (140 MB)")
    options = ["-o", "APT::Sandbox::User=root"] if os.geteuid() == 0 else []
    _apt(["apt-get", *options, "download", f"{package}={chosen}"], work)
    deb = next(work.glob("*.deb"))
    archive = work / f"{package}.tar.xz"
    with (
        archive.open("wb") as target,
        subprocess.Popen(["dpkg-deb", "--fsys-tarfile", deb], stdout=subprocess.PIPE) as tar,
    ):
        member = f"./usr/src/{archive.name}"
        done = subprocess.run(["tar", "-xO", member], stdin=tar.stdout, stdout=target, check=False)
    if done.returncode != 0:
        raise EnvironmentProblem(f"the package {package} {chosen} holds no {member[1:]}")
    deb.unlink()
    return archive


def built_using() -> str | None:
    """The version of the Debian package linux that the installed User-Mode Linux was built from."""
    match = re.search(
        r"\blinux \(= ([^)]+)\)", _output(["dpkg-query", "-W", "-f", "${Built-Using}", "user-mode-linux"])
    )
    return match.group(1) if match else None


def choose_source(offered: Sequence[str], version: str, exact: str | None) -> str | None:
    """Of the offered package versions the exact one, else the oldest of the same kernel, else none. Pure."""
    if exact in offered and same_kernel(exact, version):
        return exact
    return next((candidate for candidate in reversed(offered) if same_kernel(candidate, version)), None)


def same_kernel(package_version: str | None, version: str) -> bool:
    """Whether a package version such as 6.1.176-1 is of kernel version 6.1.176. Pure."""
    return (package_version or "").rpartition("-")[0] == version


def _apt(command: list[str], folder: Path | None = None) -> None:
    # Another package manager may be at work: wait for it instead of failing.
    command = [command[0], "-q", "-o", "DPkg::Lock::Timeout=300", *command[1:]]
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise EnvironmentProblem(f"`{' '.join(command)}` failed: {last}")


def _output(command: list[str]) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout
    except FileNotFoundError:
        return ""

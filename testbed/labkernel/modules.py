"""Compiles the modules with conntrack zones and puts them together with the stock ones. Knows no package manager."""

import os
import shutil
import subprocess
from pathlib import Path
from typing import IO

from testbed.model.errors import EnvironmentProblem

REBUILT = (
    "net/netfilter/nf_conntrack.ko",
    "net/netfilter/nf_nat.ko",
    "net/netfilter/nf_conncount.ko",
    "net/netfilter/nfnetlink_cttimeout.ko",
    "net/netfilter/nf_conntrack_netlink.ko",
    "net/ipv4/netfilter/nf_defrag_ipv4.ko",
    "net/ipv6/netfilter/nf_defrag_ipv6.ko",
    "net/openvswitch/openvswitch.ko",
)
"""All that OVS needs of those that know `struct nf_conn`, whose layout zones change."""

READERS_WITHOUT_DEPENDENCY = ("cls_flow", "nf_socket_ipv4", "nf_socket_ipv6", "xt_HMARK", "xt_ipvs", "nfnetlink_queue")
"""Stock modules that read the struct by inline functions only, so that modules.dep does not show it."""

KEPT = ("kernel/net/", "kernel/drivers/net/", "kernel/fs/overlayfs/")
"""What a lab may ever need of the stock modules (and what these need). Who changes it raises `host.SELECTION`."""

UNNEEDED = ("Documentation/*/*", "tools/testing", "sound/*.c", "fs/*.[ch]", "drivers/*.[chS]", "drivers/*.dts*")
"""Two thirds of the source tree, of which the build reads only the Kconfig files."""


def unpack(archive: Path, work: Path) -> Path:
    """Unpacks what the build needs of a kernel source archive; the tree's folder."""
    command = ["tar", "-xf", str(archive), "-C", str(work), "--no-same-owner"]
    # Anchored to the first folder, so that arch/um/drivers and the like stay.
    excludes = [f"--exclude={archive.name.partition('.tar')[0]}/{pattern}" for pattern in UNNEEDED]
    done = subprocess.run(
        [*command, "--anchored", "--wildcards", *excludes], capture_output=True, text=True, check=False
    )
    tree = work / archive.name.partition(".tar")[0]
    if done.returncode != 0 or not tree.is_dir():
        raise EnvironmentProblem(f"{archive} could not be unpacked in {work}: {done.stderr.strip()[-300:]}")
    return tree


def compile_modules(tree: Path, config: str, version: str, log: Path) -> None:
    """Compiles REBUILT with the stock kernel's configuration plus zones.

    Raises EnvironmentProblem with the log's path, or when the tree is not of `version`.
    """
    (tree / ".config").write_text(config + "\nCONFIG_NF_CONNTRACK_ZONES=y\n")
    jobs = f"-j{len(os.sched_getaffinity(0))}"
    with log.open("w") as output:
        make(tree, output, "olddefconfig")
        if "CONFIG_NF_CONNTRACK_ZONES=y" not in (tree / ".config").read_text():
            raise EnvironmentProblem(f"Linux {version} cannot be configured with NF_CONNTRACK_ZONES: see {log}")
        make(tree, output, jobs, "modules_prepare")
        # The kernel itself is not built, so modpost knows none of its symbols: a warning, not an error.
        make(tree, output, jobs, "KBUILD_MODPOST_WARN=1", *REBUILT)
    release = subprocess.run(
        ["make", "-s", "ARCH=um", "LOCALVERSION=", "kernelrelease"],
        cwd=tree,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    if release != version:
        raise EnvironmentProblem(
            f"the source package builds modules for Linux {release}, the kernel program is {version}"
        )


def make(tree: Path, output: IO[str], *arguments: str) -> None:
    """One call of make for User-Mode Linux. Raises EnvironmentProblem with the log's path."""
    done = subprocess.run(
        ["make", "ARCH=um", "LOCALVERSION=", *arguments], cwd=tree, stdin=subprocess.DEVNULL,
        stdout=output, stderr=subprocess.STDOUT, check=False,
    )  # fmt: skip
    if done.returncode != 0:
        raise EnvironmentProblem(
            f"compiling the lab kernel's modules failed at `make {arguments[-1]}`: see {output.name}"
        )


def assemble(tree: Path, stock: Path, target: Path, version: str) -> None:
    """Makes /lib/modules/<version> in `target`: stock modules of the network, the rebuilt ones in their place."""
    dependencies = parse_dependencies((stock / "modules.dep").read_text())
    for path in chosen(dependencies):
        (target / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(stock / path, target / path)
    for path in REBUILT:
        (target / "kernel" / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(tree / path, target / "kernel" / path)
    for index in ("modules.builtin", "modules.order", "modules.builtin.modinfo"):
        shutil.copyfile(stock / index, target / index)
    # depmod wants <root>/lib/modules/<version>
    root = target.parent.parent / "root"
    (root / "lib").mkdir(parents=True)
    (root / "lib" / "modules").symlink_to(target.parent)
    subprocess.run(["/sbin/depmod", "-b", str(root), version], check=True)


def parse_dependencies(text: str) -> dict[str, list[str]]:
    """modules.dep: a module's path to the paths of all that it needs. Pure."""
    return {path: needs.split() for path, _, needs in (line.partition(":") for line in text.splitlines())}


def chosen(dependencies: dict[str, list[str]]) -> list[str]:
    """The stock modules to keep: those of KEPT and what they need, without readers of the old struct. Pure.

    A stock reader beside a rebuilt nf_conntrack panics the guest.
    """
    rebuilt = {f"kernel/{path}" for path in REBUILT}
    readers = {path for path in dependencies if Path(path).stem in READERS_WITHOUT_DEPENDENCY} | rebuilt
    wanted = [path for path in dependencies if path.startswith(KEPT)]
    kept = {path for path in wanted if not readers & {path, *dependencies[path]}}
    needed = {need for path in kept for need in dependencies[path]}
    return sorted(kept | needed)

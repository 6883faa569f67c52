"""`doctor`: versions, capabilities and room of this machine, and a real lab of a few seconds."""

from __future__ import annotations

import os
import platform as machine
import shlex
import shutil
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from importlib import metadata

import click

from testbed.commands.common import json_option, print_json, print_table
from testbed.labkernel import build
from testbed.labkernel import host as labkernel_host
from testbed.labkernel import settings as labkernel_settings
from testbed.model.checkout import CHECKOUT, TEMPLATES
from testbed.model.errors import EnvironmentProblem, TestbedError, UsageError
from testbed.network.foreign import foreign_gateway
from testbed.network.lab import REQUIRED_PROGRAMS, Lab
from testbed.network.process.place import FIRST_PROCESS
from testbed.network.switching import datapath
from testbed.network.switching.trunk import ELEMENT
from testbed.platform.datastores import mariadb
from testbed.platform.images import tools
from testbed.platform.images.build import read_template

NEEDED_GB = 2.0
"""Room for the environment, the lab kernel's modules and some runs."""


@dataclass(frozen=True)
class Check:
    """One finding. `remedy` is empty when all is well."""

    what: str
    found: str
    remedy: str = ""
    fatal: bool = False


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@json_option
@click.option("--no-lab", is_flag=True, help="Leave the trial lab out.")
def command(as_json: bool, no_lab: bool) -> None:
    """Check this machine: versions, datapaths, room, and a real lab for a few seconds.

    \b
    Examples:
      sudo testbed doctor
      testbed doctor --no-lab --json
    """
    checks = [*versions(), *capabilities(), languages(), data_store(), room()]
    if not no_lab:
        checks.append(trial_lab())
    if as_json:
        print_json([asdict(check) for check in checks])
    else:
        print_table("this machine", ["what", "found", "to do"], [[c.what, c.found, c.remedy or "-"] for c in checks])
    fatal = [check.what for check in checks if check.fatal]
    if fatal:
        raise EnvironmentProblem(f"a native lab cannot run here because of: {', '.join(fatal)}; see the column 'to do'")


def versions() -> list[Check]:
    """What is installed, in which version."""
    checks = [Check("system", f"{machine.freedesktop_os_release()['PRETTY_NAME']}, Linux {machine.release()}")]
    checks.append(Check("python", sys.version.split()[0]))
    for program, package in REQUIRED_PROGRAMS.items():
        if shutil.which(program) is None:
            checks.append(Check(program, "missing", f"make setup (package {package})", fatal=True))
    if shutil.which("ovs-vsctl"):
        version = subprocess.run(["ovs-vsctl", "--version"], capture_output=True, text=True, check=True).stdout
        checks.append(Check("Open vSwitch", version.splitlines()[0].rpartition(" ")[2]))
    for name in ("ryu", "locust", "uvloop", "pandas"):
        checks.append(Check(name, metadata.version(name)))
    return checks


def capabilities() -> list[Check]:
    """Which ways of running a lab this machine has."""
    root = os.geteuid() == 0
    checks = [Check("root", "yes" if root else "no", "" if root else "sudo, or --lab-kernel for batch verbs", not root)]
    kernel, userspace = datapath.kernel_obstacle(), datapath.userspace_obstacle()
    checks.append(Check("kernel datapath", "yes" if kernel is None else f"no: {kernel}"))
    checks.append(Check("userspace datapath", "yes" if userspace is None else f"no: {userspace}"))
    if kernel and userspace:
        checks.append(Check("datapath", "none", "use --lab-kernel", fatal=True))
    if not ELEMENT.exists():
        checks.append(Check("delay element", "missing", "make setup", fatal=kernel is not None))
    if not FIRST_PROCESS.exists():
        checks.append(Check("first process of functions", "missing", "make setup", fatal=True))
    checks.append(lab_kernel())
    checks.append(gateway_program())
    return checks


def languages() -> Check:
    """Which languages functions can be written in here."""
    folders = sorted(file.parent for file in TEMPLATES.glob("*/template.yml"))
    templates = {folder.name: read_template(folder) for folder in folders}
    absent = {language: tools.missing(template.needs) for language, template in templates.items()}
    packages = sorted({package for needs in absent.values() for package in needs.values()})
    usable = [language for language, needs in absent.items() if not needs]
    return Check("languages", ", ".join(usable), f"make setup (packages {', '.join(packages)})" if packages else "")


def data_store() -> Check:
    """Whether the store mariadb can be started."""
    try:
        return Check("store mariadb", f"yes: {mariadb.server()}")
    except EnvironmentProblem:
        return Check("store mariadb", "missing", "make setup (package mariadb-server)")


def gateway_program() -> Check:
    """Which gateway a lab would run: ours, unless TESTBED_GATEWAY_CMD names another program."""
    try:
        command = foreign_gateway()
    except UsageError as error:
        return Check("gateway", f"no: {error}", "correct or unset TESTBED_GATEWAY_CMD", fatal=True)
    return Check("gateway", f"TESTBED_GATEWAY_CMD: {shlex.join(command)}" if command else "the testbed's own")


def lab_kernel() -> Check:
    """Whether --lab-kernel could start a guest now."""
    try:
        modules = labkernel_host.modules_folder(labkernel_settings.from_environ(os.environ))
    except EnvironmentProblem as problem:
        price = f"make lab-kernel ({build.MINUTES} minutes, {build.DISK_GIB:g} GB while building)"
        return Check("lab kernel", f"no: {problem}", price)
    return Check("lab kernel", f"yes: {modules}")


def room() -> Check:
    """Cores, memory and disk, with the minutes that the main experiment takes."""
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9
    free_gb = shutil.disk_usage(CHECKOUT).free / 1e9
    found = f"{os.cpu_count()} cores, {pages:.0f} GB memory, {free_gb:.0f} GB of disk free"
    short = free_gb < NEEDED_GB
    return Check("room", found, f"free {NEEDED_GB:.0f} GB of disk" if short else "", fatal=short)


def trial_lab() -> Check:
    """Start a real lab of two nodes, ask it for its trunks, end it."""
    started = time.monotonic()
    try:
        with Lab.start(name=f"doctor-{os.getpid()}", nodes=2, delay_ms=0.5) as lab:
            effective = lab.client.links()[0]["readback"][0]["delay_ms"]
            found = (
                f"{lab.datapath} datapath, trunk delay reads back as {effective} ms, {time.monotonic() - started:.1f} s"
            )
    except TestbedError as error:
        return Check("trial lab", f"failed: {error}", "read the sentence on the left", fatal=True)
    return Check("trial lab", found)

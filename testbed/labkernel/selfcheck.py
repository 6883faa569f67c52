"""Does OVS on this kernel do conntrack zones? `python -m testbed.labkernel.selfcheck` tries it with an OVS of its own.

Without zones every ct() of the pipeline fails silently, so a lab must not start. Needs root and the
modules loaded; touches no running OVS.
"""

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from testbed.model.errors import EnvironmentProblem

NEEDED = ("CT state", "CT zone", "CT mark", "CT state NAT", "CT orig tuple")
SCHEMA = "/usr/share/openvswitch/vswitch.ovsschema"
BRIDGE = "zonecheck"


def missing_features(report: str, needed: tuple[str, ...] = NEEDED) -> list[str]:
    """Those of the needed datapath features that `ovs-appctl dpif/show-dp-features BRIDGE` does not affirm. Pure."""
    answers = dict(re.findall(r"^(.+?): (\S+)$", report, re.MULTILINE))
    return [feature for feature in needed if answers.get(feature) != "Yes"]


def require_ct_zones(bridge: str, environment: Mapping[str, str] | None = None) -> None:
    """Raises EnvironmentProblem unless the datapath of a bridge does all that the pipeline needs of conntrack.

    `environment` names the OVS instance (OVS_RUNDIR); this process's by default.
    """
    report = _call(["ovs-appctl", "dpif/show-dp-features", bridge], environment or os.environ)
    if missing := missing_features(report):
        raise EnvironmentProblem(
            f"OVS on this kernel lacks {', '.join(missing)}, without which no ct() works: "
            "in the lab kernel run `make lab-kernel`, elsewhere use --datapath userspace"
        )


@contextmanager
def own_ovs(folder: Path) -> Iterator[dict[str, str]]:
    """An OVS of its own on the kernel datapath, without a port; the environment that names it."""
    database = folder / "conf.db"
    environment = {**os.environ, "OVS_RUNDIR": str(folder), "OVS_LOGDIR": str(folder), "OVS_DBDIR": str(folder)}
    server = ["ovsdb-server", str(database), f"--remote=punix:{folder}/db.sock"]
    daemon = ["--no-chdir", "--pidfile", "--detach", "--log-file"]
    _call(["ovsdb-tool", "create", str(database), SCHEMA], environment)
    _call([*server, *daemon], environment)
    try:
        _call(["ovs-vsctl", "--no-wait", "init"], environment)
        _call(["ovs-vswitchd", f"unix:{folder}/db.sock", *daemon], environment)
        try:
            yield environment
        finally:
            _call(["ovs-appctl", "-t", "ovs-vswitchd", "exit", "--cleanup"], environment)
    finally:
        _call(["ovs-appctl", "-t", "ovsdb-server", "exit"], environment)


def _call(command: list[str], environment: Mapping[str, str]) -> str:
    """A program's output. Raises EnvironmentProblem with what it said when it fails."""
    try:
        done = subprocess.run(command, env=dict(environment), capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired) as problem:
        raise EnvironmentProblem(f"{command[0]} cannot be run (package openvswitch-switch): {problem}") from None
    if done.returncode != 0:
        raise EnvironmentProblem(f"`{' '.join(command)}` failed: {done.stderr.strip()[-300:]}")
    return done.stdout


def main() -> int:
    """0 and one line when the kernel will do, else the error's exit code and its sentence."""
    try:
        with tempfile.TemporaryDirectory() as folder, own_ovs(Path(folder)) as environment:
            _call(["ovs-vsctl", "--timeout=20", "add-br", BRIDGE], environment)
            require_ct_zones(BRIDGE, environment)
            _call(["ovs-vsctl", "--timeout=20", "del-br", BRIDGE], environment)
    except EnvironmentProblem as problem:
        print(problem, file=sys.stderr)
        return problem.exit_code
    print(f"OVS on Linux {os.uname().release} does {', '.join(NEEDED)}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())

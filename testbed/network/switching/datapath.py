"""Which OVS datapath and which trunk this machine can run: tried, not guessed.

`kernel` needs the openvswitch module and netem; `userspace` needs /dev/net/tun. The probe makes its
interfaces in a network namespace of its own, which is gone with the probe.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

from testbed.model.errors import EnvironmentProblem, UsageError

KERNEL, USERSPACE = "kernel", "userspace"


def kernel_obstacle() -> str | None:
    """Why the kernel datapath cannot be used here, or None when it can."""
    if not Path("/sys/module/openvswitch").exists():
        subprocess.run(["modprobe", "openvswitch"], capture_output=True, check=False)
    if not Path("/sys/module/openvswitch").exists():
        return "the kernel has no openvswitch module"
    netem = "ip link add probe0 type veth peer name probe1 && tc qdisc add dev probe0 root netem delay 1ms"
    if subprocess.run(["unshare", "--net", "sh", "-c", netem], capture_output=True, check=False).returncode != 0:
        return "the kernel has no netem"
    return None


def userspace_obstacle() -> str | None:
    """Why the userspace datapath cannot be used here, or None when it can."""
    if not Path("/dev/net/tun").exists():
        subprocess.run(["modprobe", "tun"], capture_output=True, check=False)
    return None if Path("/dev/net/tun").exists() else "there is no /dev/net/tun"


def choose(wanted: str | None) -> str:
    """The datapath to use: `wanted`, or the kernel's where there is one, else the userspace one."""
    obstacles = {KERNEL: kernel_obstacle, USERSPACE: userspace_obstacle}
    if wanted is not None:
        if wanted not in obstacles:
            raise UsageError(f"datapath {wanted!r} is unknown; choose {KERNEL} or {USERSPACE}")
        obstacle = obstacles[wanted]()
        if obstacle:
            raise EnvironmentProblem(
                f"the {wanted} datapath cannot run here: {obstacle}; leave --datapath away, or use --lab-kernel"
            )
        return wanted
    reasons = []
    for name, obstacle_of in obstacles.items():
        reason = obstacle_of()
        if reason is None:
            return name
        reasons.append(reason)
    raise EnvironmentProblem(f"no OVS datapath can run here: {' and '.join(reasons)}; try --lab-kernel")

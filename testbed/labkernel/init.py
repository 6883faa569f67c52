"""Process 1 of the guest: makes its root file system fit for a lab, runs the ordered command, powers off.

Started by the kernel as `python -I -S init.py`; everything it prints goes to the kernel's log. It
decides nothing: the order comes from `testbed.labkernel.boot` over the control console.
"""

import ctypes
import fcntl
import os
import resource
import signal
import socket
import struct
import subprocess
import sys
import termios
import threading
import time
import tty
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from testbed.labkernel.output import Outlet, Terminal
from testbed.labkernel.wire import (
    CONSOLE_CONTROL,
    CONSOLE_ERR,
    CONSOLE_OUT,
    Decoder,
    Ended,
    Failed,
    Hello,
    Message,
    Order,
    Resize,
    Signal,
    Started,
    encode,
)

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
SCRATCH = Path("/run/labkernel")
HOSTS = "127.0.0.1\tlocalhost\n127.0.1.1\tlab\n"
MODPROBE_OPTIONS = f"-d {SCRATCH}"
BASE_ENVIRONMENT = {
    "PATH": PATH,
    "HOME": "/run/home",
    "TMPDIR": "/run/tmp",
    "USER": "root",
    "LOGNAME": "root",
    "MODPROBE_OPTIONS": MODPROBE_OPTIONS,
    # git refuses a checkout of another user's; here the files are the host user's and the command is the guest's root.
    "GIT_CONFIG_COUNT": "1",
    "GIT_CONFIG_KEY_0": "safe.directory",
    "GIT_CONFIG_VALUE_0": "*",
}
OVS_MAY_START_S = 11
POWER_OFF, MS_BIND = 0x4321FEDC, 4096
_libc = ctypes.CDLL(None, use_errno=True)


class NotReady(Exception):
    """The guest cannot be made ready; its message is half a sentence for the user."""


def mount(source: str, target: str, kind: str = "", flags: int = 0) -> None:
    """mount(2). Raises NotReady with the path."""
    if _libc.mount(source.encode(), os.fsencode(target), kind.encode() or None, flags, None) != 0:
        raise NotReady(f"{source} could not be mounted on {target}: {os.strerror(ctypes.get_errno())}")


def open_console(number: int) -> int:
    """An open descriptor of a console that changes no byte."""
    console = os.open(f"/dev/tty{number}", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    tty.setraw(console)
    return console


class Control:
    """The guest's end of the control console."""

    def __init__(self) -> None:
        self._console = open_console(CONSOLE_CONTROL)
        self._decoder = Decoder()

    def send(self, message: Message) -> None:
        """Writes a message and waits until it has left the guest."""
        os.write(self._console, encode(message))
        termios.tcdrain(self._console)

    def receive(self) -> list[Message]:
        """The next messages; blocks."""
        return list(self._decoder.feed(os.read(self._console, 4096)))


def make_file_systems(order: Order) -> None:
    """The kernel's file systems, covers over what must stay the host's, writable copies of what a lab changes."""
    mount("sysfs", "/sys", "sysfs")
    mount("cgroup2", "/sys/fs/cgroup", "cgroup2")
    for folder in order.covered:
        if Path(folder).is_dir():
            mount("tmpfs", folder, "tmpfs")
    for folder in (
        "/dev/pts",
        "/dev/shm",
        "/run/cgroup",
        "/run/tmp",
        "/run/home",
        "/run/openvswitch",
        "/var/log/openvswitch",
        str(SCRATCH),
    ):
        Path(folder).mkdir(parents=True, exist_ok=True)
    mount("devpts", "/dev/pts", "devpts")
    mount("tmpfs", "/dev/shm", "tmpfs")
    # Mininet's hosts mount /sys anew and lose the mount below it: here they find the hierarchy again.
    mount("cgroup2", "/run/cgroup", "cgroup2")
    for name, target in (("fd", ""), ("stdin", "/0"), ("stdout", "/1"), ("stderr", "/2")):
        if not Path("/dev", name).exists():
            Path("/dev", name).symlink_to(f"/proc/self/fd{target}")
    (SCRATCH / "hosts").write_text(HOSTS)
    mount(str(SCRATCH / "hosts"), "/etc/hosts", flags=MS_BIND)


def enable_cgroups() -> None:
    """Passes every controller on to the groups that a lab makes."""
    root = Path("/sys/fs/cgroup")
    controllers = (root / "cgroup.controllers").read_text().split()
    (root / "cgroup.subtree_control").write_text(" ".join(f"+{name}" for name in controllers))


def load_modules(order: Order) -> None:
    """Makes modprobe, also the kernel's own calls of it, find the built modules; loads those that every lab needs.

    Not by a mount on /lib/modules: many a container has no such folder, and a guest cannot make one.
    """
    folder = SCRATCH / "lib" / "modules"
    folder.mkdir(parents=True)
    mount(order.modules_folder, str(folder), flags=MS_BIND)
    helper = SCRATCH / "modprobe"
    helper.write_text(f'#!/bin/sh\nMODPROBE_OPTIONS="{MODPROBE_OPTIONS}" exec modprobe "$@"\n')
    helper.chmod(0o755)
    Path("/proc/sys/kernel/modprobe").write_text(str(helper))
    done = subprocess.run(["modprobe", "-a", *order.modules], env=BASE_ENVIRONMENT, capture_output=True, check=False)
    if done.returncode != 0:
        raise NotReady(f"a kernel module does not load: {done.stderr.decode(errors='replace').strip()}")


def hold_back_vswitchd() -> None:
    """Makes every ovs-vswitchd wait until the guest is old enough, so that other work need not.

    Started earlier it counts 0 cores (its count is valid only from a clock of 10 s on), takes no
    thread for packets the kernel does not know, and loses all of them.
    """
    for folder in PATH.split(":"):
        if (found := Path(folder, "ovs-vswitchd")).exists():
            break
    else:
        return
    program = found.resolve()
    real = SCRATCH / "real" / "ovs-vswitchd"  # the same name: pid file and control socket are called after it
    real.parent.mkdir()
    real.touch()
    mount(str(program), str(real), flags=MS_BIND)
    wrapper = SCRATCH / "ovs-vswitchd"
    wrapper.write_text(
        "#!/bin/sh\n"
        f'while read -r up rest </proc/uptime && [ "${{up%%.*}}" -lt {OVS_MAY_START_S} ]; do sleep 0.2; done\n'
        f'exec {real} "$@"\n'
    )
    wrapper.chmod(0o755)
    mount(str(wrapper), str(program), flags=MS_BIND)


def raise_loopback() -> None:
    """`ip link set lo up` and a host name, without starting a process for each."""
    _libc.sethostname(b"lab", 3)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        request = struct.pack("16sh", b"lo", 0x1 | 0x40)  # IFF_UP | IFF_RUNNING
        fcntl.ioctl(any_socket, 0x8914, request)  # SIOCSIFFLAGS


def prepare(order: Order) -> None:
    """Everything between an order and its command. Raises NotReady."""
    make_file_systems(order)
    enable_cgroups()
    raise_loopback()
    load_modules(order)
    hold_back_vswitchd()
    # With the usual limit of a million, every fork of Mininet and OVS closes a million descriptors.
    resource.setrlimit(resource.RLIMIT_NOFILE, (1024, 1024))


def start(order: Order, out: Outlet, err: Outlet) -> subprocess.Popen[bytes]:
    """The command, in a session of its own."""
    try:
        return subprocess.Popen(
            order.argv,
            cwd=order.cwd,
            env=BASE_ENVIRONMENT | order.environment,
            stdin=subprocess.DEVNULL,
            stdout=out.descriptor,
            stderr=err.descriptor,
            start_new_session=True,
        )
    except OSError as problem:
        raise NotReady(f"the command {order.argv[0]} cannot be started in {order.cwd}: {problem.strerror}") from None


def check(order: Order) -> None:
    """Runs the order's check, if there is one. Raises NotReady with its words."""
    if order.check:
        done = subprocess.run(
            order.check, cwd=order.checkout, env=BASE_ENVIRONMENT | order.environment, capture_output=True, check=False
        )
        print(done.stdout.decode(errors="replace"), flush=True)
        if done.returncode != 0:
            raise NotReady(done.stderr.decode(errors="replace").strip()[-500:])


def obey(control: Control, command: subprocess.Popen[bytes], terminals: list[Terminal]) -> None:
    """Passes signals and window sizes on, for ever. A thread."""
    while True:
        for message in control.receive():
            if isinstance(message, Resize):
                for terminal in terminals:
                    terminal.resize(message.columns, message.lines)
                deliver(command.pid, signal.SIGWINCH, group=True)
            elif isinstance(message, Signal):
                # A terminal's Ctrl-C reaches all that runs in it; `kill PID` reaches the one process.
                deliver(command.pid, message.number, group=message.number in (signal.SIGINT, signal.SIGQUIT))


def deliver(pid: int, number: int, group: bool) -> None:
    """A signal to a process or its group, which may just have ended."""
    try:
        (os.killpg if group else os.kill)(pid, number)
    except ProcessLookupError:
        return


def reap_until(pid: int) -> int:
    """Buries every orphan of the guest, as process 1 must, until `pid` has ended; its exit code as a shell gives it."""
    while True:
        ended, status = os.waitpid(-1, 0)
        if ended == pid:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code


def serve(control: Control, order: Order) -> int:
    """Runs the ordered command to its end; its exit code."""
    terminal = Terminal(open_console(CONSOLE_OUT), order.columns, order.lines)
    terminals = [terminal]
    out = err = Outlet(terminal, order.out_is_terminal)
    if not order.err_joins_out:
        terminals.append(Terminal(open_console(CONSOLE_ERR), order.columns, order.lines))
        err = Outlet(terminals[1], order.err_is_terminal)
    command = start(order, out, err)
    outlets = {id(outlet): outlet for outlet in (out, err)}.values()
    control.send(Started(uptime_s=time.clock_gettime(time.CLOCK_BOOTTIME)))
    for outlet in outlets:
        outlet.begin()
    threading.Thread(target=obey, args=(control, command, terminals), daemon=True).start()
    code = reap_until(command.pid)
    for outlet in outlets:
        outlet.finish()
    return code


def main() -> None:
    """Never returns: the end of process 1 is the end of the guest."""
    os.umask(0o022)
    mount("proc", "/proc", "proc")
    control = Control()
    control.send(Hello())
    orders: list[Message] = []
    while not orders:
        orders = control.receive()
    order = orders[0]
    assert isinstance(order, Order)
    last_word: Message
    try:
        prepare(order)
        check(order)
        last_word = Ended(serve(control, order))
    except NotReady as problem:
        last_word = Failed(str(problem))
    os.sync()
    control.send(last_word)
    _libc.reboot(POWER_OFF)


if __name__ == "__main__":
    main()

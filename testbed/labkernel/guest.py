"""One running guest, seen from the host: its processes, the consoles' ends, the signals on their way in.

`boot` says what a guest shall run; this module keeps it, from start to end, and leaves nothing behind.
"""

import os
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from testbed.labkernel import host
from testbed.labkernel.settings import Settings
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
from testbed.model.errors import EnvironmentProblem, LabError

BOOT_LIMIT_S = 180.0
END_LIMIT_S = 30.0
TIMED_OUT = 124
PASSED_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
CONSOLES = {"log": 0, "out": CONSOLE_OUT, "err": CONSOLE_ERR, "control": CONSOLE_CONTROL}


def kernel_command(settings: Settings, ends: dict[str, int]) -> list[str]:
    """The kernel's command line; `ends` are the open descriptors of the consoles."""
    return [
        str(host.kernel_binary(settings)),
        f"mem={settings.memory_mib}M",
        *("root=/dev/root", "rootfstype=hostfs", "rootflags=/", "rw"),
        f'init="{os.path.realpath(sys.executable)}"',
        *("con=null", "ssl=null"),
        *(f"con{number}=fd:{ends[name]}" for name, number in CONSOLES.items()),
        "uml_dir=/dev/null/",  # no management socket: then a guest has no name in any file system, nothing to tidy up
        *settings.kernel_arguments,
        *("--", "-I", "-S", f'"{Path(__file__).with_name("init.py")}"'),
    ]


class Guest:
    """A guest that runs one order; a context manager."""

    def __init__(self, settings: Settings, order: Order) -> None:
        self._settings = settings
        self._order = order
        self._decoder = Decoder()
        self._started_at: float | None = None
        self._last_word: Ended | Failed | None = None
        self._signals = 0
        self._let_go: int | None = None
        self._asked_to_end = False

    def __enter__(self) -> "Guest":
        memory = host.memory_folder(self._settings)
        if not memory.is_relative_to("/dev/shm") and memory != self._settings.ram_folder:
            print(f"The guest's memory lies in {memory}: slower than in a large /dev/shm.", file=sys.stderr)
        host.bury_strays(self._settings)
        core = host.free_core(self._settings)
        self._log = host.open_log(self._settings)
        pairs = {name: socket.socketpair() for name in (*CONSOLES, "lifeline")}
        far = {name: pair[1].fileno() for name, pair in pairs.items()}
        guard = [sys.executable, "-I", "-S", str(Path(__file__).with_name("guard.py")), str(far["lifeline"]), str(core)]
        self._began = time.monotonic()
        self._guard = subprocess.Popen(
            [*guard, *kernel_command(self._settings, far)],
            stdin=subprocess.DEVNULL,
            stdout=far["log"],
            stderr=far["log"],
            env=host.kernel_environment(memory),
            pass_fds=tuple(far.values()),
            start_new_session=True,
        )
        self._ends = {name: near for name, (near, _) in pairs.items()}
        for _, far_end in pairs.values():
            far_end.close()
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.pop("lifeline").close()
        self._guard.wait()
        for end in self._ends.values():
            end.close()
        self._log.close()

    def wait(self) -> int:
        """Passes everything on until the guest has ended; the command's exit code.

        Raises EnvironmentProblem when the guest could not be made ready, LabError when its kernel stopped.
        """
        with selectors.DefaultSelector() as selector, caught_signals() as signals:
            actions = {"log": self._write_log, "out": _writer(1), "err": _writer(2), "control": self._hear}
            for name, action in actions.items():
                selector.register(self._ends[name], selectors.EVENT_READ, (name, action))
            selector.register(signals, selectors.EVENT_READ, ("signals", self._pass_signals))
            while len(selector.get_map()) > 1:
                for key, _ in selector.select(timeout=1.0):
                    self._handle(selector, key)
                if self._guard.poll() is not None:
                    host.bury_strays(self._settings)
                self._enforce_limits()
        return self._result()

    def _handle(self, selector: selectors.BaseSelector, key: selectors.SelectorKey) -> None:
        name, action = key.data
        try:
            data = key.fileobj.recv(65536)  # type: ignore[union-attr]
        except ConnectionResetError:  # killed with something of ours unread
            data = b""
        if not data:
            selector.unregister(key.fileobj)
            return
        try:
            action(data)
        except BrokenPipeError:  # as in `… | head`: nobody reads on
            if name in ("out", "err"):
                self._kill(128 + signal.SIGPIPE)

    def _write_log(self, data: bytes) -> None:
        self._log.write(data)

    def _hear(self, data: bytes) -> None:
        for message in self._decoder.feed(data):
            match message:
                case Hello():
                    self._say(self._order)
                case Started():
                    self._started_at = time.monotonic()
                case Ended() | Failed():
                    self._last_word = message

    def _say(self, message: Message) -> None:
        self._ends["control"].sendall(encode(message))

    def _pass_signals(self, numbers: bytes) -> None:
        for number in numbers:
            if number == signal.SIGWINCH and self._started_at:
                self._say(Resize(*shutil.get_terminal_size()))
            elif number in PASSED_SIGNALS:
                self._signals += 1
                if self._signals == 1 and self._started_at:
                    self._say(Signal(number))
                else:
                    self._kill(128 + number)

    def _kill(self, exit_code: int) -> None:
        """Lets go of the guest, which makes the guard kill it."""
        if self._let_go is None and self._last_word is None:
            self._let_go = exit_code
            self._ends["lifeline"].shutdown(socket.SHUT_RDWR)

    def _enforce_limits(self) -> None:
        now, limit_s = time.monotonic(), self._settings.timeout_s
        if self._started_at is None:
            if now > self._began + BOOT_LIMIT_S:
                self._kill(TIMED_OUT)
        elif limit_s and now > self._started_at + limit_s:
            if not self._asked_to_end:
                self._asked_to_end = True
                self._say(Signal(signal.SIGTERM))
            elif now > self._started_at + limit_s + END_LIMIT_S:
                self._kill(TIMED_OUT)

    def _result(self) -> int:
        match self._last_word:
            case Ended(exit_code):
                return TIMED_OUT if self._asked_to_end else exit_code
            case Failed(reason):
                raise EnvironmentProblem(f"the lab kernel's guest cannot be used: {reason} (log: {self._log.name})")
        if self._let_go is not None and not (self._let_go == TIMED_OUT and self._started_at is None):
            return self._let_go
        raise LabError(
            f"the lab kernel {'stopped' if self._started_at else 'did not start'}: "
            f"the reason stands at the end of its log, {self._log.name}"
        )


def _writer(descriptor: int) -> Callable[[bytes], None]:
    def write(data: bytes) -> None:
        while data:
            data = data[os.write(descriptor, data) :]

    return write


@contextmanager
def caught_signals() -> Iterator[socket.socket]:
    """A socket that yields the numbers of the signals that arrive meanwhile, one byte each.

    A signal that was ignored stays ignored, and outside the main thread none is caught.
    """
    near, far = socket.socketpair()
    far.setblocking(False)
    with near, far:
        if threading.current_thread() is not threading.main_thread():
            yield near
            return
        before = {number: signal.getsignal(number) for number in (*PASSED_SIGNALS, signal.SIGWINCH)}
        caught = [number for number, handler in before.items() if handler is not signal.SIG_IGN]
        wakeup = signal.set_wakeup_fd(far.fileno())
        for number in caught:
            signal.signal(number, lambda *_: None)
        try:
            yield near
        finally:
            for number in caught:
                signal.signal(number, before[number])
            signal.set_wakeup_fd(wakeup)

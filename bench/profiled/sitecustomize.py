"""Runs a program under cProfile where BENCH_PROFILE names a file: this folder then leads its PYTHONPATH.

All of its threads are profiled, each by itself, and added up: where several run, times overlap. The file is
written when the program ends by itself or by SIGTERM, or at SIGUSR2. SIGUSR1 forgets what the first thread did
so far: the start, mostly imports. Of a program that forks, the child is profiled.
"""

import atexit
import cProfile
import os
import pstats
import signal
import sys
import threading
from pathlib import Path


class _Profiler:
    def __init__(self, path: str) -> None:
        self._path = Path(path)
        self._pid = os.getpid()
        self._first = cProfile.Profile()
        self._others: list[cProfile.Profile] = []

    def begin(self) -> None:
        run_thread = threading.Thread._bootstrap_inner  # type: ignore[attr-defined]

        def profiled(thread: threading.Thread) -> None:
            own = cProfile.Profile()
            self._others.append(own)
            own.runcall(run_thread, thread)

        threading.Thread._bootstrap_inner = profiled  # type: ignore[attr-defined]
        os.register_at_fork(after_in_parent=self._leave_it_to_the_child)
        atexit.register(self.write)
        signal.signal(signal.SIGUSR1, self._forget)
        signal.signal(signal.SIGUSR2, lambda *_: self.write())
        signal.signal(signal.SIGTERM, self._terminate)  # a component may set its own, and then ends in order
        self._first.enable()

    def write(self) -> None:
        self._first.disable()
        stats = pstats.Stats(self._first)
        for other in list(self._others):
            if other.getstats():
                stats.add(other)
        new = self._path.with_suffix(".new")
        stats.dump_stats(new)
        new.replace(self._path)

    def _forget(self, *_: object) -> None:
        self._first.disable()
        self._first.clear()
        self._first.enable()

    def _terminate(self, *_: object) -> None:
        self.write()  # at once: what else the program does to end may take longer than it is given
        atexit.unregister(self.write)
        sys.exit(143)

    def _leave_it_to_the_child(self) -> None:
        if os.getpid() == self._pid:
            self._first.disable()
            atexit.unregister(self.write)


if os.environ.get("BENCH_PROFILE"):
    _Profiler(os.environ.pop("BENCH_PROFILE")).begin()

"""Runs a component under cProfile where BENCH_PROFILE names a file: this folder then leads its PYTHONPATH.

The profile covers the program's first thread, greenlets included, and is written when it ends, by itself
or by SIGTERM. SIGUSR1 forgets what was profiled so far: the start, mostly imports.
"""

import atexit
import cProfile
import os
import signal
import sys


def _begin(path: str) -> None:
    profile = cProfile.Profile()

    def end() -> None:
        profile.disable()
        profile.dump_stats(path)

    def on_terminate(*_: object) -> None:
        end()  # at once: what else the program does to end may take longer than it is given
        atexit.unregister(end)
        sys.exit(143)

    def forget(*_: object) -> None:
        profile.disable()
        profile.clear()
        profile.enable()

    atexit.register(end)
    signal.signal(signal.SIGUSR1, forget)
    signal.signal(signal.SIGTERM, on_terminate)  # a component may set its own, and then ends in order
    profile.enable()


if os.environ.get("BENCH_PROFILE"):
    _begin(os.environ.pop("BENCH_PROFILE"))

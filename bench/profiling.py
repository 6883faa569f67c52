"""Profiles of the programs under test: they start with an environment that runs them under cProfile."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.subject import CHECKOUT
from testbed.network.lab import Lab

FOLDER = CHECKOUT / "bench" / "profiled"


def environment(path: Path) -> dict[str, str]:
    """Additions to a Python program's environment that make it write its profile to `path` when it ends."""
    return {"PYTHONPATH": f"{FOLDER}{os.pathsep}{CHECKOUT}", "BENCH_PROFILE": str(path.resolve())}


@contextmanager
def component(lab: Lab, name: str, path: Path | None) -> Iterator[None]:
    """Run the block with this component of the lab under cProfile; without a path, just run it."""
    if path is None:
        yield
        return
    lab.client.restart(name, environment(path))
    try:
        yield
    finally:
        lab.client.restart(name, {"PYTHONPATH": str(CHECKOUT), "BENCH_PROFILE": ""})

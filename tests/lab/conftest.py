"""Labs for the tests: real namespaces, real switches, real processes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from testbed.network.lab import Lab
from testbed.platform.client.bringup import start_lab

CHECKOUT = Path(__file__).resolve().parents[2]


def command_line(*arguments: str, timeout_s: float = 120, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command line as a user would."""
    return subprocess.run(
        [sys.executable, "-m", "testbed.run", *arguments],
        capture_output=True, text=True, timeout=timeout_s, cwd=CHECKOUT, env={**os.environ, **environment}, check=False,
    )  # fmt: skip


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    """One lab for all tests that leave it as they found it."""
    with start_lab(name=f"test-{os.getpid()}") as running:
        yield running


@contextmanager
def lab_with_gateway(command: str) -> Iterator[Lab]:
    """A lab in which this program is the gateway."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TESTBED_GATEWAY_CMD", command)
        with start_lab(name=f"foreign-{os.getpid()}") as running:
            yield running

"""How long a lab takes until it is ready in the lab kernel, on the kernel datapath: three nodes and 20 hosts."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from bench.outcome import Outcome
from bench.rigs.proxies import scratch
from bench.subject import Context
from testbed.model.checkout import CHECKOUT
from testbed.model.errors import LabError


def run(context: Context) -> Outcome:
    """The subject `start`, once, in the lab kernel."""
    context.progress(0.0, "starting the lab kernel")
    with tempfile.TemporaryDirectory(prefix="bench-kernel-", dir=scratch()) as folder:
        one = [sys.executable, "-m", "bench.one", "start", "--quick", "--out", folder]
        argv = [sys.executable, "-m", "testbed.labkernel", *one]
        done = subprocess.run(argv, cwd=CHECKOUT, capture_output=True, text=True, check=False)
        path = Path(folder, "start.json")
        if not path.exists():
            raise LabError(
                f"the lab kernel ended with {done.returncode}: {(done.stderr or done.stdout).strip()[-500:]}"
            )
        result = json.loads(path.read_text())
    outcome = Outcome(datapath=result["machine"]["datapath"], problems=list(result["problems"]))
    values = result["series"].get("lab ready with 20 hosts", {"values": []})["values"]
    outcome.add_series("lab ready with 20 hosts", "s", values)
    if values:
        outcome.figure("lab-kernel-ready", values[0])
    else:
        outcome.figure("lab-kernel-ready", None, "the lab did not start")
    return outcome

"""The parent's end of a load driver: starts it, gives it commands, collects what it answers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from experiments.load.plan import LoadCounts, PlannedRequest, Result, read_results, write_rows
from testbed.model.checkout import CHECKOUT
from testbed.model.errors import LabError

COMMAND = (sys.executable, "-m", "experiments.load.driver")
Start = Callable[..., "subprocess.Popen[Any]"]


class Driver:
    """One driver process. `start` takes an argv and Popen's keywords: `lab.popen` bound to the client host.

    Raises:
        LabError: the process does not start, or ends before it is asked to.
    """

    def __init__(self, start: Start, scratch: Path) -> None:
        self._scratch = scratch
        scratch.mkdir(parents=True, exist_ok=True)
        self._log = scratch / "driver.log"
        with self._log.open("wb") as log:
            self._process = start(
                COMMAND,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                cwd=CHECKOUT,
                env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
            )
        self._read()

    def send(self, plan: Sequence[PlannedRequest], name: str) -> tuple[list[Result], LoadCounts]:
        """Send a plan's requests in order, one in flight; results in order of completion."""
        plan_path, out_path = self._scratch / f"{name}.plan.csv", self._scratch / f"{name}.out.csv"
        write_rows(plan_path, plan)
        answer = self.ask(mode="sequence", plan=str(plan_path), out=str(out_path))
        results = read_results(out_path)
        plan_path.unlink()
        out_path.unlink()
        counts = LoadCounts(answer["offered"], answer["issued"], answer["completed"], answer["failed"])
        return results, counts

    def ask(self, **command: Any) -> dict[str, Any]:
        """Give one command and wait for its answer. LabError when the driver could not carry it out."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(command) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            self._fail()
        answer = self._read()
        if "error" in answer:
            raise LabError(f"the load driver could not do what it was asked: {answer['error']}")
        return answer

    def close(self) -> None:
        """End the process; it ends by itself when its input does."""
        if self._process.stdin:
            self._process.stdin.close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self._fail()
        return dict(json.loads(line))

    def _fail(self) -> None:
        self._process.wait()
        tail = self._log.read_text(errors="replace").strip().splitlines()[-5:]
        raise LabError("the load driver ended by itself; the end of its log: " + " | ".join(tail))

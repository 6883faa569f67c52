"""The load driver: a process in the client host that runs Locust users on command.

Reads one JSON object a line from standard input and answers with one a line on standard output:

    {"mode": "sequence", "plan": "a.csv", "out": "b.csv"}                                 in order, one in flight
    {"mode": "open", "plan": ..., "out": ..., "arrivals": "poisson", "rate_per_s": 50, "duration_s": 10, "seed": 1}
    {"mode": "closed", "plan": ..., "out": ..., "users": 10, "duration_s": 10}

The answer counts offered, issued, completed and failed requests, and names the output file and, for
open and closed loops, its histogram. It begins with {"ready": true} and ends when its input does.
It decides nothing about what is sent: the plan says that.
"""

from __future__ import annotations

import gevent.monkey

gevent.monkey.patch_all()

import gc  # noqa: E402
import json  # noqa: E402
import logging  # noqa: E402
import sys  # noqa: E402
import time  # noqa: E402
from collections.abc import Mapping  # noqa: E402
from dataclasses import asdict, replace  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

from gevent.fileobject import FileObject  # noqa: E402

from experiments.load.histogram import write_histogram  # noqa: E402
from experiments.load.plan import PlannedRequest, count, read_plan, write_rows  # noqa: E402
from experiments.load.schedule import Arrivals, schedule  # noqa: E402
from experiments.load.users import ArrivalUser, ClosedLoopUser, Job, JobEnvironment, MeasuringUser, SequenceUser  # noqa: E402


def job_of(command: Mapping[str, Any], plan: list[PlannedRequest]) -> tuple[type[MeasuringUser], Job]:
    """The kind of user and the job that a command asks for.

    Raises:
        ValueError: the mode is none of sequence, open, closed.
    """
    if command["mode"] == "sequence":
        return SequenceUser, Job(plan)
    if command["mode"] == "open":
        rate, duration_s = float(command["rate_per_s"]), float(command["duration_s"])
        offsets = schedule(Arrivals(command["arrivals"]), rate, duration_s, int(command["seed"]))
        requests = [
            replace(plan[index % len(plan)], index=index, call_id=f"{plan[index % len(plan)].call_id}-{index}")
            for index in range(len(offsets))
        ]
        return ArrivalUser, Job(requests, offsets_ns=offsets)
    if command["mode"] == "closed":
        deadline_ns = time.perf_counter_ns() + int(float(command["duration_s"]) * 1e9)
        return ClosedLoopUser, Job(plan, deadline_ns=deadline_ns, users=int(command["users"]))
    raise ValueError(f"mode {command['mode']!r} is none of sequence, open, closed")


def execute(command: Mapping[str, Any]) -> dict[str, Any]:
    """Run one command to its end and write its results.

    Raises:
        OSError: the plan cannot be read or the results cannot be written.
    """
    user, job = job_of(command, read_plan(Path(command["plan"])))
    environment = JobEnvironment(user_classes=[user])
    environment.job = job
    runner = environment.create_local_runner()
    gc.collect()
    gc.disable()  # a collection inside a request would be measured
    runner.start(job.users, spawn_rate=max(100, job.users))
    job.done.wait()
    gc.enable()
    runner.quit()
    out = Path(command["out"])
    write_rows(out, job.results)
    answer: dict[str, Any] = {"out": str(out)}
    offered = len(job.results) if command["mode"] == "closed" else len(job.requests)
    if command["mode"] != "sequence":
        answer["histogram"] = str(write_histogram(out.with_suffix(".hlog"), {command["mode"]: job.results}))
    return {**answer, **asdict(count(offered, job.results))}


def main() -> None:
    """Answer commands until standard input ends."""
    logging.disable(logging.CRITICAL)  # Locust announces every start and stop
    commands = FileObject(sys.stdin.buffer, "rb")
    print(json.dumps({"ready": True}), flush=True)
    for line in commands:
        try:
            answer = execute(json.loads(line))
        except (ValueError, KeyError, OSError) as problem:
            answer = {"error": f"{type(problem).__name__}: {problem}"}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()

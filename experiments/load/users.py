"""Locust users: requests in order one in flight, arrivals on a schedule, and closed-loop users.

They fire Locust's `request` event, so that its tools see every request, and keep their own results
in ns: Locust's statistics round to milliseconds. What to send comes from `environment.job`.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import gevent
import gevent.event
from locust import User, task
from locust.env import Environment

from experiments.load import exchange
from experiments.load.plan import PlannedRequest, Result, is_correct

PAUSE_NS = 500_000
"""Between the end of a request and the intended start of the next, so that its connection's end does not meet it."""


@dataclass
class Job:
    """What one command asks of the users, what they have done, and `done`, set when nothing is left to do."""

    requests: Sequence[PlannedRequest]
    offsets_ns: Sequence[int] = ()
    deadline_ns: int = 0
    users: int = 1
    results: list[Result] = field(default_factory=list)
    next_request: int = 0
    finished_users: int = 0
    done: gevent.event.Event = field(default_factory=gevent.event.Event)


class JobEnvironment(Environment):
    """A Locust environment whose users share a job."""

    job: Job


class MeasuringUser(User):
    """Sends planned requests and records them; a subclass says when."""

    abstract = True
    environment: JobEnvironment

    @task
    def work(self) -> None:
        job = self.environment.job
        self.send_all(job)
        job.finished_users += 1
        if job.finished_users == job.users:
            job.done.set()
        gevent.sleep(3600)  # Locust would call the task again; the runner stops the user instead

    def send_all(self, job: Job) -> None:
        raise NotImplementedError

    def send(self, job: Job, request: PlannedRequest, intended_ns: int) -> Result:
        """Send one request and record it in the job."""
        answer = exchange.get(request.url, request.call_id)
        result = Result(
            index=request.index,
            intended_ns=intended_ns,
            started_ns=answer.started_ns,
            connected_ns=answer.connected_ns,
            ended_ns=answer.ended_ns,
            status=answer.status,
            bytes=len(answer.body),
            error=answer.error,
            correct=not answer.error and is_correct(request.expected, answer.body),
        )
        job.results.append(result)
        self.environment.events.request.fire(  # type: ignore[no-untyped-call]
            request_type="GET",
            name=request.arm,
            response_time=(result.ended_ns - intended_ns) / 1e6,
            response_length=result.bytes,
            exception=ConnectionError(answer.error) if answer.error else None,
            context={},
        )
        return result


class SequenceUser(MeasuringUser):
    """Sends the plan's requests in order, one in flight."""

    def send_all(self, job: Job) -> None:
        intended_ns = time.perf_counter_ns()
        for request in job.requests:
            _sleep_until(intended_ns)
            intended_ns = self.send(job, request, intended_ns).ended_ns + PAUSE_NS


class ArrivalUser(MeasuringUser):
    """Open loop: starts request k when offset k is due, whatever became of the others.

    A slow answer delays nobody; latency counts from the intended start.
    """

    def send_all(self, job: Job) -> None:
        begin_ns = time.perf_counter_ns() + 10_000_000
        flights = []
        for request, offset_ns in zip(job.requests, job.offsets_ns, strict=True):
            _sleep_until(begin_ns + offset_ns)
            flights.append(gevent.spawn(self.send, job, request, begin_ns + offset_ns))
        gevent.joinall(flights)


class ClosedLoopUser(MeasuringUser):
    """Sends its next request when its last is answered, as the `hey` generator does, until the deadline.

    The users of one job take their requests from the plan in turn, again from its beginning at its end.
    """

    def send_all(self, job: Job) -> None:
        while (now_ns := time.perf_counter_ns()) < job.deadline_ns:
            request = job.requests[job.next_request % len(job.requests)]
            job.next_request += 1
            self.send(job, request, now_ns)


def _sleep_until(moment_ns: int) -> None:
    """Sleep to a moment of perf_counter_ns. gevent wakes up to a millisecond late, so the last of it yields."""
    while (left_ns := moment_ns - time.perf_counter_ns()) > 0:
        gevent.sleep((left_ns - 1_000_000) / 1e9 if left_ns > 1_500_000 else 0)

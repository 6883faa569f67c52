"""What the gateway costs beside HAProxy, in one interleaved run: added latency and CPU time a request.

All targets serve one function. In each round every target gets its share of a load, in random order, so that
whatever else the machine does hits all alike; the round is the unit of analysis. "Added" is a round's median less
that of the direct call in the same round; CPU is the proxy's own, by the scheduler's clock. Three loads:

    cold       one request to each target in turn, a pause between: caches cold, connections rested
    hot        a burst, back to back
    open-loop  Poisson arrivals, 200 a second (20 with 1 MiB), latency from the due moment

Answers of 38 to 46 ms, the mark of Nagle's algorithm meeting delayed acknowledgements, fail the bench: a
proxy that stalls so would flatter whatever avoids it.
"""

from __future__ import annotations

import gc
import itertools
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from bench.outcome import Estimate, Outcome, ratio_of_medians, summary
from bench.rigs.client import LARGE, Client, OpenLoop, Timed
from bench.rigs.proxies import Rig, rig
from bench.subject import Context
from experiments.load.schedule import Arrivals, schedule

SIZES = (200, 4096, 16384, 1 << 20)
STALL_MS = (38.0, 46.0)
RATE_PER_S, LARGE_RATE_PER_S = 200.0, 20.0
COLD_PAUSE_S = 0.001
WARMUP = 5
EXTRA_SIZES = (200, 16384)
"""Bodies with which the extra targets (tokens, the provider's proxy) are measured."""
OURS = ("gateway", "tokens", "provider")
EXTRA_TITLES = {
    "tokens": "The gateway checking a namespace's token, beside HAProxy, which checks none",
    "provider": "The provider's proxy alone, beside HAProxy",
    "haproxy+provider": "HAProxy before the provider's proxy, two in a row as OpenFaaS has them, beside HAProxy alone",
}


@dataclass(frozen=True)
class Cell:
    """One way of asking. `rounds` with `requests` each for every target."""

    load: str
    size: int
    keepalive: bool
    upstream: str
    rounds: int
    requests: int

    @property
    def name(self) -> str:
        client = "keep-alive" if self.keepalive else "per-call"
        return f"{self.load}, {self.size} B, client {client}, upstream {self.upstream}"


@dataclass
class Round:
    """What each target did in one round: latencies in ms, errors, and its proxy's CPU time in ms."""

    timed: dict[str, Timed] = field(default_factory=dict)
    cpu_ms: dict[str, float] = field(default_factory=dict)

    def p50(self, target: str) -> float:
        return median(self.timed[target].latencies_ms)

    def added(self, target: str) -> float:
        return self.p50(target) - self.p50("direct")

    def cpu_per_request_ms(self, target: str) -> float:
        return self.cpu_ms[target] / len(self.timed[target].latencies_ms)


@dataclass(frozen=True)
class Judged:
    """A cell's figures. Latencies in µs, CPU in ms per 1000 requests, stalls as a share in percent."""

    cell: Cell
    direct_us: float
    added_us: Mapping[str, float]
    cpu_ms_per_1000: Mapping[str, float]
    p50_ratio: Mapping[str, Estimate]
    cpu_ratio: Mapping[str, Estimate]
    errors: Mapping[str, int]
    stall_pct: Mapping[str, float]

    def stalls_beyond_direct_pct(self, target: str) -> float:
        return max(0.0, self.stall_pct[target] - self.stall_pct["direct"])


def cells(context: Context) -> Iterator[Cell]:
    """Every load, client and body with pooled upstream connections, as OpenFaaS has them; hot with new ones too."""
    sizes = SIZES[:2] if context.quick else SIZES
    for upstream, load, size, keepalive in itertools.product(
        ("pooled", "per-call"), ("cold", "hot", "open-loop"), sizes, (True, False)
    ):
        if upstream == "pooled" or load == "hot":
            rounds, requests = _counts(load, large=size >= LARGE, context=context)
            yield Cell(load, size, keepalive, upstream, rounds, requests)


def _counts(load: str, *, large: bool, context: Context) -> tuple[int, int]:
    if context.quick:
        return 3, 4
    full = {"cold": (24, 20), "hot": (40, 25), "open-loop": (10, 100)}
    rounds, requests = full[load]
    return (12 if load != "open-loop" else 10, 10) if large else (rounds, requests)


def run(context: Context) -> Outcome:
    outcome = Outcome(
        "loopback", facts={"stall_window_ms": list(STALL_MS), "rate_per_s": RATE_PER_S, "sizes": list(SIZES)}
    )
    todo = list(cells(context))
    judged: list[Judged] = []
    gc.collect()
    gc.freeze()  # so that collections between cells are quick
    for upstream, group in itertools.groupby(todo, key=lambda cell: cell.upstream):
        with rig(upstream, extras=True, profile_folder=context.profile_folder) as running:
            for cell in group:
                context.progress(len(judged) / len(todo), cell.name)
                rounds = measure(cell, running, context.seed + len(judged))
                judged.append(judge(cell, rounds, context.seed))
                _keep_rounds(outcome, cell, rounds)
    _conclude(outcome, judged)
    return outcome


def measure(cell: Cell, running: Rig, seed: int) -> list[Round]:
    """The cell's rounds. Extra targets take part with some bodies only."""
    names = [name for name in running.targets if name in ("direct", "haproxy", "gateway") or cell.size in EXTRA_SIZES]
    rng = random.Random(seed)
    clients = {name: Client(running.targets[name], cell.size, keepalive=cell.keepalive) for name in names}
    arrivals = {name: OpenLoop(running.targets[name], cell.size, keepalive=cell.keepalive) for name in names}
    for client in clients.values():
        for _ in range(WARMUP):
            client.ask()
    play: dict[str, Callable[[Round], None]] = {
        "cold": lambda done: _cold(done, cell, clients, rng),
        "hot": lambda done: _hot(done, cell, clients, rng),
        "open-loop": lambda done: _open_loop(done, cell, arrivals, rng),
    }
    gc.disable()  # a collection inside a request would be measured
    try:
        return [_round(play[cell.load], names, running) for _ in range(cell.rounds)]
    finally:
        gc.enable()
        for client in clients.values():
            client.close()
        for arrival in arrivals.values():
            arrival.close()


def _round(play: Callable[[Round], None], names: Sequence[str], running: Rig) -> Round:
    done = Round({name: Timed() for name in names})
    before = running.cpu_ms()
    play(done)
    after = running.cpu_ms()
    done.cpu_ms = {name: after[name] - before[name] for name in after if name in names}
    return done


def _cold(done: Round, cell: Cell, clients: Mapping[str, Client], rng: random.Random) -> None:
    for _ in range(cell.requests):
        for name in rng.sample(list(clients), len(clients)):
            time.sleep(COLD_PAUSE_S)
            clients[name].timed(done.timed[name])


def _hot(done: Round, cell: Cell, clients: Mapping[str, Client], rng: random.Random) -> None:
    for name in rng.sample(list(clients), len(clients)):
        for _ in range(cell.requests):
            clients[name].timed(done.timed[name])


def _open_loop(done: Round, cell: Cell, clients: Mapping[str, OpenLoop], rng: random.Random) -> None:
    rate_per_s = LARGE_RATE_PER_S if cell.size >= LARGE else RATE_PER_S
    offsets_ns = schedule(Arrivals.POISSON, rate_per_s, cell.requests / rate_per_s, rng.randrange(1 << 30)) or [0]
    for name in rng.sample(list(clients), len(clients)):
        clients[name].run(offsets_ns, done.timed[name])


def judge(cell: Cell, rounds: Sequence[Round], seed: int) -> Judged:
    """What the rounds of a cell say. Ratios are to HAProxy, over rounds."""
    names = list(rounds[0].timed)
    proxies = [name for name in names if name != "direct"]
    added = {name: [one.added(name) for one in rounds] for name in proxies}
    cpu = {name: [one.cpu_per_request_ms(name) for one in rounds] for name in proxies if name in rounds[0].cpu_ms}
    latencies = {name: [ms for one in rounds for ms in one.timed[name].latencies_ms] for name in names}
    return Judged(
        cell,
        direct_us=1e3 * median(latencies["direct"]),
        added_us={name: 1e3 * median(values) for name, values in added.items()},
        cpu_ms_per_1000={name: 1e3 * median(values) for name, values in cpu.items()},
        p50_ratio={
            name: ratio_of_medians(values, added["haproxy"], seed)
            for name, values in added.items()
            if name != "haproxy"
        },
        cpu_ratio={
            name: ratio_of_medians(values, cpu["haproxy"], seed) for name, values in cpu.items() if name != "haproxy"
        },
        errors={name: sum(one.timed[name].errors for one in rounds) for name in names},
        stall_pct={name: stall_pct(values) for name, values in latencies.items()},
    )


def stall_pct(latencies_ms: Sequence[float]) -> float:
    """The share of answers, in percent, that took as long as a delayed acknowledgement is held back."""
    return 100 * sum(STALL_MS[0] <= ms <= STALL_MS[1] for ms in latencies_ms) / len(latencies_ms)


def _keep_rounds(outcome: Outcome, cell: Cell, rounds: Sequence[Round]) -> None:
    """The raw medians of every round."""
    for name in rounds[0].timed:
        outcome.series[f"{cell.name}: {name}, round's p50"] = summary([one.p50(name) for one in rounds], "ms")
        if name in rounds[0].cpu_ms:
            values = [1e3 * one.cpu_per_request_ms(name) for one in rounds]
            outcome.series[f"{cell.name}: {name}, CPU per 1000 requests"] = summary(values, "ms")


def _conclude(outcome: Outcome, judged: Sequence[Judged]) -> None:
    comparable = [one for one in judged if one.added_us["haproxy"] > 0]  # else there is nothing to be a multiple of
    slowest = max(comparable or judged, key=lambda one: one.p50_ratio["gateway"].value)
    costliest = max(judged, key=lambda one: one.cpu_ratio["gateway"].value)
    own = [(one, name) for one in judged for name in OURS if name in one.errors]
    stalling, staller = max(own, key=lambda pair: pair[0].stalls_beyond_direct_pct(pair[1]))
    errors = sum(one.errors[name] for one, name in own)
    outcome.figure("gateway-p50", slowest.p50_ratio["gateway"], slowest.cell.name)
    outcome.figure("gateway-cpu", costliest.cpu_ratio["gateway"], costliest.cell.name)
    outcome.figure("gateway-errors", errors, f"in {len(judged)} cells")
    outcome.figure("gateway-stalls", stalling.stalls_beyond_direct_pct(staller), f"{staller}, {stalling.cell.name}")
    others = {name: sum(one.errors[name] for one in judged if name in one.errors) for name in ("direct", "haproxy")}
    outcome.problems += [f"{count} requests to {name} failed" for name, count in others.items() if count]
    outcome.facts["cells without a ratio"] = [one.cell.name for one in judged if one not in comparable]
    columns = (
        "load", "body B", "client", "upstream", "direct p50 µs", "HAProxy + µs", "gateway + µs", "ratio", "interval",
        "HAProxy CPU ms/1000", "gateway CPU", "ratio", "errors", "38-46 ms %",
    )  # fmt: skip
    outcome.table("The gateway beside HAProxy, by cell", columns, [_row(one, "gateway") for one in judged])
    for name, title in EXTRA_TITLES.items():
        extra = [_row(one, name) for one in judged if name in one.p50_ratio]
        if extra:
            outcome.table(title, [column.replace("gateway", name) for column in columns], extra)


def _row(one: Judged, name: str) -> list[Any]:
    cell, p50 = one.cell, one.p50_ratio[name]
    interval = "" if p50.low is None or p50.high is None else f"{p50.low:.2f} to {p50.high:.2f}"
    return [
        cell.load, str(cell.size), "keep-alive" if cell.keepalive else "per-call", cell.upstream,
        round(one.direct_us), round(one.added_us["haproxy"]), round(one.added_us[name]), round(p50.value, 2), interval,
        round(one.cpu_ms_per_1000["haproxy"]), round(one.cpu_ms_per_1000[name]), round(one.cpu_ratio[name].value, 2),
        one.errors[name], round(one.stall_pct[name], 2),
    ]  # fmt: skip

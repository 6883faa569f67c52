"""What the chain-length experiment does, decided beforehand: cells, their order, every single request.

Pure and seeded. A phase is what is set up at some cost (placement, upstream, delay); its cells differ
only in length. A cell measures both routes in the same blocks, in random order within each pair.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from experiments.analysis.wire import Connection, Upstream
from experiments.base import Options, Profile
from experiments.load.plan import PlannedRequest
from testbed.model import addressing
from testbed.model.cluster import Route
from testbed.model.errors import UsageError

PLACEMENTS = ("node2", "spread")
PLANTS = ("extra-1ms-direct", "wrong-delay", "cpu-hog")
MAX_LENGTH = 16
MAX_DELAY_MS = 100.0
FIRST_USE_REQUESTS = 10
"""Requests an arm at the longest length, before the first cell of a phase: caches and pools fill, none is measured."""
FIRST_USE_KEPT_REQUESTS = 40
"""With kept connections: a function's server has 32 threads that take turns, and each keeps connections of its own."""

GATEWAY_URL = f"http://{addressing.vip(addressing.GATEWAY_ID)}:{addressing.FUNCTION_PORT}"


@dataclass(frozen=True)
class Arm:
    """One deployment of the chain that is compared with others."""

    name: str
    namespace: str
    route: Route


GATEWAY_ARM = Arm("gateway", "chain-gateway", Route.GATEWAY)
DIRECT_ARM = Arm("direct", "chain-direct", Route.DIRECT)
CONTROL_ARM = Arm("control", "chain-aa", Route.GATEWAY)
"""A second deployment by gateway: it must be equivalent to the first (the A/A control)."""
ARMS = (GATEWAY_ARM, DIRECT_ARM, CONTROL_ARM)


@dataclass(frozen=True)
class ChainConfig:
    """The resolved configuration. `delays_ms` are one way; a pair is one request on each arm of a cell.

    `margin_ms` and `margin_share`: the controls must lie within the larger of the two, declared here.
    """

    profile: str
    seed: int
    datapath: str | None
    lengths: tuple[int, ...]
    delays_ms: tuple[float, ...]
    placements: tuple[str, ...]
    upstreams: tuple[str, ...]
    connection: str
    blocks: int
    pairs_per_block: int
    warmup_blocks: int
    control_length: int
    round_trips: int
    margin_ms: float
    margin_share: float
    plant: str | None
    lab_name: str

    @property
    def pairs(self) -> int:
        return self.blocks * self.pairs_per_block

    @property
    def longest(self) -> int:
        return max(self.lengths)

    @property
    def calibrated_delays_ms(self) -> tuple[float, ...]:
        """Delays to calibrate: those measured, and 0, which tells delay from the cost of switching."""
        return tuple(sorted({0.0, *self.delays_ms}))

    def to_json(self) -> dict[str, Any]:
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> ChainConfig:
        known = {field.name for field in fields(cls)}
        values: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in data.items() if key in known
        }
        return cls(**values)


PROFILES: Mapping[Profile, Mapping[str, Any]] = {
    Profile.SMOKE: {
        "lengths": (1, 2, 3, 6),
        "delays_ms": (0.0, 0.5),
        "placements": ("node2",),
        "blocks": 14,
        "pairs_per_block": 3,
        "round_trips": 200,
    },
    Profile.CLASS: {
        "lengths": (1, 2, 3, 4, 6, 8),
        "delays_ms": (0.0, 0.5),
        "placements": PLACEMENTS,
        "blocks": 16,
        "pairs_per_block": 3,
        "round_trips": 200,
    },
    Profile.PAPER: {
        "lengths": tuple(range(1, 9)),
        "delays_ms": (0.0, 0.25, 0.5),
        "placements": PLACEMENTS,
        "blocks": 20,
        "pairs_per_block": 5,
        "round_trips": 400,
    },
}


def resolve(options: Options) -> ChainConfig:
    """The configuration that options mean.

    Raises:
        UsageError: a value outside what a chain or a trunk can do.
    """
    profile = PROFILES[options.profile]
    lengths = tuple(sorted(set(options.lengths or profile["lengths"])))
    delays_ms = tuple(sorted({float(delay) for delay in (options.delays_ms or profile["delays_ms"])}))
    placements = tuple(dict.fromkeys(options.placements or profile["placements"]))
    upstreams = tuple(dict.fromkeys(options.upstreams or [upstream.value for upstream in Upstream]))
    connection = options.connection or Connection.PER_CALL.value
    _check(lengths, delays_ms, placements, upstreams, connection, options.plant)
    blocks, per_block = profile["blocks"], profile["pairs_per_block"]
    if options.repetitions is not None:
        blocks, per_block = split_repetitions(options.repetitions, per_block)
    return ChainConfig(
        profile=options.profile.value,
        seed=options.seed,
        datapath=options.datapath,
        lengths=lengths,
        delays_ms=delays_ms,
        placements=placements,
        upstreams=upstreams,
        connection=connection,
        blocks=blocks,
        pairs_per_block=per_block,
        warmup_blocks=max(1, round(blocks / 10)),
        control_length=min(lengths, key=lambda length: (abs(length - 3), length)),
        round_trips=profile["round_trips"],
        margin_ms=0.5,
        margin_share=0.10,
        plant=options.plant,
        lab_name=options.lab_name,
    )


def split_repetitions(repetitions: int, per_block: int) -> tuple[int, int]:
    """Blocks, and pairs a block, for exactly this many pairs.

    Twelve blocks or more where there are enough pairs: with fewer, no test survives Holm's adjustment.

    Raises:
        UsageError: fewer than six repetitions.
    """
    if repetitions < 6:
        raise UsageError(f"{repetitions} repetitions are too few for an interval; ask for 6 or more")
    fitting = (size for size in range(per_block, 1, -1) if repetitions % size == 0 and repetitions // size >= 12)
    size = next(fitting, 1)
    return repetitions // size, size


def _check(
    lengths: Sequence[int],
    delays_ms: Sequence[float],
    placements: Sequence[str],
    upstreams: Sequence[str],
    connection: str,
    plant: str | None,
) -> None:
    for length in lengths:
        if not 1 <= length <= MAX_LENGTH:
            raise UsageError(f"a chain of length {length} does not exist; choose lengths from 1 to {MAX_LENGTH}")
    for delay_ms in delays_ms:
        if not 0 <= delay_ms <= MAX_DELAY_MS:
            raise UsageError(f"a one-way delay of {delay_ms:g} ms is outside 0 to {MAX_DELAY_MS:g} ms")
    known = {
        "placement": (placements, PLACEMENTS),
        "gateway upstream": (upstreams, [upstream.value for upstream in Upstream]),
        "connection": ([connection], [one.value for one in Connection]),
        "plant": ([plant] if plant else [], PLANTS),
    }
    for word, (given, allowed) in known.items():
        for value in given:
            if value not in allowed:
                raise UsageError(f"there is no {word} {value!r}; choose from {', '.join(allowed)}")


DISTURBED = "-disturbed"
"""Follows a cell's slug in the names of attempts that were made again, because others used the machine."""


@dataclass(frozen=True)
class Phase:
    """What several cells share: where functions run, how the gateway calls, how far the nodes are apart."""

    placement: str
    upstream: str
    delay_ms: float

    @property
    def name(self) -> str:
        return f"{self.placement} {self.upstream} d={self.delay_ms:g}ms"

    @property
    def slug(self) -> str:
        return f"{self.placement}-{self.upstream}-d{self.delay_ms:g}"


@dataclass(frozen=True)
class Cell:
    """One point of the result: a phase at one chain length."""

    phase: Phase
    length: int

    @property
    def name(self) -> str:
        return f"{self.phase.name} length {self.length}"

    @property
    def slug(self) -> str:
        return f"{self.phase.slug}-n{self.length}"


def delay_meaning(delay_ms: float) -> str:
    """What a configured delay means: the paper does not say whether its 0.5 ms is one way or there and back."""
    return f"{delay_ms:g} ms one way = {2 * delay_ms:g} ms round trip" if delay_ms else "no delay"


def phases(config: ChainConfig) -> list[Phase]:
    """Every phase in the order of the run: placements stay together (deploying is dear), the rest is shuffled."""
    rng = random.Random(f"{config.seed} phases")
    ordered = []
    for placement in rng.sample(config.placements, len(config.placements)):
        group = [Phase(placement, upstream, delay) for upstream in config.upstreams for delay in config.delays_ms]
        ordered += rng.sample(group, len(group))
    return ordered


def cells(config: ChainConfig, phase: Phase) -> list[Cell]:
    """The cells of a phase in the order of the run."""
    rng = random.Random(f"{config.seed} {phase.slug}")
    return [Cell(phase, length) for length in rng.sample(config.lengths, len(config.lengths))]


def arms_of(config: ChainConfig, cell: Cell) -> tuple[Arm, ...]:
    """The arms that take part in a cell; the A/A control at one length."""
    return ARMS if cell.length == config.control_length else (GATEWAY_ARM, DIRECT_ARM)


def requests(config: ChainConfig, cell: Cell, attempt: int = 1) -> list[PlannedRequest]:
    """Every request of a cell in order. The first `warmup_blocks` blocks are warm-up, beyond the repetitions.

    A later attempt has an order of its own, and call ids of its own.
    """
    rng = random.Random(f"{config.seed} {cell.slug} {attempt}")
    prefix = "" if attempt == 1 else f"again{attempt}-"
    planned: list[PlannedRequest] = []
    for block in range(config.warmup_blocks + config.blocks):
        for _ in range(config.pairs_per_block):
            arms = arms_of(config, cell)
            for arm in rng.sample(arms, len(arms)):
                warmup = block < config.warmup_blocks
                planned.append(request(cell, arm, len(planned), block, warmup=warmup, prefix=prefix))
    return planned


def first_use(config: ChainConfig, phase: Phase) -> list[PlannedRequest]:
    """Requests that come before a phase's first cell and belong to no cell."""
    cell = Cell(phase, config.longest)
    kept = config.connection == Connection.KEEPALIVE.value
    total = (FIRST_USE_KEPT_REQUESTS if kept else FIRST_USE_REQUESTS) * len(ARMS)
    return [
        request(cell, ARMS[index % len(ARMS)], index, block=0, warmup=True, prefix="first-use-")
        for index in range(total)
    ]


def request(cell: Cell, arm: Arm, index: int, block: int, *, warmup: bool, prefix: str = "") -> PlannedRequest:
    """One request to the chain's first function, through the gateway, as an end user sends it."""
    return PlannedRequest(
        index=index,
        block=block,
        arm=arm.name,
        url=f"{GATEWAY_URL}/function/chain-1.{arm.namespace}?length={cell.length}",
        call_id=f"{prefix}{cell.slug}-{index}",
        expected=" ".join(f"chain-{position}" for position in range(1, cell.length + 1)),
        warmup=warmup,
    )


def weight(config: ChainConfig, cell: Cell) -> float:
    """About how many seconds a cell takes, for the time remaining."""
    per_request_s = 0.002 + 0.0025 * cell.length * (1 + 2 * cell.phase.delay_ms)
    return len(requests(config, cell)) * per_request_s + 1.5

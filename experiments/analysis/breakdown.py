"""What a saving per removed hop is made of, and how that is inferred.

Pure. Measured: the saving per hop (a slope) in each setting, and how long each hop takes inside the
chain, from the functions' own records. From the wire model: its wire part. Inferred: at delay 0 with
the pooled upstream, what the wire does not explain is the gateway's processing; what per-call upstream
adds to that is setting up the gateway's connections; the rest is what no part explains.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

INFERENCE = (
    "wire: the model, with this run's calibrated round trips",
    "gateway processing: at delay 0 with the pooled upstream, the saving per hop that the wire does not explain",
    "connection set-up: at delay 0, what the per-call upstream adds to that beyond its wire part",
    "rest: measured saving less these three; zero by construction in the settings that the parts come from",
)


@dataclass(frozen=True)
class Setting:
    """Where a saving per hop was measured."""

    placement: str
    upstream: str
    delay_ms: float


@dataclass(frozen=True)
class Parts:
    """One setting's saving per removed hop in ms, and its parts; None where the run lacks the cells to infer one."""

    setting: Setting
    saved_ms: float
    wire_ms: float
    gateway_ms: float | None
    setup_ms: float | None

    @property
    def rest_ms(self) -> float | None:
        if self.gateway_ms is None or self.setup_ms is None:
            return None
        return self.saved_ms - self.wire_ms - self.gateway_ms - self.setup_ms


def split(saved_ms: Mapping[Setting, float], wire_ms: Mapping[Setting, float]) -> list[Parts]:
    """Split every setting's saving per hop; both arguments are in ms per removed hop."""
    unexplained = {setting: saved - wire_ms[setting] for setting, saved in saved_ms.items()}
    parts = []
    for setting, saved in saved_ms.items():
        gateway = unexplained.get(Setting(setting.placement, "pooled", 0.0))
        per_call = unexplained.get(Setting(setting.placement, "per-call", 0.0))
        setup: float | None = 0.0
        if setting.upstream == "per-call":
            setup = None if gateway is None or per_call is None else per_call - gateway
        parts.append(Parts(setting, saved, wire_ms[setting], gateway, setup))
    return parts


@dataclass(frozen=True)
class HopTimes:
    """One call of a chain in one cell and arm, medians in ms.

    `forward_ms`: from the caller's start to the callee's; `back_ms`: from the callee's end to the caller's.
    Both contain what the caller itself does, which is the same on both routes.
    """

    cell: str
    arm: str
    hop: int
    requests: int
    forward_ms: float
    back_ms: float

    @property
    def total_ms(self) -> float:
        return self.forward_ms + self.back_ms


def hop_times(requests: pd.DataFrame, invocations: pd.DataFrame) -> list[HopTimes]:
    """How long each hop took, from the functions' records of measured requests.

    Args:
        requests: columns cell, arm, call_id (measured requests only).
        invocations: columns call_id, function ("chain-2"), started_ns, ended_ns.
    """
    joined = invocations.merge(requests[["call_id", "cell", "arm"]], on="call_id")
    if joined.empty:
        return []
    joined["position"] = joined["function"].str.removeprefix("chain-").astype(int)
    joined = joined.sort_values(["call_id", "position"])
    following = joined.groupby("call_id")[["position", "started_ns", "ended_ns"]].shift(-1)
    joined["forward_ms"] = (following["started_ns"] - joined["started_ns"]) / 1e6
    joined["back_ms"] = (joined["ended_ns"] - following["ended_ns"]) / 1e6
    hops = joined[following["position"] == joined["position"] + 1]
    return [
        HopTimes(str(cell), str(arm), int(hop), len(group), group["forward_ms"].median(), group["back_ms"].median())
        for (cell, arm, hop), group in hops.groupby(["cell", "arm", "position"])
    ]


def mean_hop_ms(hops: Sequence[HopTimes], cell: str, arm: str) -> tuple[float, float] | None:
    """(forward, back) averaged over the hops of a cell's chain on one arm; None when there are no records."""
    found = [hop for hop in hops if hop.cell == cell and hop.arm == arm]
    if not found:
        return None
    return sum(hop.forward_ms for hop in found) / len(found), sum(hop.back_ms for hop in found) / len(found)

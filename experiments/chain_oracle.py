"""Connections that were counted beside those that the oracle expects, cell by cell, from raw data. Pure."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from experiments import wire
from experiments.chain_plan import ARMS, Arm, Cell, Phase
from experiments.wire import Expected, Upstream
from testbed.measure import fidelity
from testbed.measure.fidelity import Finding

LATE = "-late"
"""Ends the name under which connections are kept that were counted after a phase's last cell."""


def oracle_of(cell: Cell, rows: pd.DataFrame, connections: pd.DataFrame) -> list[Expected]:
    """Connections of a cell beside the oracle: callers' on the switches, and the gateway's own count.

    The pooled gateway may open what its pool needs, so there its own count is the expectation.
    """
    sent = {arm: int((rows["arm"] == arm.name).sum()) for arm in ARMS}
    callers = [wire.caller_connections(arm.route, arm.namespace, cell.length, sent[arm]) for arm in ARMS if sent[arm]]
    opened = opened_by_gateway(cell, sent, connections)
    counted = counted_connections(connections, cell.slug, "switch")
    return wire.oracle(wire.merge([*callers, opened]), counted)


def opened_by_gateway(
    cell: Cell, sent: Mapping[Arm, int], connections: pd.DataFrame
) -> dict[tuple[str, str], int]:  # fmt: skip
    """Connections to functions that the switches should have seen the gateway open."""
    if cell.phase.upstream == Upstream.PER_CALL.value:
        wanted = [
            {(wire.GATEWAY, function): count for function, count in
             wire.gateway_requests(arm.route, arm.namespace, cell.length, sent[arm]).items()}
            for arm in ARMS if sent[arm]
        ]  # fmt: skip
        return wire.merge(wanted)
    return counted_connections(connections, cell.slug, "gateway")


def counted_connections(connections: pd.DataFrame, cell: str, source: str) -> dict[tuple[str, str], int]:
    """What one source counted during a cell; pairs without a connection are left out."""
    rows = connections[(connections["cell"] == cell) & (connections["source"] == source)]
    return {
        (str(row.caller), str(row.callee)): int(row.after - row.before)
        for row in rows.itertuples()
        if row.after != row.before
    }


def late_findings(connections: pd.DataFrame, phase: Phase) -> list[Finding]:
    """Connections that were counted when no request was being sent."""
    late = counted_connections(connections, f"{phase.slug}{LATE}", "switch")
    return fidelity.check_connections(phase.name, [(*pair, 0, count) for pair, count in sorted(late.items())])

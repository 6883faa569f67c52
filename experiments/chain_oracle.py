"""Connections that were counted beside those that the oracle expects, cell by cell, from raw data. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from experiments.analysis import wire
from experiments.analysis.wire import Connection, Expected, Upstream
from experiments.chain_plan import ARMS, Arm, Cell, Phase
from testbed.measure import fidelity
from testbed.measure.fidelity import Finding

FIRST_FUNCTION = "chain-1"
"""Is invoked by the client; every other function's invocation is a call of a function's."""
LATE = "-late"
"""Ends the name under which connections are kept that were counted after a phase's last cell."""


@dataclass(frozen=True)
class Seen:
    """Calls between functions: connections for them that the switches counted, calls that the callees recorded.

    With `per-call` the two are equal; with `keepalive` the difference is what switches cannot see.
    """

    connections: int
    calls: int


def oracle_of(cell: Cell, connection: Connection, rows: pd.DataFrame, connections: pd.DataFrame) -> list[Expected]:
    """Connections of a cell beside the oracle: callers' on the switches, and the gateway's own count.

    The pooled gateway may open what its pool needs, so there its own count is the expectation. Functions that
    keep their connections may open as many as they make calls, and need not open any.
    """
    sent = {arm: int((rows["arm"] == arm.name).sum()) for arm in ARMS}
    callers = [
        wire.caller_connections(arm.route, arm.namespace, cell.length, sent[arm], connection)
        for arm in ARMS if sent[arm]
    ]  # fmt: skip
    limits = wire.merge([
        wire.function_calls(arm.route, arm.namespace, cell.length, sent[arm])
        for arm in ARMS if sent[arm] and connection is Connection.KEEPALIVE
    ])  # fmt: skip
    opened = opened_by_gateway(cell, sent, connections)
    counted = counted_connections(connections, cell.slug, "switch")
    return wire.oracle(wire.merge([*callers, opened]), counted, limits)


def calls_seen(
    cells: Sequence[Cell], requests: pd.DataFrame, connections: pd.DataFrame, invocations: pd.DataFrame
) -> Seen:  # fmt: skip
    """What the switches saw of the calls between functions in these cells, beside the callees' own records."""
    counted = wire.merge([counted_connections(connections, cell.slug, "switch") for cell in cells])
    call_ids = requests[requests["cell"].isin([cell.slug for cell in cells])]["call_id"]
    called = invocations["call_id"].isin(call_ids) & (invocations["function"] != FIRST_FUNCTION)
    between = sum(count for (caller, _), count in counted.items() if caller not in (wire.CLIENT, wire.GATEWAY))
    return Seen(between, int(called.sum()))


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
    return fidelity.check_connections(phase.name, [(*pair, "0", count) for pair, count in sorted(late.items())])

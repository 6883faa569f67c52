"""Connections to forget: which ones a change of rows forbids, and whether they are still forbidden later. Pure.

A conntrack entry outlives the row that admitted its connection, so taking the row away is not enough. A flush
is repeated, and may wait long for a switch that is away: before each time it is sent it is asked anew whether
what it would end is allowed meanwhile (`is_due`). When it is sent is worker.py's business.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address

from controllers import pipeline as p
from controllers.intents import Call, IntentIndex
from controllers.switch.reconcile import Change, DeleteRow, PutRow
from testbed.model import addressing


@dataclass(frozen=True, slots=True)
class Flush:
    """Forget the connections of node `node`'s zone that match every address given.

    `source`, `destination`: as the opener of the connection addressed it. `replier`: who answers, which
    after NAT is the eIP behind a vIP. `late`: only when every switch has confirmed its changes, because
    a packet still on its way would commit the connection again. `call`: the call that is forbidden; without one
    an eIP has left.
    """

    node: int
    source: str | None = None
    destination: str | None = None
    replier: str | None = None
    late: bool = False
    call: Call | None = field(default=None, compare=False)


def flushes(node: int, ordered: Iterable[Change], index: IntentIndex) -> tuple[Flush, ...]:
    """Connections that node `node`'s deleted rows had admitted, and those that a new deny forbids.

    Read off the rows, not off events, so that a controller that was away meanwhile flushes too.
    A port that left takes all connections from and to its eIP with it, on every node, before the eIP is
    given to somebody else. A call that left takes those of the caller's local ports to the callee; one that only
    went from the call graph's hands into a policy's, or back, is allowed still, and `is_due` will say so.
    """
    found: dict[Flush, None] = {}
    for change in ordered:
        if not isinstance(change, DeleteRow | PutRow):
            continue
        category, thing = p.category_of(change.row.cookie), p.object_of(change.row.cookie)
        if isinstance(change, DeleteRow) and category is p.Category.FORWARDING and thing > addressing.MAX_NODE:
            found |= dict.fromkeys(of_eip(node, str(IPv4Address(thing)), index.state.nodes))
        elif category in (_ADMITTING if isinstance(change, DeleteRow) else _FORBIDDING):
            found |= dict.fromkeys(_of_call(node, *p.call_of(thing), index))
    return tuple(found)


_ADMITTING = (p.Category.POLICY, p.Category.ALLOW)
_FORBIDDING = (p.Category.DENY,)


def is_due(flush: Flush, index: IntentIndex, allows: Callable[[int, int], bool]) -> bool:
    """Whether it would end nothing that is allowed now: the call is still forbidden, the eIP still nobody's.

    Addresses that somebody else has meanwhile are judged as theirs.
    """
    if flush.call is None:
        return (flush.source or flush.replier) not in index.ports
    speaker, target = index.ports.get(flush.source or ""), index.ports.get(flush.destination or "")
    caller = speaker.workload if speaker else flush.call[0]
    callee = target.workload if target else flush.call[1]
    return not allows(caller, callee)


def together(
    flushes: Iterable[Flush], index: IntentIndex, callees: Callable[[int], Iterable[int]]
) -> tuple[Flush, ...]:
    """The same with fewer messages: who may call nobody now (`callees`) loses all its connections at once."""
    flushes = tuple(flushes)
    of_source = Counter((flush.source, flush.late) for flush in flushes if flush.call)
    found: dict[Flush, None] = {}
    for flush in flushes:
        speaker = index.ports.get(flush.source or "") if flush.call else None
        if speaker and of_source[flush.source, flush.late] > 1 and not any(callees(speaker.workload)):
            found[replace(flush, destination=None)] = None
        else:
            found[flush] = None
    return tuple(found)


def of_eip(home: int, eip: str, nodes: Iterable[int]) -> Iterable[Flush]:
    """All connections from and to an eIP of node `home`, on every node."""
    for node in nodes:
        yield Flush(node, source=eip)
        yield Flush(node, replier=eip)
    yield Flush(home, source=eip, late=True)
    yield Flush(home, replier=eip, late=True)


def _of_call(node: int, caller: int, callee: int, index: IntentIndex) -> Iterable[Flush]:
    callers = [port for port in index.ports_of(caller) if port.node == node]
    for port in callers:
        yield Flush(node, source=port.eip, destination=addressing.vip(callee), call=(caller, callee))
        for target in index.ports_of(callee):
            if target.node != node:
                yield Flush(target.node, source=port.eip, destination=target.eip, late=True, call=(caller, callee))

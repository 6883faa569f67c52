"""What each policy does at the moment and has counted so far, for GET /policies. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from controllers import pipeline as p
from controllers.intents import Call, IntentIndex
from controllers.northbound.explain import Names
from controllers.policy.book import PolicyIndex
from controllers.policy.rules import EVERY, OWN_PROBE, Kind, Policy
from controllers.rows import OutputPort
from controllers.switch.crew import Confirmation
from controllers.switch.readings import Readings

_COUNTED = {Kind.ALLOW: p.Category.ALLOW, Kind.DENY: p.Category.DENY, Kind.MIRROR: p.Category.PACKETS}


Confirm = Callable[[Iterable[int]], Confirmation]
"""Which of these nodes' switches do not hold what they should."""


def report(
    policies: Sequence[Policy],
    judged: PolicyIndex,
    index: IntentIndex,
    names: Names,
    readings: Mapping[int, Readings],
    confirm: Confirm,
) -> list[dict[str, Any]]:
    """The policies as JSON, each with `calls`, `state` (a sentence), `hits`, and for a rate limit `dropped`.

    `hits`: allow, connections let through; deny, packets dropped; mirror, packets copied; rate-limit, packets
    that its meters were asked about, of which it `dropped` so many. Policies that share a row share its count.
    """
    found = []
    for policy in policies:
        calls = judged.calls_of(policy.name)
        shown = [{"caller": names.workload(a), "callee": names.workload(b)} for a, b in calls]
        counted = _limited(policy, readings) if policy.kind is Kind.RATE_LIMIT else _hits(policy, calls, readings)
        found.append({**policy.to_json(), "state": _state(policy, calls, index, confirm), "calls": shown, **counted})
    return found


def _hits(policy: Policy, calls: Iterable[Call], readings: Mapping[int, Readings]) -> dict[str, int]:
    cookies = {p.cookie(_COUNTED[policy.kind], p.call_object(*call)) for call in calls}
    entries = (entry for reading in readings.values() for entry in reading.entries if entry.row.cookie in cookies)
    if policy.kind is Kind.MIRROR:
        entries = (entry for entry in entries if any(isinstance(action, OutputPort) for action in entry.row.actions))
    return {"hits": sum(entry.packets for entry in entries)}


def _limited(policy: Policy, readings: Mapping[int, Readings]) -> dict[str, int]:
    ids = [meter.id for meter in policy.meters()]
    seen = [reading.meter_packets.get(id_, (0, 0)) for reading in readings.values() for id_ in ids]
    return {"hits": sum(asked for asked, _ in seen), "dropped": sum(dropped for _, dropped in seen)}


def unconfirmed(confirmation: Confirmation) -> str:
    """In words, what is not confirmed by whom."""
    if not confirmation.known:
        return "no switch has it, because the apiserver has not said yet which functions there are"
    switches = " and ".join(f"node{node}'s switch" for node in (*confirmation.silent, *confirmation.away))
    if not confirmation.silent:
        return f"{switches} is away, and gets it when it is back"
    return f"{switches} has not confirmed it"


def _state(policy: Policy, calls: Sequence[Call], index: IntentIndex, confirm: Confirm) -> str:
    confirmation = confirm({port.node for call in calls for port in index.ports_of(call[0])})
    if not confirmation.known:
        return f"not in force: {unconfirmed(confirmation)}"
    if calls and policy.kind is Kind.MIRROR and policy.mirror_to != OWN_PROBE:
        capture = index.state.hosts.get(policy.mirror_to)
        if capture is None:
            return f"waits: there is no {policy.mirror_to}"
        calls = [call for call in calls if any(port.node == capture.node for port in index.ports_of(call[0]))]
        if not calls:
            return f"copies nothing: none of its calls begins on node{capture.node}, and copies cross no trunk"
    if calls:
        return _in_force(len(calls), confirmation)
    return _idle(policy, index)


def _in_force(calls: int, confirmation: Confirmation) -> str:
    if not confirmation.is_complete:
        return f"not in force everywhere: {unconfirmed(confirmation)}"
    return f"in force on {calls} call{'s' if calls > 1 else ''}"


def _idle(policy: Policy, index: IntentIndex) -> str:
    """Why it means no call at present."""
    for name in (policy.source, policy.target):
        if not name.startswith(EVERY) and index.id_of(name) is None:
            return f"waits: {name} is not deployed"
    if policy.kind is Kind.ALLOW:
        return "nothing to do: the call graph allows these calls already, or there are no such functions"
    return "nothing to do: no call that it means is allowed, or another policy denies it"

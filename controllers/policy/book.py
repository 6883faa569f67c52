"""Several policies together: which calls they mean now, and what they say of each.

`judge` finds the calls in the cluster as it is, so that a policy waits for functions that are not there yet and
leaves with those that go. A deny wins over an allow, an allow over the call graph. Limits and mirrors never admit
anything: they only touch calls that are admitted. Pure: desired/calls.py makes rows of it, file.py keeps the book.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from controllers.intents import Call
from controllers.pipeline import Category
from controllers.policy.rules import EVERY, LAST_NUMBER, Kind, Policy, PolicyError, parse
from controllers.rows import Meter, MeterUnit


class NameTaken(PolicyError):
    """There is a policy of this name."""


Book = Mapping[str, Policy]
"""All policies, by name, in the order in which they came."""


def added(book: Book, body: Any) -> Policy:
    """The policy that `body` would add. PolicyError; NameTaken where there is one of its name."""
    taken = {policy.number for policy in book.values()}
    number = next((n for n in range(1, LAST_NUMBER + 1) if n not in taken), None)
    if number is None:
        raise PolicyError(f"there are {LAST_NUMBER} policies already; remove some")
    policy = parse(body, number)
    if policy.name in book:
        raise NameTaken(f"there is a policy {policy.name} already; remove it first, or choose another name")
    return policy


@dataclass(frozen=True, slots=True)
class Rules:
    """What the policies say about one call, together. Meters by id; captures are `mirror_to` values."""

    allowed: bool = False
    denied: bool = False
    connection_meter: int | None = None
    packet_meter: int | None = None
    captures: tuple[str, ...] = ()


@dataclass(frozen=True)
class Judgement:
    """Rules by call, and the calls that each policy, by name, has a part in."""

    rules: Mapping[Call, Rules] = field(default_factory=dict)
    calls: Mapping[str, tuple[Call, ...]] = field(default_factory=dict)


class Names(Protocol):
    """Who is in the cluster now."""

    def id_of(self, name: str) -> int | None: ...

    def functions_of(self, namespace: str) -> list[int]: ...


def judge(book: Book, names: Names, in_call_graph: Callable[[int, int], bool]) -> Judgement:
    """What the policies say in the cluster as it is. Cost: that of the pairs of functions that they name."""
    if not book:
        return Judgement()
    calls: dict[str, tuple[Call, ...]] = {}
    of_kind = {kind: [policy for policy in book.values() if policy.kind is kind] for kind in Kind}
    allowed: set[Call] = set()
    for policy in of_kind[Kind.ALLOW]:
        calls[policy.name] = tuple(call for call in _pairs(policy, names) if not in_call_graph(*call))
        allowed.update(calls[policy.name])
    found: dict[Call, dict[str, Any]] = {call: {"allowed": True} for call in allowed}
    for kind in (Kind.DENY, Kind.RATE_LIMIT, Kind.MIRROR):
        for policy in of_kind[kind]:
            admitted = (call for call in _pairs(policy, names) if call in allowed or in_call_graph(*call))
            live = tuple(call for call in admitted if kind is Kind.DENY or not found.get(call, {}).get("denied"))
            calls[policy.name] = live
            for call in live:
                _add(found.setdefault(call, {}), policy, book)
    return Judgement({call: Rules(**rule) for call, rule in found.items()}, calls)


def _pairs(policy: Policy, names: Names) -> Iterator[Call]:
    targets = _members(policy.target, names)
    return ((a, b) for a in _members(policy.source, names) for b in targets if a != b)


def _members(name: str, names: Names) -> list[int]:
    if name.startswith(EVERY):
        return names.functions_of(name.removeprefix(f"{EVERY}."))
    found = names.id_of(name)
    return [] if found is None else [found]


def _add(rule: dict[str, Any], policy: Policy, book: Book) -> None:
    """Let one more policy speak of a call. Of several limits of one unit the lowest holds."""
    if policy.kind is Kind.DENY:
        rule["denied"] = True
    elif policy.kind is Kind.MIRROR:
        rule["captures"] = tuple(sorted({*rule.get("captures", ()), policy.mirror_to}))
    for meter in policy.meters():
        which = "connection_meter" if meter.unit is MeterUnit.PACKETS else "packet_meter"
        rates = {m.id: m.rate for other in book.values() for m in other.meters()}
        if which not in rule or meter.rate < rates[rule[which]]:
            rule[which] = meter.id


class PolicyIndex:
    """The policies and what they say in the cluster as it last was."""

    def __init__(self) -> None:
        self.book: Book = {}
        self._judgement = Judgement()
        self._by_caller: dict[int, list[Call]] = {}

    @property
    def rules(self) -> Mapping[Call, Rules]:
        return self._judgement.rules

    @property
    def calls(self) -> Mapping[str, tuple[Call, ...]]:
        """The calls that each policy has a part in."""
        return self._judgement.calls

    def behind(self) -> dict[tuple[Category, Call], str]:
        """The names of the policies that each of their rows comes from, by category and call."""
        found: dict[tuple[Category, Call], list[str]] = {}
        for name, calls in self.calls.items():
            for category in self.book[name].categories():
                for call in calls:
                    found.setdefault((category, call), []).append(name)
        return {key: ", ".join(names) for key, names in found.items()}

    def numbers(self) -> set[int]:
        return {policy.number for policy in self.book.values()}

    def meters(self, number: int) -> tuple[Meter, ...]:
        """The meters of the policy of this number; every node has them."""
        return tuple(meter for policy in self.book.values() if policy.number == number for meter in policy.meters())

    def of_caller(self, caller: int) -> list[tuple[Call, Rules]]:
        return [(call, self.rules[call]) for call in self._by_caller.get(caller, ())]

    def judge(
        self, names: Names, in_call_graph: Callable[[int, int], bool], everything: bool
    ) -> list[tuple[Call, int]]:
        """Judge anew: the calls about which the policies now say something else, or all that they speak of.

        With each comes +1 where only a policy now allows it, -1 where one did so no longer, else 0.
        """
        before = self.rules
        if not self.book and not before:
            return []
        self._judgement = judge(self.book, names, in_call_graph)
        after = self.rules
        self._by_caller = {}
        for call in after:
            self._by_caller.setdefault(call[0], []).append(call)
        both = (*before, *(call for call in after if call not in before))
        changed = (call for call in both if everything or before.get(call) != after.get(call))
        return [(call, _allows(after.get(call)) - _allows(before.get(call))) for call in changed]


def _allows(rules: Rules | None) -> bool:
    return rules is not None and rules.allowed

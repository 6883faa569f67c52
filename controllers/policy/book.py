"""Several policies together: which calls they mean now, and what they say of each.

A policy waits for functions that are not there yet and leaves with those that go. A deny wins over an allow, an
allow over the call graph. Limits and mirrors never admit anything: they only touch calls that are admitted.
`PolicyIndex` is kept current: a change costs the calls that it touches, however many policies and functions there
are. Pure: desired/calls.py makes rows of what it says, file.py keeps the book.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from controllers.intents import Call
from controllers.pipeline import Category
from controllers.policy.rules import EVERY, LAST_NUMBER, Kind, Policy, PolicyError, parse
from controllers.rows import Meter, MeterUnit

Book = Mapping[str, Policy]
"""All policies, by name, in the order in which they came."""


class NameTaken(PolicyError):
    """There is a policy of this name."""


def added(book: Book, body: Any, own: str | None = None) -> Policy:
    """The policy that `body` would add. PolicyError; NameTaken where there is one of its name.

    `own`: it comes from this namespace; None: from the operator.
    """
    taken = {policy.number for policy in book.values()}
    number = next((n for n in range(1, LAST_NUMBER + 1) if n not in taken), None)
    if number is None:
        raise PolicyError(f"there are {LAST_NUMBER} policies already; remove some")
    policy = parse(body, number, own)
    if policy.name in book:
        raise NameTaken(f"there is a policy {policy.name} already; remove it first, or choose another name")
    return policy


@dataclass(frozen=True, slots=True)
class Rules:
    """What the policies say about one call, together. Meters by id; captures are `mirror_to` values.

    `allowed`: a policy admits the call, and the call graph does not.
    """

    allowed: bool = False
    denied: bool = False
    connection_meter: int | None = None
    packet_meter: int | None = None
    captures: tuple[str, ...] = ()

    @property
    def of_packets(self) -> bool:
        """Whether they need a row for each of the caller's ports."""
        return self.packet_meter is not None or bool(self.captures)


def combined(policies: Iterable[Policy], in_call_graph: bool) -> tuple[Rules | None, tuple[Policy, ...]]:
    """What all policies that mean one call say of it, and those of them that have a part in it.

    A limit or mirror has none in a call that is denied, nor has any but an allow in one that nobody admits.
    """
    of_kind: dict[Kind, list[Policy]] = {kind: [] for kind in Kind}
    for policy in policies:
        of_kind[policy.kind].append(policy)
    allows = [] if in_call_graph else of_kind[Kind.ALLOW]
    if not (allows or in_call_graph):
        return None, ()
    if of_kind[Kind.DENY]:
        return Rules(allowed=bool(allows), denied=True), (*allows, *of_kind[Kind.DENY])
    limits, mirrors = of_kind[Kind.RATE_LIMIT], of_kind[Kind.MIRROR]
    parts = (*allows, *limits, *mirrors)
    if not parts:
        return None, ()
    meters = [meter for policy in limits for meter in policy.meters()]
    connections, packets = (_lowest(meters, unit) for unit in (MeterUnit.PACKETS, MeterUnit.KBIT))
    captures = tuple(sorted({policy.mirror_to for policy in mirrors}))
    return Rules(bool(allows), False, connections, packets, captures), parts


def _lowest(meters: Iterable[Meter], unit: MeterUnit) -> int | None:
    """Of several limits of one unit the lowest holds; of equal ones the oldest."""
    of_unit = [meter for meter in meters if meter.unit is unit]
    return min(of_unit, key=lambda meter: meter.rate).id if of_unit else None


class Names(Protocol):
    """Who is in the cluster now."""

    def id_of(self, name: str) -> int | None: ...

    def functions_of(self, namespace: str) -> Iterable[int]: ...

    def named(self, workload_id: int) -> tuple[str, str] | None:
        """Its full name, and the namespace of whose functions it is one or ""; None where there is no such workload."""
        ...


class Graph(Protocol):
    """The call graph as it is now: ids by id."""

    def callees(self, caller: int) -> Iterable[int]: ...

    def callers(self, callee: int) -> Iterable[int]: ...

    def __contains__(self, call: Call) -> bool: ...


@dataclass(frozen=True, slots=True)
class Verdict:
    """A call about which the policies now say something else than before.

    `step`: +1 where only a policy now allows it, -1 where one did so no longer, else 0.
    """

    call: Call
    step: int


class PolicyIndex:
    """The policies and what they say in the cluster as it last was. Asks `names` and `graph` for what it touches."""

    def __init__(self, names: Names, graph: Graph) -> None:
        self._names, self._graph = names, graph
        self.book: Book = {}
        self.rules: dict[Call, Rules] = {}
        self.judged = 0
        """How many calls were judged so far: what a change cost."""
        self._meant: dict[tuple[str, str], dict[str, Policy]] = {}  # policies by their two ends
        self._allows: dict[str, dict[str, Policy]] = {}  # those that allow, by either end
        self._parts: dict[Call, tuple[Policy, ...]] = {}
        self._calls: dict[str, dict[Call, None]] = {}  # by policy
        self._rules_of: dict[int, dict[Call, None]] = {}  # calls with rules, by caller and by callee
        self._known: dict[int, tuple[str, str]] = {}  # how each workload was named when last judged
        self._order: dict[str, int] = {}  # which policy came first
        self._numbered: dict[int, Policy] = {}

    # What changes

    def replace(self, book: Book) -> list[Verdict]:
        """From now on these are the policies."""
        gone = [policy for name, policy in self.book.items() if book.get(name) != policy]
        new = [policy for name, policy in book.items() if self.book.get(name) != policy]
        self.book = dict(book)
        self._order = {name: place for place, name in enumerate(book)}
        self._numbered = {policy.number: policy for policy in book.values()}
        touched: dict[Call, None] = {}
        for policy in gone:
            touched |= self._calls.get(policy.name, {})
            self._file(policy, present=False)
        for policy in new:
            self._file(policy, present=True)
        for policy in new:
            touched |= dict.fromkeys(self._candidates(policy))
        return self._judge(touched)

    def follow(self, workloads: Iterable[int], calls: Iterable[Call]) -> list[Verdict]:
        """These workloads may have come or gone, and these calls of the call graph."""
        touched = dict.fromkeys(calls)
        for workload in workloads:
            before, after = self._known.get(workload), self._names.named(workload)
            if before == after:
                continue
            touched |= self._rules_of.get(workload, {})
            if after is None:
                del self._known[workload]
            else:
                self._known[workload] = after
                touched |= dict.fromkeys(self._allowed_of(workload))
        return self._judge(touched) if self.book or self.rules else []

    def _file(self, policy: Policy, *, present: bool) -> None:
        shelves = [self._meant.setdefault((policy.source, policy.target), {})]
        if policy.kind is Kind.ALLOW:
            shelves += [self._allows.setdefault(end, {}) for end in (policy.source, policy.target)]
        for shelf in shelves:
            if present:
                shelf[policy.name] = policy
            else:
                shelf.pop(policy.name, None)

    def _candidates(self, policy: Policy) -> Iterator[Call]:
        """Every call that a policy may speak of: an allow of all it means, others of what is admitted."""
        callers, callees = self._members(policy.source), self._members(policy.target)
        if policy.kind is Kind.ALLOW:
            yield from ((a, b) for a in callers for b in callees if a != b)
        elif len(callers) <= len(callees):
            wanted = set(callees)
            for a in callers:
                yield from ((a, b) for b in self._graph.callees(a) if b in wanted)
                yield from (call for call in self._rules_of.get(a, ()) if call[0] == a and call[1] in wanted)
        else:
            wanted = set(callers)
            for b in callees:
                yield from ((a, b) for a in self._graph.callers(b) if a in wanted)
                yield from (call for call in self._rules_of.get(b, ()) if call[1] == b and call[0] in wanted)

    def _allowed_of(self, workload: int) -> Iterator[Call]:
        """The calls from and to it that allows speak of."""
        for end in self._ends(workload):
            for policy in self._allows.get(end, {}).values():
                if policy.source == end:
                    yield from ((workload, b) for b in self._members(policy.target) if b != workload)
                if policy.target == end:
                    yield from ((a, workload) for a in self._members(policy.source) if a != workload)

    def _members(self, end: str) -> list[int]:
        if end.startswith(EVERY):
            return list(self._names.functions_of(end.removeprefix(f"{EVERY}.")))
        found = self._names.id_of(end)
        return [] if found is None else [found]

    def _ends(self, workload: int) -> Iterator[str]:
        """What policies may call it."""
        named = self._names.named(workload)
        if named is not None:
            name, namespace = named
            yield name
            if namespace:
                yield f"{EVERY}.{namespace}"

    def _judge(self, calls: Iterable[Call]) -> list[Verdict]:
        """Judge these calls anew; those of which something else is said, in a fixed order."""
        found = []
        for call in sorted(calls):
            self.judged += 1
            before = self.rules.get(call)
            after, parts = combined(self._speaking_of(call), call in self._graph)
            self._set(call, after, parts)
            if before != after:
                step = (after is not None and after.allowed) - (before is not None and before.allowed)
                found.append(Verdict(call, step))
        return found

    def _speaking_of(self, call: Call) -> list[Policy]:
        caller, callee = call
        if caller == callee:
            return []
        pairs = [(a, b) for a in self._ends(caller) for b in self._ends(callee)]
        return sorted(
            (policy for pair in pairs for policy in self._meant.get(pair, {}).values()),
            key=lambda policy: self._order[policy.name],
        )

    def _set(self, call: Call, rules: Rules | None, parts: tuple[Policy, ...]) -> None:
        for policy in self._parts.pop(call, ()):
            self._calls[policy.name].pop(call, None)
        for policy in parts:
            self._calls.setdefault(policy.name, {})[call] = None
        if parts:
            self._parts[call] = parts
        if rules is None:
            self.rules.pop(call, None)
        else:
            self.rules[call] = rules
        for workload in call:
            of_workload = self._rules_of.setdefault(workload, {})
            if rules is None:
                of_workload.pop(call, None)
            else:
                of_workload[call] = None

    # What is asked

    def calls_of(self, name: str) -> tuple[Call, ...]:
        """The calls that a policy has a part in."""
        return tuple(sorted(self._calls.get(name, ())))

    def of_caller(self, caller: int) -> list[tuple[Call, Rules]]:
        return [(call, self.rules[call]) for call in self._rules_of.get(caller, ()) if call[0] == caller]

    def of(self, workload: int) -> list[Call]:
        """The calls from and to a workload of which the policies say something."""
        return list(self._rules_of.get(workload, ()))

    def behind(self) -> dict[tuple[Category, Call], str]:
        """The names of the policies that each of their rows comes from, by category and call."""
        found: dict[tuple[Category, Call], list[str]] = {}
        for call, parts in self._parts.items():
            for policy in parts:
                for category in policy.categories():
                    found.setdefault((category, call), []).append(policy.name)
        return {key: ", ".join(names) for key, names in found.items()}

    def meters(self, number: int) -> tuple[Meter, ...]:
        """The meters of the policy of this number; every node has them."""
        policy = self._numbered.get(number)
        return tuple(policy.meters()) if policy else ()

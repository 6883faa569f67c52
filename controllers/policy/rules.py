"""A provider's own rules: what a policy says, which calls it means, and what several amount to together.

A policy names functions; `judge` finds the calls it means in the cluster as it is now, so that a policy
waits for functions that are not there yet and leaves with those that go. A deny wins over an allow, an allow
over the call graph. Limits and mirrors never admit anything: they only touch calls that are admitted. Without
`operator` a policy speaks of one namespace only. Pure: call_rows.py makes rows, policy_store.py keeps files.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Protocol

from controllers.intents import Call
from controllers.pipeline import Category
from controllers.rows import Meter, MeterUnit
from testbed.model.errors import UsageError


class PolicyError(UsageError):
    """A policy that says something wrong."""


class NameTaken(PolicyError):
    """There is a policy of this name."""


class Kind(str, Enum):
    """What a policy does with the calls it means."""

    ALLOW = "allow"
    DENY = "deny"
    RATE_LIMIT = "rate-limit"
    MIRROR = "mirror"


EVERY = "*"
OWN_PROBE = "probe"
"""As `mirror_to`: the probe of each caller's own node."""
FIRST_METER = 65_536
LAST_NUMBER = 65_535
MAX_RATE = 10_000_000
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_HOST = re.compile(r"gateway|client|probe\d+")
_CAPTURE_HOST = re.compile(r"probe\d*|client")
_FIELDS = ("name", "kind", "namespace", "from", "to", "rate", "mirror_to", "operator")
_RATES = ("connections_per_s", "kbit_per_s")


@dataclass(frozen=True)
class Policy:
    """One rule. `source` and `target` are full names: `f.namespace`, `*.namespace`, or a host's.

    `number` is the policy's own for its life and names its meters. Rates are of all calls that the policy
    means together, on each node where they begin: new connections a second; kbit/s of both directions.
    """

    name: str
    kind: Kind
    namespace: str
    source: str
    target: str
    number: int
    connections_per_s: int | None = None
    kbit_per_s: int | None = None
    mirror_to: str = ""
    operator: bool = False

    def meters(self) -> Iterator[Meter]:
        """The meters of a rate limit. A second's worth may come at once."""
        rates = ((MeterUnit.PACKETS, self.connections_per_s), (MeterUnit.KBIT, self.kbit_per_s))
        for index, (unit, rate) in enumerate(rates):
            if rate is not None:
                yield Meter(FIRST_METER + 2 * self.number + index, unit, rate, rate)

    def categories(self) -> Iterator[Category]:
        """Of its rows."""
        if self.kind is Kind.ALLOW:
            yield Category.ALLOW
        if self.kind is Kind.DENY:
            yield Category.DENY
        if self.connections_per_s is not None:
            yield Category.LIMIT
        if self.kind is Kind.MIRROR or self.kbit_per_s is not None:
            yield Category.PACKETS

    def to_json(self) -> dict[str, Any]:
        """As the body of POST /policies, names in full; `parse` reads it back."""
        rate = {name: getattr(self, name) for name in _RATES if getattr(self, name) is not None}
        return {
            "name": self.name,
            "kind": self.kind.value,
            "namespace": self.namespace,
            "from": self.source,
            "to": self.target,
            **({"rate": rate} if rate else {}),
            **({"mirror_to": self.mirror_to} if self.mirror_to else {}),
            "operator": self.operator,
        }


def parse(body: Any, number: int) -> Policy:
    """The policy that a JSON body describes. PolicyError, one sentence, where it is wrong."""
    if not isinstance(body, dict):
        raise PolicyError('a policy is a JSON object such as {"name": "n", "kind": "deny", "namespace": "t"}')
    name = body.get("name")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise PolicyError(f'"name" is {name!r}; give lower-case letters, digits and dashes, at most 63')
    unknown = ", ".join(sorted(set(body) - set(_FIELDS)))
    if unknown:
        raise PolicyError(f"policy {name}: unknown field {unknown}; there are {', '.join(_FIELDS)}")
    kinds = [kind.value for kind in Kind]
    if body.get("kind") not in kinds:
        raise PolicyError(f'policy {name}: "kind" is {body.get("kind")!r}; choose one of {", ".join(kinds)}')
    kind, operator, namespace = Kind(body["kind"]), body.get("operator", False), body.get("namespace", "")
    if not isinstance(operator, bool):
        raise PolicyError(f'policy {name}: "operator" is {operator!r}; write true or false')
    if namespace != "" and not (isinstance(namespace, str) and _NAME.fullmatch(namespace)):
        raise PolicyError(f'policy {name}: "namespace" is {namespace!r}, which cannot be the name of a namespace')
    if namespace == "" and not operator:
        raise PolicyError(f'policy {name}: "namespace" is missing; a rule without one needs "operator": true')
    source, target = (_end(name, which, body.get(which, EVERY), namespace, operator) for which in ("from", "to"))
    if source == target and not source.startswith(EVERY):
        raise PolicyError(f"policy {name}: {source} is both ends, and a function's calls to itself never leave it")
    rates = _rates(name, kind, body.get("rate"))
    mirror_to = _mirror_to(name, kind, body.get("mirror_to"))
    return Policy(name, kind, namespace, source, target, number, *rates, mirror_to, operator)


def _end(policy: str, which: str, text: Any, namespace: str, operator: bool) -> str:
    """The full name of one end of the calls."""
    if not isinstance(text, str):
        raise PolicyError(f'policy {policy}: "{which}" is {text!r}; give a function\'s name, or "*" for all')
    if operator and _HOST.fullmatch(text):
        return text
    function, _, own = text.partition(".")
    own = own or namespace
    if not (function == EVERY or _NAME.fullmatch(function)) or not _NAME.fullmatch(own):
        raise PolicyError(f'policy {policy}: "{which}" is {text!r}; write function, function.namespace or "*"')
    if own != namespace and not operator:
        raise PolicyError(
            f'policy {policy}: "{which}" is {text!r}, outside namespace {namespace}; '
            'a rule wider than one namespace needs "operator": true'
        )
    return f"{function}.{own}"


def _rates(policy: str, kind: Kind, rate: Any) -> tuple[int | None, int | None]:
    if kind is not Kind.RATE_LIMIT:
        if rate is not None:
            raise PolicyError(f'policy {policy}: "rate" belongs to the kind rate-limit, not to {kind.value}')
        return None, None
    if not isinstance(rate, dict) or not rate or set(rate) - set(_RATES):
        raise PolicyError(f'policy {policy}: "rate" is {rate!r}; give {{"connections_per_s": N}}, {{"kbit_per_s": N}}')
    for name, value in rate.items():
        if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= MAX_RATE:
            raise PolicyError(f'policy {policy}: "{name}" is {value!r}; give a whole number from 1 to {MAX_RATE}')
    return rate.get("connections_per_s"), rate.get("kbit_per_s")


def _mirror_to(policy: str, kind: Kind, host: Any) -> str:
    if kind is not Kind.MIRROR:
        if host is not None:
            raise PolicyError(f'policy {policy}: "mirror_to" belongs to the kind mirror, not to {kind.value}')
        return ""
    host = OWN_PROBE if host is None else host
    if not isinstance(host, str) or not _CAPTURE_HOST.fullmatch(host):
        raise PolicyError(
            f'policy {policy}: "mirror_to" is {host!r}; give probe (of the caller\'s node), probe1, probe2, … or client'
        )
    return host


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

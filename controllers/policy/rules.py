"""What one policy says, and what it may not say.

A policy names functions, which need not be there yet. One that reaches beyond a namespace is an operator's, and only
who has shown to be the operator may make one: what the policy says of itself decides nothing. Which calls it means in
the cluster as it is, and what several policies amount to together, is book.py's business. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Any

from controllers.pipeline import Category
from controllers.rows import Meter, MeterUnit
from testbed.model.errors import UsageError


class PolicyError(UsageError):
    """A policy that says something wrong."""


class NotYours(PolicyError):
    """A namespace's policy that reaches beyond it."""


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
_WIDER = 'a rule that reaches beyond a namespace is the operator\'s: say so (--operator, or "operator": true)'
_OPERATOR = '"operator" is true'
_YOURS = "and a wider rule is for the lab's operator: this credential is for rules within namespace"


@dataclass(frozen=True)
class Policy:
    """One rule. `source` and `target` are full names: `f.namespace`, `*.namespace`, or a host's.

    `number` is the policy's own for its life and names its meters. Rates are of all calls that the policy
    means together, on each node where they begin: new connections a second; kbit/s of both directions.
    `operator`: it reaches beyond its namespace, or is none of its business: the namespace neither sees nor removes it.
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


def parse(body: Any, number: int, own: str | None = None) -> Policy:
    """The policy that a JSON body describes. PolicyError, one sentence, where it is wrong.

    `own`: it comes from this namespace, and must keep to it, else NotYours; None: from the operator. Of the operator
    `"operator": false` says that it is not meant to reach beyond its namespace, which is then an error; `true` that
    it is the operator's even where it does not.
    """
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
    kind, asked, namespace = Kind(body["kind"]), body.get("operator"), body.get("namespace", own or "")
    if not (asked is None or isinstance(asked, bool)):
        raise PolicyError(f'policy {name}: "operator" is {asked!r}; write true or false')
    if namespace != "" and not (isinstance(namespace, str) and _NAME.fullmatch(namespace)):
        raise PolicyError(f'policy {name}: "namespace" is {namespace!r}, which cannot be the name of a namespace')
    if own is not None and (asked or namespace != own):
        said = _OPERATOR if asked else f'"namespace" is {namespace!r}'
        raise NotYours(f"policy {name}: {said}, {_YOURS} {own}")
    if namespace == "" and asked is False:
        raise PolicyError(f'policy {name}: "namespace" is missing; {_WIDER}')
    ends = [_End.read(name, which, body.get(which, EVERY), namespace) for which in ("from", "to")]
    beyond = [end for end in ends if end.namespace != namespace]
    if beyond and own is not None:
        raise NotYours(f"policy {name}: {beyond[0].said}, {_YOURS} {own}")
    if beyond and asked is False:
        raise PolicyError(f"policy {name}: {beyond[0].said}, outside namespace {namespace}; {_WIDER}")
    source, target = (end.full_name for end in ends)
    operator = bool(asked or beyond or namespace == "")
    if source == target and not source.startswith(EVERY):
        raise PolicyError(f"policy {name}: {source} is both ends, and a function's calls to itself never leave it")
    rates = _rates(name, kind, body.get("rate"))
    mirror_to = _mirror_to(name, kind, body.get("mirror_to"))
    return Policy(name, kind, namespace, source, target, number, *rates, mirror_to, operator)


@dataclass(frozen=True)
class _End:
    """One end of the calls. `namespace` is None for a host, which is in none; `said` quotes the request."""

    full_name: str
    namespace: str | None
    said: str

    @classmethod
    def read(cls, policy: str, which: str, text: Any, namespace: str) -> _End:
        """Of a policy about `namespace`."""
        said = f'"{which}" is {text!r}'
        if not isinstance(text, str):
            raise PolicyError(f'policy {policy}: {said}; give a function\'s name, or "*" for all')
        function, dot, own = text.partition(".")
        if not dot and _HOST.fullmatch(text):
            return cls(text, None, said)
        own = own or namespace
        if not own:
            raise PolicyError(f'policy {policy}: "namespace" is missing, and {said} names none; give one')
        if not (function == EVERY or _NAME.fullmatch(function)) or not _NAME.fullmatch(own):
            raise PolicyError(f'policy {policy}: {said}; write function, function.namespace or "*"')
        return cls(f"{function}.{own}", own, said)


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

"""What one policy says, and what it may not say.

A policy names functions, which need not be there yet. Without `operator` it speaks of one namespace only. Which
calls it means in the cluster as it is, and what several policies amount to together, is book.py's business. Pure.
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

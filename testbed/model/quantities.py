"""Kubernetes quantities as functions' limits use them: "128Mi" of memory, "100m" of a CPU.

Values only; what enforces a limit is elsewhere (`network.cgroups`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from testbed.model.errors import UsageError

_QUANTITY = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)([a-zA-Z]{0,2}|[eE][0-9]{1,2})")
_SUFFIXES: Mapping[str, Decimal] = {
    "": Decimal(1),
    "m": Decimal(1) / 1000,
    **{name: Decimal(1000) ** power for power, name in enumerate(("k", "M", "G", "T", "P", "E"), start=1)},
    **{name: Decimal(1024) ** power for power, name in enumerate(("Ki", "Mi", "Gi", "Ti", "Pi", "Ei"), start=1)},
}

LEAST_MEMORY_BYTES = 4 << 20
"""Below this not even a shell starts, and the function would only crash."""
LEAST_CPU_CORES = 0.01
"""The kernel's own least: 1 ms in each period of 100 ms."""


@dataclass(frozen=True)
class Limits:
    """What an instance may use at most; None: as much as there is."""

    memory_bytes: int | None = None
    cpu_cores: float | None = None

    def __bool__(self) -> bool:
        return self.memory_bytes is not None or self.cpu_cores is not None


def parse_limits(limits: Mapping[str, str]) -> Limits:
    """A function's limits, {"memory": "128Mi", "cpu": "100m"}; both may be missing or "".

    Raises UsageError, which names the key and the value.
    """
    for key in limits:
        if key not in ("memory", "cpu"):
            raise UsageError(f'"{key}" in limits is not known; give memory and cpu')
    memory, cpu = limits.get("memory", ""), limits.get("cpu", "")
    return Limits(memory_bytes(memory) if memory else None, cpu_cores(cpu) if cpu else None)


def memory_bytes(text: str) -> int:
    """Bytes of "128Mi", "64M", "1e9", …; UsageError otherwise, or when no program could run in it."""
    value = int(_value(text, "memory", "128Mi"))
    if value < LEAST_MEMORY_BYTES:
        raise UsageError(
            f'memory limit "{text}" is {value} bytes; no function starts with less than {LEAST_MEMORY_BYTES >> 20}Mi'
        )
    return value


def cpu_cores(text: str) -> float:
    """CPUs of "100m", "0.5", "2"; UsageError otherwise, or when the kernel cannot enforce so little."""
    value = float(_value(text, "cpu", "100m"))
    if value < LEAST_CPU_CORES:
        raise UsageError(f'cpu limit "{text}" is less than {LEAST_CPU_CORES * 1000:.0f}m, the least that is enforced')
    return value


def _value(text: str, what: str, example: str) -> Decimal:
    found = _QUANTITY.fullmatch(text)
    if not found:
        raise UsageError(f'{what} limit "{text}" is not a Kubernetes quantity; write it like "{example}"')
    number, suffix = found.groups()
    if suffix in _SUFFIXES:
        return Decimal(number) * _SUFFIXES[suffix]
    if suffix[:1] in ("e", "E") and suffix[1:].isdigit():
        return Decimal(number).scaleb(int(suffix[1:]))
    raise UsageError(f'{what} limit "{text}" ends in an unknown unit "{suffix}"; write it like "{example}"')

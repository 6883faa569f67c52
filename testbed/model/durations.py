"""Times as people write them in settings: Go's form ("1m30s", "1.5h", "500ms"), in seconds. Pure.

What reads a setting says which one it was: here is only the ValueError. Functions' language servers read such
settings too, each in its own language and without us.
"""

from __future__ import annotations

import re

_UNITS_NS = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "h": 3_600_000_000_000,
}
_PART = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(ns|us|µs|ms|s|m|h)")
_END_NS = 1 << 63
"""Go counts in nanoseconds, with 63 bits: up to 292 years."""


def go_duration_s(text: str) -> float:
    """Seconds of a duration in Go's form, without a sign. Raises ValueError."""
    parts = _PART.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise ValueError(text)
    total_ns = sum(float(number) * _UNITS_NS[unit] for number, unit in parts)
    if total_ns >= _END_NS:
        raise ValueError(text)
    return round(total_ns) / 1e9


def setting_s(text: str) -> float:
    """Seconds of a whole number ("60") or of a duration in Go's form, as OpenFaaS's settings are. Raises ValueError."""
    return float(text) if re.fullmatch(r"[0-9]+", text) else go_duration_s(text)

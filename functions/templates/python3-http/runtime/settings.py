"""of-watchdog's environment variables, as far as they mean something here.

    port                8080
    listen_address      0.0.0.0
    exec_timeout        30s     a longer invocation is answered 504; 0: no limit
    read_timeout        30s     an idle connection, or one that sends no request, is closed after
    write_timeout       30s     three times the longer of these two (callers keep connections for a minute)
    healthcheck_interval        how long running invocations may take to finish after SIGTERM (write_timeout)
    max_inflight        0       more concurrent invocations are answered 429; 0: no limit
    threads             32      invocations that run at once, others wait

Durations are seconds ("30") or in Go's form ("1m30s"). FUNCTION_NAME, FUNCTION_NAMESPACE and
INSTANCE_ID name the instance in its records.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

_UNITS_S = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)")
_SPARE_THREADS = 4


@dataclass(frozen=True)
class Settings:
    """All times in seconds."""

    port: int = 8080
    listen_address: str = "0.0.0.0"
    exec_timeout_s: float = 30.0
    idle_timeout_s: float = 90.0
    drain_s: float = 30.0
    max_inflight: int = 0
    threads: int = 32
    function: str = ""
    namespace: str = ""
    instance: str = ""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Settings:
        """Raises SystemExit with a sentence when a value cannot be understood."""
        read_s = _seconds(environment, "read_timeout", 30.0)
        write_s = _seconds(environment, "write_timeout", 30.0)
        max_inflight = _integer(environment, "max_inflight", 0)
        threads = _integer(environment, "threads", 32)
        return cls(
            port=_integer(environment, "port", 8080),
            listen_address=environment.get("listen_address") or "0.0.0.0",
            exec_timeout_s=_seconds(environment, "exec_timeout", 30.0),
            idle_timeout_s=max(3 * read_s, 3 * write_s),
            drain_s=_seconds(environment, "healthcheck_interval", write_s),
            max_inflight=max_inflight,
            # A refusal needs a thread as well.
            threads=max(threads, max_inflight + _SPARE_THREADS) if max_inflight else threads,
            function=environment.get("FUNCTION_NAME", ""),
            namespace=environment.get("FUNCTION_NAMESPACE", ""),
            instance=environment.get("INSTANCE_ID", ""),
        )


def duration_s(text: str) -> float:
    """Seconds of "30" or "1m30s". Raises ValueError."""
    if text.isdecimal():
        return float(text)
    parts = _PART.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise ValueError(text)
    return sum(float(number) * _UNITS_S[unit] for number, unit in parts)


def _seconds(environment: Mapping[str, str], name: str, default: float) -> float:
    value = environment.get(name)
    try:
        return duration_s(value) if value else default
    except ValueError:
        raise SystemExit(f"{name}={value} is no duration; write seconds (30) or a Go duration (1m30s)") from None


def _integer(environment: Mapping[str, str], name: str, default: int) -> int:
    value = environment.get(name) or str(default)
    if not value.isdecimal():
        raise SystemExit(f"{name}={value} is no number; write a whole number")
    return int(value)

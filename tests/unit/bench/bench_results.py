"""Results as the bench writes them, for tests of what is made from them."""

from __future__ import annotations

from typing import Any

from bench.outcome import Outcome
from bench.subject import SUBJECTS

MACHINE = {
    "cpu": "A CPU", "cpus": 2, "memory_mb": 4096, "kernel": "6.1", "system": "Debian", "datapath": "userspace",
    "load_at_start": [0.1, 0.2, 0.3], "steal_share": 0.015, "idle_share": 0.5,
}  # fmt: skip


def result(subject: str, outcome: Outcome, *, quick: bool = False) -> dict[str, Any]:
    return {
        "schema": 1, "subject": subject, "what": "what it is", "started": "2026-01-01T00:00:00+00:00", "took_s": 1.0,
        "command": ["python", "-m", "bench"], "quick": quick, "seed": 1, "commit": "0123456789abcdef",
        "uncommitted_changes": False, "machine": MACHINE, "problems": [], "facts": {},
        "budgets": outcome.budgets_json(SUBJECTS[subject].budgets, quick=quick),
        "tables": outcome.tables, "series": outcome.series,
    }  # fmt: skip

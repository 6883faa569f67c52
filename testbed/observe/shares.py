"""How a function's invocations were shared among its instances, from the records that function servers write.

The servers' own count is the truth about invocations: switches count connections, which one caller may use for
many of them.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

_RECORD = '{"invocation":'


@dataclass(frozen=True)
class Share:
    """One instance: how many invocations it served, and when (ns, monotonic) the first began and the last ended."""

    instance: str
    invocations: int
    first_ns: int
    last_ns: int

    @property
    def served_s(self) -> float:
        """From its first invocation to its last."""
        return (self.last_ns - self.first_ns) / 1e9


def shares(folder: Path, full_name: str, since_ns: int = 0) -> list[Share]:
    """The instances of `name.namespace` that served anything begun after `since_ns`, in the order of their first.

    `folder` holds the instances' output, a file each.
    """
    found = []
    for file in folder.glob(f"{full_name}.*.log"):
        spans = [span for span in _invocations(file) if span[0] >= since_ns]
        if spans:
            first_ns, last_ns = min(span[0] for span in spans), max(span[1] for span in spans)
            found.append(Share(file.stem, len(spans), first_ns, last_ns))
    return sorted(found, key=lambda share: share.first_ns)


def _invocations(file: Path) -> list[tuple[int, int]]:
    """(begin, end) of each recorded invocation; other output is passed over, and a line that is being written."""
    spans = []
    for line in file.read_text(errors="replace").splitlines():
        if _RECORD in line:
            try:
                record = json.loads(line[line.index(_RECORD) :])["invocation"]
            except ValueError:
                continue
            spans.append((record["started_ns"], record["ended_ns"]))
    return spans

"""`make bench`: the budgets that can be measured so far, part by part.

`python -m bench [PART …]` runs the parts named, by default all: generator, lab, gateway. Each prints its own
table; what is compared is measured interleaved in one part, so that the machine's mood cancels out. The
exit code is 1 when a budget was missed.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]
PARTS = ("generator", "lab", "gateway")


def main() -> int:
    wanted = sys.argv[1:] or list(PARTS)
    unknown = [part for part in wanted if part not in PARTS]
    if unknown:
        print(f"bench: there is no part {unknown[0]!r}; there are {', '.join(PARTS)}", file=sys.stderr)
        return 2
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=CHECKOUT, capture_output=True, text=True)  # noqa: PLW1510
    print(f"commit {commit.stdout.strip() or 'unknown'}, Linux {platform.release()}, {os.cpu_count()} cores")
    missed = []
    for part in wanted:
        print(f"\n== {part}", flush=True)
        if subprocess.run([sys.executable, "-m", f"bench.{part}"], cwd=CHECKOUT, check=False).returncode != 0:
            missed.append(part)
    print(f"\nbudgets missed in: {', '.join(missed)}" if missed else "\nall budgets kept")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())

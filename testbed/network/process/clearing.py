"""Removes a folder whatever lies in it: functions and compilers make what they like, and as deep as they like.

The standard library's removal descends by recursion, and a folder that is deep enough ends it with an error.
"""

from __future__ import annotations

import subprocess
from pathlib import Path


def remove(folder: Path) -> str:
    """Remove a folder, if it is there, and follow no link; why something of it stays, "" when nothing does."""
    command = ["rm", "-rf", "--", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    return done.stderr.strip().partition("\n")[0]

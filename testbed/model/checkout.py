"""Where this checkout lies, and the applications in it. Paths only: nothing is read.

`testbed.run` and the lab kernel's first programs cannot ask here: they run before the checkout is importable.
"""

from __future__ import annotations

from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
FUNCTIONS = CHECKOUT / "functions"
TEMPLATES = FUNCTIONS / "templates"

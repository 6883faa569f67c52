"""The project's own Python files, wherever they lie; not what was built, installed or measured."""

from __future__ import annotations

from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[3]
NOT_OURS = {"build", "runs"}


def python_files(*folders: str) -> list[Path]:
    """Python files in these folders of the checkout, or in all of it, relative to it."""
    tops = [CHECKOUT / folder for folder in folders] or [
        top for top in CHECKOUT.iterdir() if not top.name.startswith(".") and top.name not in NOT_OURS
    ]
    files = [file for top in tops for file in ([top] if top.is_file() else top.rglob("*.py")) if file.suffix == ".py"]
    return sorted(file.relative_to(CHECKOUT) for file in files)

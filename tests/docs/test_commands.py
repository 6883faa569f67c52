"""Every command that a document shows in a `console` block is run, in order, and answers as shown.

In the shown output a line "…" stands for any lines, and "…" inside a line for any text.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
DOCUMENTS = ["README.md", *(f"docs/{path.name}" for path in sorted((CHECKOUT / "docs").glob("*.md")))]
TIMEOUT_S = 180


@dataclass
class Step:
    """A command and the output shown under it."""

    command: str
    shown: list[str] = field(default_factory=list)

    def pattern(self) -> str:
        """A regular expression for the whole output."""
        lines = [r"(?:.*\n)*?" if line == "…" else re.escape(line).replace("…", ".*") + r"\n" for line in self.shown]
        return "".join(lines) + (r"\n*" if self.shown else r"(?:.*\n)*")


def console_blocks(text: str) -> Iterator[list[Step]]:
    for block in re.findall(r"```console\n(.*?)```", text, re.DOTALL):
        steps: list[Step] = []
        for line in block.splitlines():
            if line.startswith("$ "):
                steps.append(Step(line[2:]))
            else:
                steps[-1].shown.append(line)
        yield steps


BLOCKS = [
    pytest.param(steps, id=f"{document}-{number}")
    for document in DOCUMENTS
    for number, steps in enumerate(console_blocks((CHECKOUT / document).read_text()), 1)
]


@pytest.mark.parametrize("steps", BLOCKS)
def test_commands_answer_as_shown(steps: list[Step]) -> None:
    try:
        for step in steps:
            result = subprocess.run(
                ["bash", "-c", step.command],
                capture_output=True, text=True, timeout=TIMEOUT_S, cwd=CHECKOUT, check=False,
            )  # fmt: skip
            assert result.returncode == 0, f"{step.command}: {result.stderr}"
            assert re.fullmatch(step.pattern(), result.stdout + "\n"), f"{step.command} printed:\n{result.stdout}"
    finally:
        # A step that failed must not leave its lab behind; where all went well there is none.
        subprocess.run(
            ["bash", "-c", "sudo python -m testbed.run down"], capture_output=True, cwd=CHECKOUT, check=False
        )


def test_documents_show_commands() -> None:
    assert BLOCKS

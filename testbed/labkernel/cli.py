"""The `--lab-kernel` option of the command line: which verbs it may run, and what it says about the others.

Pure but for `run`, which boots the guest.
"""

import sys
from collections.abc import Sequence

from testbed.labkernel import boot
from testbed.model.errors import UsageError

OPTION = "--lab-kernel"
BATCH_VERBS = ("experiment", "exercise", "test", "bench", "doctor", "report", "list")
"""Verbs that start, finish and leave nothing running. Every other verb is about a lab that stays."""


def split(argv: Sequence[str]) -> tuple[bool, list[str]]:
    """Whether the option stands in the arguments, and the arguments without it.

    It may stand before or after the verb, not behind `--`, where the words of another command begin.
    """
    words = list(argv)
    end = words.index("--") if "--" in words else len(words)
    rest = [word for word in words[:end] if word != OPTION] + words[end:]
    return len(rest) < len(words), rest


def refusal(rest: Sequence[str]) -> str | None:
    """The sentence for a command that the lab kernel does not run; None if it does. `rest` is from `split`."""
    verb = next((word for word in rest if not word.startswith("-")), None)
    if verb is None or verb in BATCH_VERBS:
        return None
    return (
        f"'{verb}' needs a native lab: the lab kernel ends with its command, so it runs only "
        f"{', '.join(BATCH_VERBS[:-1])} and {BATCH_VERBS[-1]}; leave out {OPTION} (and become root)."
    )


def run(rest: Sequence[str]) -> int:
    """Runs the command line again in a guest, without the option; its exit code. `rest` is from `split`.

    Raises UsageError for a verb that needs a native lab, else as `boot.run` does.
    """
    if sentence := refusal(rest):
        raise UsageError(sentence)
    return boot.run([sys.executable, "-m", "testbed.run", *rest])

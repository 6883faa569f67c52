"""A gateway program of somebody else's in our gateway's place, as TESTBED_GATEWAY_CMD names it."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from testbed.model.errors import UsageError
from testbed.network.process import skeleton

_SEEN_BY_ALL = ("/usr", "/bin", "/sbin", "/lib", "/lib64")


def foreign_gateway(environment: Mapping[str, str] = os.environ) -> list[str]:
    """The command of TESTBED_GATEWAY_CMD, a gateway program to take our gateway's place; empty without one.

    Raises UsageError when it cannot be understood or its program is not there.
    """
    text = environment.get("TESTBED_GATEWAY_CMD", "")
    try:
        command = shlex.split(text)
    except ValueError as error:
        raise UsageError(f"TESTBED_GATEWAY_CMD={text} cannot be split into words ({error}); check its quotes") from None
    if command:
        program = shutil.which(command[0])
        if program is None:
            raise UsageError(f"TESTBED_GATEWAY_CMD names {command[0]}, which is not there; give a program's path")
        command[0] = str(Path(program).absolute())
    return command


def in_its_place(command: Sequence[str], folder: Path) -> tuple[tuple[str, ...], dict[Path, str]]:
    """The command as the program is kept in a place: its words there, and the files of the machine that they name.

    A file or folder that a word names (alone, or after "--option="), seen from `folder`, can be read in the place, and
    nothing else of the machine. The files are as `Place.shown` takes them.
    """
    words, shown = [], {}
    for number, word in enumerate(command):
        option, equals, value = word.partition("=") if word.startswith("-") else ("", "", word)
        path = Path(os.path.normpath(folder / value)) if value else None
        if path is not None and _names_a_file(value, path):
            if path.is_relative_to(sys.prefix):
                value = str(skeleton.ENVIRONMENT / path.relative_to(sys.prefix))
            else:
                seen = f"given/{number}/{path.name}"
                shown[path] = seen
                value = f"/run/{seen}"
        words.append(f"{option}{equals}{value}")
    return tuple(words), shown


def _names_a_file(value: str, path: Path) -> bool:
    """A bare word is a file's name only where there is such a file: "run" may be a subcommand beside a folder run."""
    if any(path.is_relative_to(folder) for folder in _SEEN_BY_ALL):
        return False
    return path.exists() if "/" in value else path.is_file()

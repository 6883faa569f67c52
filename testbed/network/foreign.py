"""A gateway program of somebody else's in our gateway's place, as TESTBED_GATEWAY_CMD names it."""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Mapping
from pathlib import Path

from testbed.model.errors import UsageError


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

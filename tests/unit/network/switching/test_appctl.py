"""What is said of a switch daemon that does not answer, or is not there."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from testbed.model.errors import LabError
from testbed.network.switching import appctl


def test_a_daemon_that_does_not_answer_is_said_to_be_so(tmp_path: Path) -> None:
    path = tmp_path / "ctl"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        with pytest.raises(LabError, match=r"^no answer within 1 s$"):
            appctl.ask(path, "version", within_s=1)


def test_a_daemon_that_is_gone_is_said_in_the_programs_words(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="cannot connect"):
        appctl.ask(tmp_path / "nobody", "version")

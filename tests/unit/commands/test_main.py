"""The command line's last resort: what goes wrong is one sentence and an exit code."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

import pytest

from testbed.commands import main
from testbed.model.errors import EnvironmentProblem, LabError
from testbed.network import daemon_client, lab


def failing(monkeypatch: pytest.MonkeyPatch, module: str) -> None:
    def fail(name: str) -> None:
        raise ModuleNotFoundError(f"No module named {module!r}", name=module)

    monkeypatch.setattr(main.importlib, "import_module", fail)


def test_a_package_that_is_new_to_the_environment_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    failing(monkeypatch, "pymysql")
    assert main.run(["status"]) == EnvironmentProblem.exit_code
    assert capsys.readouterr().err == "testbed: the environment has no pymysql; run `make setup` once more\n"


def test_a_module_of_our_own_that_is_missing_is_a_mistake_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    failing(monkeypatch, "testbed.nowhere")
    with pytest.raises(ModuleNotFoundError):
        main.run(["status"])


class Refusing(socket.socket):
    def connect(self, _: object) -> None:
        raise PermissionError(13, "Permission denied")


def test_a_lab_of_roots_is_said_to_be_roots(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(daemon_client.socket, "socket", Refusing)
    with pytest.raises(EnvironmentProblem, match="belongs to root; use sudo"):
        daemon_client.LabClient("/nowhere/lab.sock").hosts()


def running(folder: Path, monkeypatch: pytest.MonkeyPatch) -> lab.Lab:
    monkeypatch.setattr(lab, "STATE_ROOT", folder)
    monkeypatch.setattr(lab, "END_TIMEOUT_S", 0.05)
    (folder / "a").mkdir()
    (folder / "a" / "lab.json").write_text(json.dumps({"runner": 12345}))
    return lab.Lab("a", 1, 8080, "userspace")


def test_a_lab_that_does_not_end_is_not_said_to_be_down(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    signals: list[int] = []
    monkeypatch.setattr(os, "kill", lambda pid, _: signals.append(pid))
    with pytest.raises(LabError, match=r"has not ended after .* end process 12345"):
        running(tmp_path, monkeypatch).stop()
    assert signals == [12345]


def test_a_lab_of_roots_is_not_ended_by_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(pid: int, _: int) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "kill", refuse)
    with pytest.raises(EnvironmentProblem, match="lab 'a' belongs to root; use sudo"):
        running(tmp_path, monkeypatch).stop()

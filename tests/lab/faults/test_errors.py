"""What a user can get wrong ends in one clear sentence and an exit code, and leaves nothing behind."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from testbed.network.lab import STATE_ROOT, Lab
from tests.lab.conftest import CHECKOUT, command_line

NOBODY = 65534


def complaint(result: subprocess.CompletedProcess[str], exit_code: int) -> str:
    """The one sentence on standard error, after checking that it is one and the exit code is right."""
    assert result.returncode == exit_code, result.stderr
    assert "Traceback" not in result.stderr
    lines = [line for line in result.stderr.splitlines() if line.strip()]
    assert len(lines) == 1, result.stderr
    return lines[0]


def test_an_unknown_verb_names_where_verbs_are_listed() -> None:
    result = command_line("fly")
    assert result.returncode == 2
    assert "No such command 'fly'" in result.stderr
    assert "testbed --help" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "exit_code", "words"),
    [
        (["status", "--name", "not-there"], 4, "no lab named 'not-there' is running"),
        (["up", "--name", "Bad_Name"], 2, "is not lower-case letters, digits and dashes"),
        (["experiment", "chain-width"], 2, "there is no experiment 'chain-width'"),
        (["experiment", "--lengths", "one"], 2, "is not a list of numbers"),
        (["experiment", "--lengths", "99"], 2, "99"),
        (["experiment", "--delay", "-1"], 2, "-1"),
        (["experiment", "--datapath", "kernel"], 3, "the kernel datapath cannot run here"),
        (["report", "runs/not-there"], 2, "not-there"),
        (["--lab-kernel", "shell"], 2, "needs a native lab"),
    ],
)
def test_a_wrong_request(arguments: list[str], exit_code: int, words: str, tmp_path: Path) -> None:
    if arguments[0] == "experiment":
        arguments = [*arguments, "--out", str(tmp_path)]
    if "--datapath" in arguments and Path("/sys/module/openvswitch").exists():
        pytest.skip("this kernel has the kernel datapath, so asking for it is no mistake")
    assert words in complaint(command_line(*arguments), exit_code)
    assert list(tmp_path.iterdir()) == []


def test_a_port_that_is_taken(lab: Lab) -> None:
    words = complaint(command_line("up", "--name", "taken", "--port", str(lab.gateway_port)), 2)
    assert f"port {lab.gateway_port} of this machine cannot be used" in words
    assert not (STATE_ROOT / "taken").exists()


def test_no_root() -> None:
    result = subprocess.run(
        [sys.executable, "-m", "testbed.run", "experiment"],
        capture_output=True, text=True, cwd=CHECKOUT, user=NOBODY, check=False, env={"PATH": os.environ["PATH"]},
    )  # fmt: skip
    assert "needs root" in complaint(result, 3)
    assert "--lab-kernel" in result.stderr


def test_a_missing_package(tmp_path: Path) -> None:
    """A PATH on which the lab's programs are not found is what a machine without the packages has."""
    result = command_line("up", "--name", "bare", "--port", "0", PATH=str(tmp_path))
    words = complaint(result, 3)
    assert "openvswitch-switch" in words
    assert "make setup" in words


def test_a_full_disk(tmp_path: Path) -> None:
    command = (
        f"mount -t tmpfs -o size=64k tmpfs {tmp_path} && exec {shlex.quote(sys.executable)} -m testbed.run experiment"
        f" --out {tmp_path} --lengths 1,2 --delay 0 --repetitions 6 --gateway-upstream pooled --name full-disk"
    )
    result = subprocess.run(
        ["unshare", "--mount", "sh", "-c", command], capture_output=True, text=True, cwd=CHECKOUT, check=False
    )
    assert result.returncode == 3, result.stderr
    assert "Traceback" not in result.stderr
    assert "No space left" in result.stderr or "no room" in result.stderr or "full" in result.stderr
    assert not (STATE_ROOT / "full-disk").exists()


STACK = """
version: 1.0
provider: {name: openfaas, gateway: "http://127.0.0.1:8080"}
functions:
  one:
    lang: python3-http
    handler: ./handler
    image: one:1
    annotations: {directfaas/ingress: "true", directfaas/calls: "two"}
"""


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("functions: [", "stack.yaml"),
        (STACK, "two"),
        (STACK.replace('"two"', '"one"'), "one"),
        (STACK.replace("python3-http", "cobol"), "cobol"),
        (STACK.replace("./handler", "./elsewhere"), "elsewhere"),
    ],
    ids=["not YAML", "call to an unknown function", "call to itself", "unknown language", "no handler folder"],
)
def test_a_broken_stack_deploys_nothing(lab: Lab, tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "handler").mkdir()
    (tmp_path / "handler" / "handler.py").write_text("def handle(event, context):\n    return ''\n")
    (tmp_path / "stack.yaml").write_text(text)
    result = command_line("deploy", str(tmp_path / "stack.yaml"), "--namespace", "broken", "--name", lab.name)
    assert words in complaint(result, 2)
    assert "broken" not in command_line("status", "--name", lab.name).stdout


def test_an_unknown_function(lab: Lab) -> None:
    for verb in ("invoke", "logs", "scale", "scaler", "coldstarts", "shares", "describe", "remove"):
        arguments = ["1"] if verb == "scale" else []
        said = complaint(command_line(verb, "nobody.nowhere", *arguments, "--name", lab.name), 2)
        assert said == "testbed: there is no function nobody.nowhere; `testbed status` lists functions", verb
    assert "nobody" in complaint(command_line("exec", "--name", lab.name, "nobody", "true"), 2)
    assert "nobody" in complaint(command_line("capture", "nobody", "--name", lab.name), 2)


def test_a_trunk_that_is_not_there_and_a_delay_out_of_range(lab: Lab) -> None:
    before = lab.client.links()
    assert "node9" in complaint(command_line("link", "set", "node1", "node9", "--delay", "1", "--name", lab.name), 2)
    assert "delay_ms" in complaint(
        command_line("link", "set", "node1", "node2", "--delay", "-1", "--name", lab.name), 2
    )
    settings = [
        [link[key] for key in ("delay_ms", "jitter_ms", "loss_pct", "rate_mbit")] for link in lab.client.links()
    ]
    assert settings == [[link[key] for key in ("delay_ms", "jitter_ms", "loss_pct", "rate_mbit")] for link in before]

"""What a gateway program that is not ours is shown of the machine: the files that its command names."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from testbed.network.foreign import in_its_place


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("gateway", "gateway.cfg", "certificates/one", "run/x"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def test_files_of_the_machine_are_shown_and_their_words_changed(folder: Path) -> None:
    command = (str(folder / "gateway"), "-f", "gateway.cfg", f"--certificates={folder}/certificates", "--port=8080")
    assert in_its_place(command, folder) == (
        (
            "/run/given/0/gateway",
            "-f",
            "/run/given/2/gateway.cfg",
            "--certificates=/run/given/3/certificates",
            "--port=8080",
        ),
        {
            folder / "gateway": "given/0/gateway",
            folder / "gateway.cfg": "given/2/gateway.cfg",
            folder / "certificates": "given/3/certificates",
        },
    )


def test_what_a_place_has_anyway_stays_as_it_is(folder: Path) -> None:
    command = ("/usr/bin/env", "/bin/sh", "-c", "echo /etc")
    assert in_its_place(command, folder) == (command, {})


def test_the_environments_programs_are_where_every_place_has_them(folder: Path) -> None:
    assert in_its_place((f"{sys.prefix}/bin/python", "-V"), folder) == (("/opt/testbed/venv/bin/python", "-V"), {})


@pytest.mark.parametrize("word", ["run", "", "no/such/file", "http://127.0.0.1:8081/", "-v", "--empty="])
def test_a_word_that_names_no_file_is_a_word(folder: Path, word: str) -> None:
    assert in_its_place((word,), folder) == ((word,), {})

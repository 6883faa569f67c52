"""What `doctor` says of the applications' needs."""

from __future__ import annotations

import pytest

from testbed.commands import doctor_verb
from testbed.platform.images import tools


def test_languages_that_cannot_be_used_are_left_out_and_their_packages_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert doctor_verb.languages().found == "java17, node20, python3-http, ruby"
    assert not doctor_verb.languages().remedy
    monkeypatch.setattr(tools, "PROGRAM_PATH", "/nowhere")
    check = doctor_verb.languages()
    assert check.found == "python3-http"
    assert check.remedy == "make setup (packages nodejs, openjdk-17-jdk-headless, ruby)"


def test_a_missing_data_store_is_no_reason_not_to_run_a_lab(monkeypatch: pytest.MonkeyPatch) -> None:
    assert doctor_verb.data_store().found.endswith("/mariadbd")
    monkeypatch.setattr(doctor_verb.mariadb.shutil, "which", lambda *_, **__: None)
    check = doctor_verb.data_store()
    assert (check.found, check.fatal) == ("missing", False)
    assert "mariadb-server" in check.remedy

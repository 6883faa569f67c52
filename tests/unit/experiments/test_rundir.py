"""A run directory says what became of the run, and never holds half a summary."""

import errno
import json
from pathlib import Path

import pytest
import yaml

from experiments.rundir import RunFolder, config_hash, write_atomically
from testbed.model.errors import EnvironmentProblem, UsageError

CONFIG = {"lengths": [1, 2], "seed": 1}


@pytest.fixture
def run(tmp_path):
    return RunFolder.create(tmp_path / "runs", "chain-length", CONFIG, {"seed": 1})


def full_disk(*_):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_its_name_has_time_experiment_and_configuration(run):
    stamp, _, rest = run.path.name.partition("-")
    assert len(stamp) == len("20260101T000000Z")
    assert rest == f"chain-length-{config_hash(CONFIG)}"
    assert yaml.safe_load((run.path / "config.yaml").read_text()) == CONFIG


def test_two_runs_in_one_second_do_not_share_a_folder(tmp_path):
    paths = {RunFolder.create(tmp_path, "x", CONFIG, {}).path for _ in range(3)}
    assert len(paths) == 3


def test_the_hash_is_that_of_the_configuration():
    assert config_hash({"a": 1, "b": 2}) == config_hash({"b": 2, "a": 1}) != config_hash({"a": 1, "b": 3})


def test_a_run_is_incomplete_until_its_end(run):
    assert run.manifest()["status"] == "incomplete"
    with run.recording():
        assert run.manifest()["status"] == "incomplete"
    assert run.manifest()["status"] == "complete"


@pytest.mark.parametrize(
    ("failure", "status"),
    [(KeyboardInterrupt(), "interrupted"), (SystemExit(143), "interrupted"), (ValueError("odd"), "failed")],
)
def test_how_it_ended_is_written_down(run, failure, status):
    with pytest.raises(type(failure)), run.recording():
        raise failure
    assert run.manifest()["status"] == status
    assert run.manifest()["reason"]


def test_a_full_disk_is_one_sentence_and_no_summary(run, monkeypatch):
    sentence = r"No space left on device; free some space or choose another folder"
    with pytest.raises(EnvironmentProblem, match=sentence), run.recording(), run.making_results() as scratch:
        (scratch / "summary.csv").write_text("half")
        monkeypatch.setattr(Path, "write_text", full_disk)
        (scratch / "summary.json").write_text("{}")
    monkeypatch.undo()
    assert sorted(path.name for path in run.path.iterdir()) == ["config.yaml", "manifest.json", "raw"]
    assert run.manifest()["status"] == "incomplete"  # there was no room to say more


def test_a_disk_that_is_full_from_the_start_leaves_no_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(Path, "write_text", full_disk)
    with pytest.raises(EnvironmentProblem, match="cannot write the run in"):
        RunFolder.create(tmp_path, "x", CONFIG, {})
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_the_way_is_named(tmp_path):
    (tmp_path / "runs").write_text("not a folder")
    with pytest.raises(EnvironmentProblem, match=r"runs.*choose another folder with --out"):
        RunFolder.create(tmp_path / "runs", "x", CONFIG, {})


def test_results_replace_older_ones_together(run):
    for text in ("old", "new"):
        with run.making_results() as scratch:
            (scratch / "summary.json").write_text(text)
            (scratch / "figures").mkdir()
            (scratch / "figures" / text).write_text("")
    assert (run.path / "summary.json").read_text() == "new"
    assert [path.name for path in (run.path / "figures").iterdir()] == ["new"]


def test_a_failure_while_making_results_keeps_the_older_ones(run):
    with run.making_results() as scratch:
        (scratch / "summary.json").write_text("old")
    with pytest.raises(RuntimeError), run.making_results() as scratch:
        (scratch / "summary.json").write_text("half")
        raise RuntimeError("figures cannot be drawn")
    assert (run.path / "summary.json").read_text() == "old"
    assert not (run.path / ".making").exists()


def test_only_complete_runs_are_opened(run, tmp_path):
    with pytest.raises(UsageError, match="is incomplete: it has nothing to report; run the experiment again"):
        RunFolder.open(run.path)
    with pytest.raises(UsageError, match=r"is not a run: it has no manifest\.json"):
        RunFolder.open(tmp_path)
    run.update_manifest(status="complete")
    assert RunFolder.open(run.path).config() == CONFIG


def test_files_are_replaced_in_one_step(tmp_path):
    path = tmp_path / "a.json"
    write_atomically(path, json.dumps({"a": 1}))
    write_atomically(path, json.dumps({"a": 2}))
    assert json.loads(path.read_text()) == {"a": 2}
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.json"]
